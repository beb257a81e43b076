package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// passed is a handler behind the gate that notes what it got.
type passed struct{ bodies []string }

func (p *passed) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.bodies = append(p.bodies, string(body))
}

func TestHostAndOrigin(t *testing.T) {
	own := hosts(netip.MustParseAddrPort("127.0.0.1:8808"))
	tests := map[string]struct {
		host   string
		origin []string
		want   bool
	}{
		"no origin":                {"127.0.0.1:8808", nil, true},
		"own origin":               {"127.0.0.1:8808", []string{"http://127.0.0.1:8808"}, true},
		"localhost":                {"localhost:8808", []string{"http://localhost:8808"}, true},
		"IPv6":                     {"[::1]:8808", []string{"http://[::1]:8808"}, true},
		"own origin, other name":   {"127.0.0.1:8808", []string{"http://localhost:8808"}, true},
		"evil origin":              {"127.0.0.1:8808", []string{"https://evil.example"}, false},
		"evil origin, our port":    {"127.0.0.1:8808", []string{"http://evil.example:8808"}, false},
		"null":                     {"127.0.0.1:8808", []string{"null"}, false},
		"empty origin":             {"127.0.0.1:8808", []string{""}, false},
		"other port":               {"127.0.0.1:8808", []string{"http://127.0.0.1:8809"}, false},
		"no port":                  {"127.0.0.1:8808", []string{"http://127.0.0.1"}, false},
		"https":                    {"127.0.0.1:8808", []string{"https://127.0.0.1:8808"}, false},
		"path in the origin":       {"127.0.0.1:8808", []string{"http://127.0.0.1:8808/"}, false},
		"user in the origin":       {"127.0.0.1:8808", []string{"http://127.0.0.1:8808@evil.example"}, false},
		"subdomain":                {"127.0.0.1:8808", []string{"http://localhost:8808.evil.example"}, false},
		"two origins":              {"127.0.0.1:8808", []string{"http://127.0.0.1:8808", "https://evil.example"}, false},
		"two origins in one":       {"127.0.0.1:8808", []string{"http://127.0.0.1:8808, https://evil.example"}, false},
		"extension":                {"127.0.0.1:8808", []string{"chrome-extension://abc"}, false},
		"rebound name":             {"evil.example:8808", nil, false},
		"rebound name, its origin": {"evil.example:8808", []string{"http://evil.example:8808"}, false},
		"host without port":        {"127.0.0.1", nil, false},
		"host, other port":         {"127.0.0.1:80", nil, false},
		"no host":                  {"", nil, false},
		"unspecified":              {"0.0.0.0:8808", nil, false},
		"another loopback":         {"127.0.0.2:8808", nil, false},
		"short loopback":           {"127.1:8808", nil, false},
		"decimal loopback":         {"2130706433:8808", nil, false},
		"mapped loopback":          {"[::ffff:127.0.0.1]:8808", nil, false},
		"trailing dot":             {"localhost.:8808", nil, false},
		"under localhost":          {"a.localhost:8808", nil, false},
		"user in the host":         {"localhost:8808@evil.example", nil, false},
	}
	for name, test := range tests {
		for _, method := range []string{"POST", "GET", "DELETE", "OPTIONS", "HEAD", "PUT"} {
			t.Run(name+", "+method, func(t *testing.T) {
				known := newSessions(nil)
				next := &passed{}
				r := httptest.NewRequest(method, "/mcp", strings.NewReader("{}"))
				r.Host = test.host
				r.Header["Origin"] = test.origin
				r.Header.Set("Mcp-Session-Id", known.Generate())
				r.Header.Set("X-Forwarded-Host", "127.0.0.1:8808")
				r.Header.Set("Forwarded", "host=127.0.0.1:8808")
				rec := httptest.NewRecorder()
				gate(own, known, next).ServeHTTP(rec, r)
				if got := len(next.bodies) == 1; got != test.want || !got && rec.Code != http.StatusForbidden {
					t.Errorf("passed: %v, status %d", got, rec.Code)
				}
				if cors := rec.Header().Get("Access-Control-Allow-Origin"); cors != "" {
					t.Errorf("other origins are let in: %s", cors)
				}
			})
		}
	}
}

