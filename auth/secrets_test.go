package auth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Whoever shows a response can take out of it what was sent.
func TestSecretsOfAResponse(t *testing.T) {
	w := newWorld(t, options{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{})})
	w.configure(r.URL, Site{Headers: []Header{{"X-Api-Key", secret.New("header-canary")}}})
	w.signIn(r.URL + handbook)
	resp, err := w.RoundTrip(newRequest(t, principal.Local, r.URL+handbook))
	must(t, err)
	defer resp.Body.Close()
	var got []string
	for _, s := range Secrets(resp) {
		got = append(got, s.Reveal())
	}
	last := w.log.Find("resource", handbook)
	token := strings.TrimPrefix(last[len(last)-1].Header.Get("Authorization"), "Bearer ")
	if len(got) != 2 || got[0] != "header-canary" || got[1] != token || token == "" {
		t.Errorf("got %q, want the header and the token %q", got, token)
	}
}

// A yes to a private address is none to this computer, nor the other way round.
func TestApprovalIsForItsZone(t *testing.T) {
	w := newWorld(t, options{private: AskPrivate})
	ctx := principal.With(t.Context(), principal.Local)
	o, err := origin.Parse("https://intranet.example")
	must(t, err)
	for zone, want := range map[string]netguard.Rules{"private": {Private: true}, "loopback": {Loopback: true}, "": {}} {
		must(t, tokenstore.PutApproval(ctx, w.store, &tokenstore.Approval{Principal: principal.Local, Resource: o.String(), Zone: zone, Expires: time.Now().Add(time.Hour)}))
		if got, err := w.zones.Rules(ctx, o); got != want || err != nil {
			t.Errorf("approved in zone %q: %+v, %v; want %+v", zone, got, err, want)
		}
	}
}

// The answer names the authorization server whose address is not allowed, and what to do.
func TestIssuerAtAPrivateAddress(t *testing.T) {
	const host = "https://h.example"
	s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{"https://10.0.0.1"}}}
	w := newWorld(t, options{base: guarded{&wire{hosts: map[string]http.HandlerFunc{host: s.ServeHTTP}}, "10.0.0.1"}})
	_, err := w.get(host + handbook)
	var address *IssuerAddressError
	if !errors.As(err, &address) || !strings.Contains(err.Error(), host) || !strings.Contains(address.Hint(), `"https://10.0.0.1"`) {
		t.Errorf("got %v", err)
	}
}

// guarded denies one host.
type guarded struct {
	http.RoundTripper
	host string
}

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == g.host {
		return nil, &netguard.DeniedError{Host: g.host, Zone: netguard.Private}
	}
	return g.RoundTripper.RoundTrip(r)
}

// Servers that offer refresh tokens for it are asked for offline_access, with the person's consent;
// the config's scopes are left as they are.
func TestOfflineAccess(t *testing.T) {
	for _, tt := range []struct {
		name    string
		offered bool
		site    Site
		want    string
		prompt  string
	}{
		{"offered", true, Site{}, "docs.read offline_access", "consent"},
		{"not offered", false, Site{}, "docs.read", ""},
		{"offered, and the config says what to ask for", true, Site{Scopes: []string{"docs.read"}}, "docs.read", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			i := w.issuer(oauthtest.IssuerOptions{Edit: func(_ string, m map[string]any) {
				if tt.offered {
					m["scopes_supported"] = []string{"docs.read", "offline_access"}
				}
			}})
			r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"docs.read"}})
			w.configure(r.URL, tt.site)
			w.signIn(r.URL + handbook)
			q := w.log.Find("issuer", "/authorize")[0].Query
			if q.Get("scope") != tt.want || q.Get("prompt") != tt.prompt {
				t.Errorf("asked for scope %q with prompt %q, want %q and %q", q.Get("scope"), q.Get("prompt"), tt.want, tt.prompt)
			}
		})
	}
}
