package auth

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// The story that everything here is for, by each way in which a site can ask for a token.
func TestSignInAndGet(t *testing.T) {
	for _, tt := range []struct {
		name     string
		resource oauthtest.ResourceOptions
		tls      bool
	}{
		{"metadata named by the challenge", oauthtest.ResourceOptions{}, false},
		{"over TLS, nobody configured", oauthtest.ResourceOptions{}, true},
		{"metadata at the page's well-known URL", oauthtest.ResourceOptions{Metadata: "path"}, false},
		{"metadata at the origin's well-known URL", oauthtest.ResourceOptions{Metadata: "root"}, false},
		{"403 with a challenge", oauthtest.ResourceOptions{ChallengeStatus: 403}, false},
		{"302 with a challenge", oauthtest.ResourceOptions{ChallengeStatus: 302}, false},
		{"bare 401", oauthtest.ResourceOptions{Metadata: "root", Challenge: func(*http.Request) []string { return nil }}, false},
		{"Bearer among others", oauthtest.ResourceOptions{Metadata: "root", Challenge: func(*http.Request) []string { return []string{"Negotiate", `Basic realm="x", Bearer`} }}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{tls: tt.tls, private: AllowPrivate})
			tt.resource.Issuer = w.issuer(oauthtest.IssuerOptions{})
			r := w.resource(tt.resource)
			a := w.action(r.URL + handbook + "?q=1")
			p := a.Prompt()
			if p.Kind != action.SignIn || p.Origin.String() != r.URL || p.Issuer != tt.resource.Issuer.URL || p.URL == "" {
				t.Errorf("prompt %+v", p)
			}
			if n := w.log.Count("issuer", "", "") - w.log.Count("issuer", "GET", "/.well-known/"); n != 0 {
				t.Errorf("the issuer got %d requests besides those for metadata before the person agreed", n)
			}
			must(t, w.person.Continue(t.Context(), p.URL))
			w.ended(a, nil)
			resp := w.page(r.URL+handbook+"?q=1", 200)
			if !Credentialed(resp) {
				t.Error("not credentialed")
			}
			want := []string{"", "Bearer " + w.token().AccessToken.Reveal()}
			if d := cmp.Diff(want, w.authorizations(handbook)); d != "" {
				t.Errorf("the page was asked for with (-want +got):\n%s", d)
			}
			for _, e := range w.log.Find("resource", handbook) {
				if e.RawQuery != "q=1" {
					t.Errorf("query %q", e.RawQuery)
				}
			}
		})
	}
}

func TestAnswersThatAreNotForUs(t *testing.T) {
	challenge := func(lines ...string) func(*http.Request) []string {
		return func(*http.Request) []string { return lines }
	}
	for _, tt := range []struct {
		name     string
		status   int
		lines    []string
		location string
		looksFor bool // metadata
	}{
		{"200", 200, nil, "", false},
		{"404", 404, []string{"Bearer"}, "", false},
		{"bare 403", 403, nil, "", false},
		{"403 with another scheme", 403, []string{"Basic"}, "", false},
		{"plain redirect", 302, nil, "/sign-in", false},
		{"redirect with a challenge without metadata", 302, []string{"Bearer"}, "/sign-in", false},
		{"not modified", 304, nil, "", false},
		{"bare 401 where nothing speaks OAuth", 401, nil, "", true},
		{"Basic", 401, []string{`Basic realm="x"`}, "", false},
		{"Negotiate and NTLM", 401, []string{"Negotiate", "NTLM TlRMTVNTUAAC"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			r := w.resource(oauthtest.ResourceOptions{Pages: map[string]oauthtest.Page{"/p": {Status: tt.status, Body: []byte("as it came"), Header: http.Header{
				"WWW-Authenticate": tt.lines, "Location": {tt.location},
			}}}, Challenge: challenge(tt.lines...)})
			resp, err := w.get(r.URL + "/p")
			must(t, err)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || tt.status != 304 && string(body) != "as it came" || Credentialed(resp) {
				t.Errorf("got %d %q, credentialed %v", resp.StatusCode, body, Credentialed(resp))
			}
			if n := w.log.Count("resource", "", "/p"); n != 1 {
				t.Errorf("%d requests for the page, want 1", n)
			}
			if got := w.log.Count("resource", "", "/.well-known/") > 0; got != tt.looksFor {
				t.Errorf("looked for metadata: %v, want %v", got, tt.looksFor)
			}
		})
	}
}

