package server

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// maxSessions bounds how many clients of earlier protocols may be connected at once.
const maxSessions = 10000

// sessions knows the session ids that we gave out, and no others (MCP 2025-11-25, streamable HTTP).
type sessions struct {
	idle time.Duration

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

func newSessions(idle time.Duration) *sessions {
	return &sessions{idle: idle, used: map[string]time.Time{}}
}

// Generate makes an id. When there are too many, those longest unused give way.
func (s *sessions) Generate() string {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.used) >= maxSessions {
		var oldest string
		for id, at := range s.used {
			if now.Sub(at) > s.idle {
				delete(s.used, id)
			} else if oldest == "" || at.Before(s.used[oldest]) {
				oldest = id
			}
		}
		if len(s.used) >= maxSessions {
			delete(s.used, oldest)
		}
	}
	s.used[id] = now
	return id
}

var errNoSession = errors.New("no such session")

// Validate accepts an id of ours that was used lately.
func (s *sessions) Validate(id string) (isTerminated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.used[id]
	if !ok || time.Since(at) > s.idle {
		delete(s.used, id)
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
