package auth

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// A plan is what a login would be, and begins none.
func TestPlan(t *testing.T) {
	const host, a, b = "https://h.example", "https://a.example", "https://b.example"
	noClient := map[string]any{"registration_endpoint": nil}
	for _, tt := range []struct {
		name      string
		site      Site
		challenge string
		metadata  map[string]any
		resource  string // "": no plan
		issuer    string // "": no request
		client    bool   // the error is that there is none
		err       bool
	}{
		{name: "asked for", metadata: map[string]any{"resource": host, "authorization_servers": []string{b}}, resource: host, issuer: b},
		{name: "the first cannot be used", metadata: map[string]any{"resource": host, "authorization_servers": []string{a, b}}, resource: host, issuer: b},
		{name: "none can be used", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}, resource: host, issuer: a, client: true, err: true},
		{name: "the config knows better", site: Site{Configured: true, Issuer: b}, resource: host, issuer: b},
		{name: "nobody says", challenge: "Bearer", err: true},
		{name: "no server named", metadata: map[string]any{"resource": host}, resource: host, err: true},
		{name: "another scheme", challenge: `Basic realm="x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{challenge: tt.challenge, metadata: tt.metadata}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: edited(a, noClient), b: edited(b, nil)})
			w.sites[host] = tt.site
			gone, cancel := context.WithCancel(principal.With(t.Context(), principal.Local))
			req := newRequest(t, principal.Local, host+"/page").WithContext(gone)
			resp, err := n.RoundTrip(req)
			must(t, err)
			resp.Request = req
			cancel() // as with a body that was read
			p, err := w.Plan(principal.With(t.Context(), principal.Local), resp)
			if (err != nil) != tt.err || (p != nil) != (tt.resource != "") {
				t.Fatalf("got %+v, %v", p, err)
			}
			var missing *login.ClientError
			if errors.As(err, &missing) != tt.client {
				t.Errorf("the error is %v", err)
			}
			if p == nil {
				return
			}
			if p.Resource.Resource != tt.resource || (p.Request != nil) != (tt.issuer != "") || p.Request != nil && p.Request.Server.Issuer != tt.issuer {
				t.Errorf("got %+v, %+v", p.Resource, p.Request)
			}
			for _, s := range n.sentTo("") {
				if s.Method != http.MethodGet {
					t.Errorf("%s %s", s.Method, s.URL)
				}
			}
		})
	}
}