func TestNobodySaysWhoIssuesTokens(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(map[string]any)
		kind string
	}{
		{"no metadata", nil, "none"},
		{"empty list", func(m map[string]any) { m["authorization_servers"] = []string{} }, "header"},
		{"no list", func(m map[string]any) { delete(m, "authorization_servers") }, "header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			i := w.issuer(oauthtest.IssuerOptions{})
			r := w.resource(oauthtest.ResourceOptions{Issuer: i, Metadata: tt.kind, EditMetadata: tt.edit})
			_, err := w.get(r.URL + handbook)
			e := isA[*NoIssuerError](t, err)
			if e.Origin.String() != r.URL || !strings.Contains(e.Hint(), r.URL) {
				t.Errorf("%v; %s", e, e.Hint())
			}
			if n := w.log.Count("issuer", "", "") + w.log.Count("resource", "", "/token") + w.log.Count("resource", "", "/authorize"); n != 0 {
				t.Errorf("%d requests on a guess", n)
			}
		})
	}
}

// A token goes to its origin alone, whatever is like it.
func TestTokenStaysAtItsOrigin(t *testing.T) {
	w := newWorld(t, options{tls: true, private: AllowPrivate})
	i := w.issuer(oauthtest.IssuerOptions{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	other := w.resource(oauthtest.ResourceOptions{})
	plain, err := oauthtest.NewResource(oauthtest.ResourceOptions{Log: w.log})
	must(t, err)
	t.Cleanup(plain.Close)
	w.configure(plain.URL, Site{})
	w.log.Reset()
	for _, u := range []string{
		other.URL + handbook, // another port
		plain.URL + handbook, // and http
		strings.Replace(r.URL, "127.0.0.1", "localhost", 1) + handbook, // another name of the same server
	} {
		if resp, err := w.get(u); err == nil {
			resp.Body.Close()
		}
	}
	if got := w.log.Count("resource", "", handbook); got != 3 {
		t.Fatalf("%d requests for the page, want 3", got)
	}
	for _, e := range w.log.Events() {
		if e.Header.Get("Authorization") != "" {
			t.Errorf("%s %s got the token", e.Header.Get("Host"), e.Path)
		}
	}
	// The same origin in another spelling does get it.
	w.page(strings.Replace(r.URL, "https://", "HTTPS://", 1)+handbook, 200)
}

// Two principals share nothing.
func TestPrincipals(t *testing.T) {
	w := newWorld(t, options{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{})})
	w.signIn(r.URL + handbook)
	_, err := w.RoundTrip(newRequest(t, "bob", r.URL+handbook))
	isA[*ActionRequired](t, err)
	if got := w.authorizations(handbook); got[len(got)-1] != "" {
		t.Error("bob's request carried a token")
	}
	nobody, n := newWireWorld(t, nil)
	_, err = nobody.RoundTrip(newRequest(t, "", r.URL+handbook))
	if err == nil || !strings.Contains(err.Error(), "principal") || len(n.sentTo("")) != 0 {
		t.Errorf("no principal: %v, %d requests", err, len(n.sentTo("")))
	}
}

// A challenge that cannot be answered is returned whole, however long.
func TestUnansweredChallengeIsWhole(t *testing.T) {
	for _, size := range []int{0, 1, maxKept - 1, maxKept, maxKept + 1, 5 * maxKept} {
		w := newWorld(t, options{})
		want := strings.Repeat("x", size)
		r := w.resource(oauthtest.ResourceOptions{Pages: map[string]oauthtest.Page{"/p": {Status: 401, Body: []byte(want)}}})
		resp, err := w.get(r.URL + "/p")
		must(t, err)
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes of %d: %v", len(got), size, err)
		}
	}
}

func TestSiteHeaders(t *testing.T) {
	w := newWorld(t, options{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{}), Public: []string{"/public"}, Pages: map[string]oauthtest.Page{"/public": {}, handbook: {}}})
	other := w.resource(oauthtest.ResourceOptions{})
	w.configure(r.URL, Site{Headers: []Header{{"X-Api-Key", secret.New("key-1")}}})
	req := newRequest(t, principal.Local, r.URL+"/public")
	req.Header = nil
	resp, err := w.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if !Credentialed(resp) {
		t.Error("a request with a configured header is not credentialed")
	}
	w.page(other.URL+handbook, 200)
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	for _, e := range w.log.Events() {
		toSite := e.Header.Get("Host") == strings.TrimPrefix(r.URL, "http://") && !strings.HasPrefix(e.Path, "/.well-known/")
		if got := e.Header.Get("X-Api-Key"); (got == "key-1") != toSite {
			t.Errorf("%s %s%s: X-Api-Key %q", e.Server, e.Header.Get("Host"), e.Path, got)
		}
	}
}

