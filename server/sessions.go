package server

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// maxSessions bounds how many clients of earlier protocols may be connected at once; the library
// keeps some 10 KiB for each.
const maxSessions = 2000

// sessions knows the session ids that we gave out, and no others (MCP 2025-11-25, streamable
// HTTP). The library terminates those that are idle.
type sessions struct {
	forget func(id string) // frees what is kept elsewhere for a session that gave way

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

func newSessions(forget func(id string)) *sessions {
	return &sessions{forget: forget, used: map[string]time.Time{}}
}

// Generate makes an id. When there are too many, the one longest unused gives way.
func (s *sessions) Generate() string {
	id, oldest := rand.Text(), ""
	s.mu.Lock()
	if len(s.used) >= maxSessions {
		for other, at := range s.used {
			if oldest == "" || at.Before(s.used[oldest]) {
				oldest = other
			}
		}
		delete(s.used, oldest)
	}
	s.used[id] = time.Now()
	s.mu.Unlock()
	if oldest != "" {
		s.forget(oldest) // comes back with Terminate
	}
	return id
}

var errNoSession = errors.New("no such session")

// Validate accepts an id of ours.
func (s *sessions) Validate(id string) (isTerminated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[id]; !ok {
		return false, errNoSession
	}
	s.used[id] = time.Now()
	return false, nil
}

// Terminate forgets an id.
func (s *sessions) Terminate(id string) (isNotAllowed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, id)
	return false, nil
}
