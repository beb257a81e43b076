package auth

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// machineSite is a site whose tokens cost nobody anything. Each is accepted once it is the newest.
func machineSite(t *testing.T, grant string, subject login.Subject, more map[string]http.HandlerFunc) (*world, *wire, *site) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	issued := 0
	hosts := map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
		issued++
		s.accepts = "token-" + strings.Repeat("i", issued)
		return 200, map[string]any{"access_token": s.accepts, "token_type": "Bearer", "expires_in": 3600}
	})}
	for o, h := range more {
		hosts[o] = h
	}
	w, n := newWireWorld(t, hosts)
	w.configure(host, Site{Issuer: a, Grant: grant, Subject: subject})
	w.clients[a] = machine
	return w, n, s
}

// bodies are those of the token requests that an endpoint got.
func (n *wire) bodies(t *testing.T, endpoint string) []url.Values {
	var all []url.Values
	for _, s := range n.sentTo(endpoint) {
		form, err := url.ParseQuery(s.Body)
		must(t, err)
		all = append(all, form)
	}
	return all
}

// An identity provider that the config names turns our token into what the grant starts from.
func TestIdentityAssertion(t *testing.T) {
	const host, a, idp = "https://h.example", "https://a.example", "https://idp.example"
	subject := login.Subject{
		At: idp, Client: login.Credentials{ID: "ours-at-idp", Secret: secret.New("idp-secret")},
		Token: func(context.Context) (secret.Text, error) { return secret.New("id-token"), nil },
	}
	w, n, _ := machineSite(t, login.JWTBearer, subject, map[string]http.HandlerFunc{idp: func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exchange" {
			serveJSON(rw, 200, map[string]any{"access_token": "the-assertion", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A"})
			return
		}
		edited(idp, map[string]any{"token_endpoint": idp + "/exchange"})(rw, r)
	}})
	w.page(host+handbook, 200)
	exchanged, granted := n.bodies(t, idp+"/exchange"), n.bodies(t, a+"/token")
	if len(exchanged) != 1 || exchanged[0].Get("subject_token") != "id-token" || exchanged[0].Get("audience") != a || exchanged[0].Get("resource") != host {
		t.Errorf("the identity provider got %v", exchanged)
	}
	if len(granted) != 1 || granted[0].Get("assertion") != "the-assertion" || granted[0].Get("resource") != host {
		t.Errorf("the issuer got %v", granted)
	}
	for _, s := range n.sentTo("") {
		toProvider := strings.HasPrefix(s.URL, idp)
		if !toProvider && strings.Contains(s.Body+s.Authorization, "id-token") {
			t.Errorf("%s got the token of the identity provider", s.URL)
		}
	}
	// And again before the site asks for it.
	w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
	before := len(n.sentTo(host + handbook))
	w.page(host+handbook, 200)
	if got := len(n.sentTo(host+handbook)) - before; got != 1 || len(n.bodies(t, idp+"/exchange")) != 2 {
		t.Errorf("%d requests for the page, want 1; exchanges %v", got, n.bodies(t, idp+"/exchange"))
	}
}

func TestIdentityProviderThatIsNotThere(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	subject := login.Subject{At: "https://gone.example", Token: func(context.Context) (secret.Text, error) { return secret.New("id-token"), nil }}
	w, n, _ := machineSite(t, login.JWTBearer, subject, nil)
	if _, err := w.get(host + handbook); err == nil || !strings.Contains(err.Error(), "gone.example") {
		t.Errorf("got %v, want an error that names the identity provider", err)
	}
	if got := n.sentTo(a + "/token"); len(got) != 0 {
		t.Errorf("the issuer got %v", got)
	}
}

// What a machine can have at any time is replaced before the site has to ask.
func TestAheadOfTheChallenge(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	expired := func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) }
	for _, tt := range []struct {
		name     string
		change   func(*tokenstore.Token)
		site     func(*Site)
		requests int    // for the page
		scope    string // asked for the second time
		status   int
	}{
		{"expired", expired, func(*Site) {}, 1, "granted", 200},
		{"expired, and the config says what to ask for", expired, func(s *Site) { s.Scopes = []string{"configured"} }, 1, "configured", 200},
		{"bound to another certificate", func(tok *tokenstore.Token) { tok.CertificateThumbprint = "other" }, func(*Site) {}, 2, "", 200},
		{"bound to a key that is lost", func(tok *tokenstore.Token) { tok.TokenType, tok.KeyThumbprint = "DPoP", "lost" }, func(*Site) {}, 2, "", 200},
		{"of another issuer", expired, func(s *Site) { s.Issuer = "https://b.example" }, 1, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, n, _ := machineSite(t, login.ClientCredentials, login.Subject{}, nil)
			w.page(host+handbook, 200)
			w.change(func(tok *tokenstore.Token) {
				tok.Scopes, tok.ObtainedAt = []string{"granted"}, time.Now().Add(-time.Hour)
				tt.change(tok)
			})
			site := w.sites[host]
			tt.site(&site)
			w.configure(host, site)
			before := len(n.sentTo(host + handbook))
			resp, _ := w.get(host + handbook)
			if status(resp) != tt.status {
				t.Errorf("status %d, want %d", status(resp), tt.status)
			}
			sent := n.sentTo(host + handbook)[before:]
			if len(sent) != tt.requests {
				t.Errorf("%d requests for the page, want %d", len(sent), tt.requests)
			}
			for _, s := range sent {
				if strings.Contains(s.Authorization, "token-i") && !strings.Contains(s.Authorization, "token-ii") {
					t.Errorf("the old token was sent")
				}
			}
			if asked := n.bodies(t, a+"/token"); tt.status == 200 && (len(asked) != 2 || asked[1].Get("scope") != tt.scope) {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

// Where it cannot be had ahead the site is asked, as if there were none.
func TestAheadFails(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	w, n, s := machineSite(t, login.ClientCredentials, login.Subject{}, map[string]http.HandlerFunc{a: edited(a, nil)})
	w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("old"), ObtainedAt: time.Now().Add(-time.Hour), Expiry: time.Now().Add(-time.Second)})
	s.accepts = ""
	if _, err := w.get(host + handbook); codeOf(err) != "oauth.token_endpoint" {
		t.Errorf("got %v, want what the issuer answered", err)
	}
	if got := n.sentTo(host + handbook); len(got) != 1 || got[0].Authorization != "" {
		t.Errorf("sent %+v", got)
	}
}

// What a grant starts from goes to an issuer of the config only, however a token of another came here.
func TestAheadIsForConfiguredIssuers(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	subject := login.Subject{Token: func(context.Context) (secret.Text, error) { return secret.New("id-token"), nil }}
	w, n, _ := machineSite(t, login.JWTBearer, subject, nil)
	w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("old"), ObtainedAt: time.Now().Add(-time.Hour), Expiry: time.Now().Add(-time.Second)})
	w.configure(host, Site{Grant: login.JWTBearer, Subject: subject})
	if _, err := w.get(host + handbook); codeOf(err) != "oauth.no_client" {
		t.Errorf("got %v", err)
	}
	if got := n.sentTo(a + "/token"); len(got) != 0 {
		t.Errorf("the issuer got %v", got)
	}
}