func TestClientCertificateIsACredential(t *testing.T) {
	clients := tlstest.NewCA("clients")
	w := newWorld(t, options{tls: true, private: AllowPrivate, client: clients.Issue(tlstest.Leaf{CN: "alice", Client: true})})
	asks := w.resource(oauthtest.ResourceOptions{TLS: testCA().MutualConfig(clients, "127.0.0.1")})
	silent := w.resource(oauthtest.ResourceOptions{})
	if !Credentialed(w.page(asks.URL+handbook, 200)) {
		t.Error("a request with a client certificate is not credentialed")
	}
	if Credentialed(w.page(silent.URL+handbook, 200)) {
		t.Error("a request without any is credentialed")
	}
	if Credentialed(&http.Response{}) {
		t.Error("a response without a request is credentialed")
	}
}

// body knows whether it was closed.
type body struct {
	io.Reader
	done atomic.Bool
}

func (b *body) Close() error { b.done.Store(true); return nil }

// closed waits a while: a transport may close a body after it has returned.
func (b *body) closed() bool {
	for deadline := time.Now().Add(soon); !b.done.Load() && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	return b.done.Load()
}

func TestRequestBodies(t *testing.T) {
	w := newWorld(t, options{})
	var bodies []string
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{NoRefresh: true})})
	i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}})
	silent := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.configure(silent.URL, Site{Issuer: i.URL, Grant: "client_credentials"})
	w.clients[i.URL] = machine
	for _, tt := range []struct {
		name     string
		url      string
		again    bool // with GetBody
		status   int
		sentWith int // how many requests reached the page
	}{
		{"body to be had again", silent.URL + handbook, true, 200, 2},
		{"body that is gone", silent.URL + "/", false, 401, 1},
		{"a login is needed", r.URL + handbook, true, 0, 1},
		{"no principal", "", true, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, tok := range w.tokens() {
				must(t, w.store.Delete(t.Context(), tok.Key()))
			}
			w.log.Reset()
			b := &body{Reader: strings.NewReader("the body")}
			who := principal.Local
			if tt.url == "" {
				who, tt.url = "", r.URL+handbook
			}
			req := newRequest(t, who, tt.url)
			req.Method, req.Body, req.ContentLength = http.MethodPost, b, 8
			req.Header.Set("X-Mine", "1")
			var copies []*body
			if tt.again {
				req.GetBody = func() (io.ReadCloser, error) {
					c := &body{Reader: strings.NewReader("the body")}
					copies = append(copies, c)
					return c, nil
				}
			}
			before := req.Clone(t.Context())
			resp, err := w.RoundTrip(req)
			if got := status(resp); got != tt.status {
				t.Errorf("status %d, want %d (%v)", got, tt.status, err)
			}
			if d := cmp.Diff(before.Header, req.Header); d != "" || req.Body != io.ReadCloser(b) || *req.URL != *before.URL {
				t.Errorf("the request was changed: %s", d)
			}
			if resp != nil {
				resp.Body.Close()
			}
			for i, c := range append(copies, b) {
				if !c.closed() {
					t.Errorf("body %d was not closed", i)
				}
			}
			bodies = nil
			for _, e := range w.log.Events() {
				if e.Server == "resource" && e.Method == http.MethodPost {
					bodies = append(bodies, string(e.Body))
				}
			}
			if got, want := strings.Join(bodies, ","), strings.TrimSuffix(strings.Repeat("the body,", tt.sentWith), ","); got != want {
				t.Errorf("bodies %q, want %q", got, want)
			}
		})
	}
}

func status(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}

func TestBodyThatCannotBeHadAgain(t *testing.T) {
	w := newWorld(t, options{})
	i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.configure(r.URL, Site{Issuer: i.URL, Grant: "client_credentials"})
	w.clients[i.URL] = machine
	broken := errors.New("the file is gone")
	req := newRequest(t, principal.Local, r.URL+handbook)
	req.Body, req.GetBody = io.NopCloser(bytes.NewReader(nil)), func() (io.ReadCloser, error) { return nil, broken }
	if _, err := w.RoundTrip(req); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	req = newRequest(t, principal.Local, r.URL+handbook)
	must(t, w.store.Delete(t.Context(), w.token().Key()))
	req.Body = http.NoBody // and no GetBody, as http.Client has it
	resp, err := w.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("without a body: status %d, want 200", resp.StatusCode)
	}
}

func TestURLsThatAreNone(t *testing.T) {
	w := newWorld(t, options{})
	for name, u := range map[string]*url.URL{"nil": nil, "empty": {}, "other scheme": {Scheme: "ftp", Host: "h.example"}} {
		req := newRequest(t, principal.Local, "https://h.example")
		b := &body{Reader: strings.NewReader("")}
		req.URL, req.Body = u, b
		_, err := w.RoundTrip(req)
		isA[*origin.Error](t, err)
		if !b.closed() {
			t.Errorf("%s: the body was not closed", name)
		}
	}
}