func TestHosts(t *testing.T) {
	for addr, want := range map[string][]string{
		"127.0.0.1:8808": {"127.0.0.1:8808", "[::1]:8808", "localhost:8808"},
		"127.0.0.9:8808": {"127.0.0.1:8808", "127.0.0.9:8808", "[::1]:8808", "localhost:8808"},
		"[::1]:80":       {"127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "localhost", "localhost:80"},
	} {
		got := hosts(netip.MustParseAddrPort(addr))
		for _, h := range want {
			if !got[h] {
				t.Errorf("%s: %s is missing", addr, h)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v", addr, got)
		}
	}
}

func TestSessionsAtTheGate(t *testing.T) {
	known := newSessions(nil)
	id, gone := known.Generate(), known.Generate()
	_, _ = known.Terminate(gone)
	for _, test := range []struct {
		method, id, version string
		want                int
	}{
		{"GET", id, "", 200}, {"DELETE", id, "2025-11-25", 200},
		{"GET", "made-up", "", 404}, {"DELETE", "made-up", "", 404}, {"GET", gone, "", 404}, {"DELETE", gone, "", 404},
		{"GET", "mcp-session-00000000-0000-4000-8000-000000000000", "", 404},
		{"GET", "", "", 400}, {"DELETE", "", "", 400},
		{"POST", "made-up", "", 200},                                             // the library looks at those
		{"GET", "", "2026-07-28", 200}, {"DELETE", "made-up", "2026-07-28", 200}, // it says 405
	} {
		r := httptest.NewRequest(test.method, "/mcp", strings.NewReader("{}"))
		r.Host = "h"
		if test.id != "" {
			r.Header.Set("Mcp-Session-Id", test.id)
		}
		if test.version != "" {
			r.Header.Set("Mcp-Protocol-Version", test.version)
		}
		rec := httptest.NewRecorder()
		gate(map[string]bool{"h": true}, known, &passed{}).ServeHTTP(rec, r)
		if rec.Code != test.want {
			t.Errorf("%s with %q, protocol %q: status %d, want %d", test.method, test.id, test.version, rec.Code, test.want)
		}
	}
}

func TestBodyBound(t *testing.T) {
	for _, size := range []int{0, 1, maxMessage, maxMessage + 1, 40 << 20} {
		for _, declared := range []bool{true, false} {
			next := &passed{}
			r := httptest.NewRequest("POST", "/mcp", io.LimitReader(spaces{}, int64(size)))
			r.Host = "h"
			if r.ContentLength = -1; declared {
				r.ContentLength = int64(size)
			}
			rec := httptest.NewRecorder()
			gate(map[string]bool{"h": true}, newSessions(nil), next).ServeHTTP(rec, r)
			got := fmt.Sprint(rec.Code, len(next.bodies))
			want := "200 1"
			if size > maxMessage {
				want = "413 0"
			} else if len(next.bodies) == 1 && len(next.bodies[0]) != size {
				t.Errorf("%d bytes: %d arrived", size, len(next.bodies[0]))
			}
			if got != want {
				t.Errorf("%d bytes, declared %v: got %s, want %s", size, declared, got, want)
			}
		}
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestCancellationsAtTheGate(t *testing.T) {
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	tests := map[string]struct {
		body, session, version string
		dropped                bool
	}{
		"without a session":                {cancel, "", "", true},
		"with a session":                   {cancel, "s", "", false},
		"with a session, earlier protocol": {cancel, "s", "2025-11-25", false},
		"new protocol":                     {cancel, "", "2026-07-28", true},
		"new protocol, with a session":     {cancel, "s", "2026-07-28", true},
		"escaped":                          {`{"jsonrpc":"2.0","method":"notifications/\u0063ancelle\u0064"}`, "", "", true},
		"twice":                            {`{"jsonrpc":"2.0","method":"ping","method":"notifications/cancelled"}`, "", "", true},
		"in capitals":                      {`{"jsonrpc":"2.0","METHOD":"notifications/cancelled"}`, "", "", true},
		"spaced":                           {" {\n\"method\"\t:\n\"notifications/cancelled\" } ", "", "", true},
		"only the words":                   {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"method":"notifications/cancelled"}}`, "", "", false},
		"no JSON":                          {"notifications/cancelled", "", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			next := &passed{}
			r := httptest.NewRequest("POST", "/mcp", strings.NewReader(test.body))
			r.Host = "h"
			if test.session != "" {
				r.Header.Set("Mcp-Session-Id", test.session)
			}
			if test.version != "" {
				r.Header.Set("Mcp-Protocol-Version", test.version)
			}
			rec := httptest.NewRecorder()
			gate(map[string]bool{"h": true}, newSessions(nil), next).ServeHTTP(rec, r)
			if dropped := len(next.bodies) == 0; dropped != test.dropped || dropped && rec.Code != http.StatusAccepted || !dropped && next.bodies[0] != test.body {
				t.Errorf("dropped: %v, status %d", dropped, rec.Code)
			}
		})
	}
}
