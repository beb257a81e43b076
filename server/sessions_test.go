package server

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessions(t *testing.T) {
	s := newSessions(func(string) { t.Error("a session gave way") })
	a, b := s.Generate(), s.Generate()
	if a == b || len(a) < 26 {
		t.Errorf("ids %q and %q", a, b)
	}
	for _, id := range []string{a, b} {
		if terminated, err := s.Validate(id); terminated || err != nil {
			t.Errorf("%s: %v, %v", id, terminated, err)
		}
	}
	for _, id := range []string{"", "x", a + "x", a[:25], "mcp-session-0123"} {
		if _, err := s.Validate(id); err == nil {
			t.Errorf("%q is accepted", id)
		}
	}
	if notAllowed, err := s.Terminate(a); notAllowed || err != nil {
		t.Errorf("Terminate: %v, %v", notAllowed, err)
	}
	if _, err := s.Validate(a); err == nil {
		t.Error("a terminated session is accepted")
	}
	if _, err := s.Validate(b); err != nil {
		t.Error("another one ended too")
	}
	if _, err := s.Terminate("x"); err != nil {
		t.Error(err)
	}
}

// The session longest unused gives way, and is forgotten elsewhere too.
func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *sessions
		var forgotten []string
		s = newSessions(func(id string) {
			forgotten = append(forgotten, id)
			_, _ = s.Terminate(id) // as the library does
		})
		var ids []string
		for range maxSessions {
			ids = append(ids, s.Generate())
			time.Sleep(time.Second)
		}
		if _, err := s.Validate(ids[0]); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Second)
			s.Generate()
		}
		if !slices.Equal(forgotten, ids[1:4]) {
			t.Errorf("%d were forgotten, or not the right ones", len(forgotten))
		}
		if len(s.used) != maxSessions {
			t.Errorf("%d sessions", len(s.used))
		}
		for i, want := range []bool{true, false, false, false, true} {
			if _, err := s.Validate(ids[i]); (err == nil) != want {
				t.Errorf("session %d: %v", i, err)
			}
		}
	})
}
