package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// overBoth runs a test of the binary over both transports and in both protocols.
func overBoth(t *testing.T, test func(t *testing.T, over, protocol string)) {
	for _, over := range []string{"stdio", "http"} {
		for _, protocol := range []string{protocol2025, protocol2026} {
			t.Run(over+", "+protocol, func(t *testing.T) {
				t.Parallel()
				test(t, over, protocol)
			})
		}
	}
}

func connect(t *testing.T, over, config string) transport.Interface {
	t.Helper()
	if over == "stdio" {
		tr, _ := stdioTransport(t, config)
		return tr
	}
	url, _, _ := startHTTP(t, config)
	return httpTransport(t, url)
}

// checkHandbook checks the answer that holds the page.
func checkHandbook(t *testing.T, w *world, got answer) {
	t.Helper()
	page := w.site.URL + "/docs/handbook"
	f := got.facts
	if got.res.IsError || f.Status != "ok" || f.HTTPStatus != 200 || f.FinalURL != page || f.ContentType != "text/html" {
		t.Fatalf("facts %+v:\n%s", f, got.text)
	}
	if !strings.HasPrefix(got.text, page+" · status 200 · text/html as markdown · chars 0–") || !strings.Contains(got.text, "\n# ") || strings.Contains(got.text, "<p>") {
		t.Errorf("the page is\n%s", got.text)
	}
	if got.res.StructuredContent != nil {
		t.Error("there is structured content")
	}
}

// checkWire checks what the servers received in a whole job: every step once, the certificate at
// the site alone, the token at the site alone.
func checkWire(t *testing.T, w *world) {
	t.Helper()
	var story []string
	for _, e := range w.log.Events() {
		if e.Server == "resource" && e.ClientCertificate != "alice-laptop" || e.Server == "issuer" && e.ClientCertificate != "" {
			t.Errorf("%s %s at the %s came with the certificate %q", e.Method, e.Path, e.Server, e.ClientCertificate)
		}
		token := e.Header.Get("Authorization")
		if e.Server == "resource" && e.Path == "/docs/handbook" && (e.Status == 200) != strings.HasPrefix(token, "Bearer ") || e.Server == "issuer" && token != "" {
			t.Errorf("%s %s at the %s, answered %d, came with Authorization %.10q", e.Method, e.Path, e.Server, e.Status, token)
		}
		if e.Server == "resource" && e.Path == "/docs/handbook" && e.Status == 200 {
			story = append(story, "page")
		}
		if e.Server == "issuer" && slices.Contains([]string{"/register", "/token"}, e.Path) {
			story = append(story, e.Path)
		}
	}
	if diff := cmp.Diff([]string{"/register", "/token", "page"}, story); diff != "" {
		t.Error(diff)
	}
}

// The whole main job for agents that show no URLs: the text holds the link, the person opens it,
// the next call has the page.
func TestMainJobByText(t *testing.T) {
	overBoth(t, func(t *testing.T, over, protocol string) {
		for _, form := range []bool{false, true} {
			w := newWorld(t, "authorization_code", nil)
			var d *dialog
			if form {
				d = &dialog{}
			}
			a := newAgent(t, connect(t, over, w.config), protocol, d, true)
			args := map[string]any{"url": w.site.URL + "/docs/handbook"}
			first := a.webfetch(t, args)
			if !strings.HasPrefix(first.text, "LOGIN REQUIRED — the page was not fetched.\n"+w.site.URL+" asks the user to sign in at "+w.issuer.URL+" (scopes: docs.read).\n") || first.res.IsError {
				t.Fatalf("got %q", first.text)
			}
			link := loneLine(t, first.text, "http://127.0.0.1:")
			if f := first.facts; f.Status != "login_required" || f.Issuer != w.issuer.URL || f.Login == nil || f.Login.URL != link || time.Until(f.Login.ExpiresAt) < 5*time.Minute {
				t.Errorf("facts %+v %+v", f, f.Login)
			}
			if n := w.log.Count("issuer", "POST", ""); n > 0 {
				t.Errorf("%d POSTs to the issuer before anybody agreed", n)
			}
			second := a.webfetch(t, args)
			if second.facts.Status != "login_pending" || loneLine(t, second.text, "http://127.0.0.1:") != link {
				t.Errorf("the second call: %q", second.text)
			}
			if err := w.person.Continue(t.Context(), link); err != nil {
				t.Fatal(err)
			}
			checkHandbook(t, w, a.webfetch(t, args))
			checkWire(t, w)
			if d != nil && len(d.shown()) > 0 {
				t.Errorf("an agent whose dialogs show no URLs got %v", d.shown())
			}
		}
	})
}

// The same for agents that show URLs: one call has the page.
func TestMainJobByDialog(t *testing.T) {
	overBoth(t, func(t *testing.T, over, protocol string) {
		w := newWorld(t, "authorization_code", nil)
		d := &dialog{}
		var person sync.WaitGroup
		d.answer = func(_ context.Context, p mcp.ElicitationParams) mcp.ElicitationResponseAction {
			person.Go(func() {
				time.Sleep(50 * time.Millisecond) // the answer is on its way
				if err := w.person.Continue(t.Context(), p.URL); err != nil {
					t.Error(err)
				}
			})
			return mcp.ElicitationResponseActionAccept
		}
		a := newAgent(t, connect(t, over, w.config), protocol, d, false)
		var mu sync.Mutex
		var complete []any
		a.OnNotification(func(n mcp.JSONRPCNotification) {
			if n.Method == "notifications/elicitation/complete" {
				mu.Lock()
				defer mu.Unlock()
				complete = append(complete, n.Params.AdditionalFields["elicitationId"])
			}
		})
		checkHandbook(t, w, a.webfetch(t, map[string]any{"url": w.site.URL + "/docs/handbook"}))
		person.Wait()
		checkWire(t, w)
		shown := d.shown()
		if len(shown) != 1 {
			t.Fatalf("%d dialogs", len(shown))
		}
		p := shown[0]
		if p.Mode != "url" || !strings.HasPrefix(p.URL, "http://127.0.0.1:") || p.Message != w.site.URL+" asks you to sign in at "+w.issuer.URL+"." || (p.ElicitationID != "") != (protocol == protocol2025) {
			t.Errorf("the dialog is %+v", p)
		}
		if protocol == protocol2025 {
			eventually(t, "the end of the dialog is told", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(complete) == 1 && complete[0] == p.ElicitationID
			})
		}
	})
}

func TestDialogDeclined(t *testing.T) {
	overBoth(t, func(t *testing.T, over, protocol string) {
		w := newWorld(t, "authorization_code", nil)
		d := &dialog{answer: func(context.Context, mcp.ElicitationParams) mcp.ElicitationResponseAction {
			return mcp.ElicitationResponseActionDecline
		}}
		a := newAgent(t, connect(t, over, w.config), protocol, d, false)
		for range 2 {
			got := a.webfetch(t, map[string]any{"url": w.site.URL + "/docs/handbook"})
			if got.facts.Status != "login_denied" || got.res.IsError || strings.Contains(got.text, "/l/") || !strings.HasPrefix(got.text, "LOGIN DENIED — the page was not fetched.\n") {
				t.Errorf("got %q", got.text)
			}
		}
		if n := len(d.shown()); n != 1 {
			t.Errorf("%d dialogs", n)
		}
		if n := w.log.Count("issuer", "POST", ""); n > 0 {
			t.Errorf("%d POSTs to the issuer", n)
		}
	})
}

// A person who presses Cancel on the page is not asked again.
func TestCancelOnThePage(t *testing.T) {
	w := newWorld(t, "authorization_code", nil)
	a := newAgent(t, connect(t, "stdio", w.config), protocol2025, nil, false)
	args := map[string]any{"url": w.site.URL + "/docs/handbook"}
	link := loneLine(t, a.webfetch(t, args).text, "http://127.0.0.1:")
	if err := w.person.Cancel(t.Context(), link); err != nil {
		t.Fatal(err)
	}
	if got := a.webfetch(t, args); got.facts.Status != "login_denied" || got.res.IsError {
		t.Errorf("got %q", got.text)
	}
}

func TestMainJobByDeviceCode(t *testing.T) {
	overBoth(t, func(t *testing.T, over, protocol string) {
		w := newWorld(t, "device_code", nil)
		a := newAgent(t, connect(t, over, w.config), protocol, nil, false)
		args := map[string]any{"url": w.site.URL + "/docs/handbook"}
		first := a.webfetch(t, args)
		f := first.facts
		if f.Status != "login_required" || f.Login == nil || f.Login.UserCode == "" || f.Login.URL != "" {
			t.Fatalf("facts %+v: %q", f, first.text)
		}
		if loneLine(t, first.text, f.Login.UserCode) != f.Login.UserCode || !strings.Contains(first.text, "\n"+f.Login.VerificationURI+"\n") {
			t.Errorf("the code or its address does not stand alone: %q", first.text)
		}
		if err := w.person.EnterCode(t.Context(), f.Login.VerificationURI, f.Login.UserCode); err != nil {
			t.Fatal(err)
		}
		args["wait"] = 30
		checkHandbook(t, w, a.webfetch(t, args))
	})
}

// An agent that asked for progress is told while the call waits, before it is answered: here the
// person has the link from nowhere else.
func TestMainJobByProgress(t *testing.T) {
	overBoth(t, func(t *testing.T, over, protocol string) {
		w := newWorld(t, "authorization_code", nil)
		a := newAgent(t, connect(t, over, w.config), protocol, nil, false)
		told := make(chan string, 100)
		a.OnNotification(func(n mcp.JSONRPCNotification) {
			if n.Method == "notifications/progress" && n.Params.AdditionalFields["progressToken"] == "tok" {
				told <- n.Params.AdditionalFields["message"].(string)
			}
		})
		var person sync.WaitGroup
		defer person.Wait()
		person.Go(func() {
			select {
			case message := <-told:
				_, rest, _ := strings.Cut(message, "Sign in at ")
				link, _, _ := strings.Cut(rest, " ")
				if err := w.person.Continue(t.Context(), link); err != nil {
					t.Errorf("%q: %v", message, err)
				}
			case <-t.Context().Done():
			}
		})
		got, err := a.try(t.Context(), map[string]any{"url": w.site.URL + "/docs/handbook", "wait": 40}, "tok")
		if err != nil {
			t.Fatal(err)
		}
		checkHandbook(t, w, got)
		checkWire(t, w)
	})
}

// Failures, told by the binary: a code, a sentence and a hint each.
func TestFailuresOfTheBinary(t *testing.T) {
	w := newWorld(t, "authorization_code", map[string]any{"network": map[string]any{"private": "allow"}})
	open, err := oauthtest.NewResource(oauthtest.ResourceOptions{Pages: map[string]oauthtest.Page{
		"/broken": {Status: 503, Body: []byte("down"), ContentType: "text/plain"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(open.Close)
	closed, err := oauthtest.NewResource(oauthtest.ResourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	url, _, _ := startHTTP(t, w.config)
	a := newAgent(t, httpTransport(t, url), protocol2025, nil, false)
	plain := strings.Replace(w.site.URL, "https:", "http:", 1)
	unnamed := strings.Replace(w.site.URL, "127.0.0.1", "localhost", 1)
	for name, test := range map[string]struct{ url, code string }{
		"our own listener":            {url, "network.address_denied"},
		"our own listener, localhost": {strings.Replace(url, "127.0.0.1", "localhost", 1), "network.address_denied"},
		"our own listener, IPv6":      {strings.Replace(url, "127.0.0.1", "[::1]", 1), "network.address_denied"},
		"cloud metadata":              {"http://169.254.169.254/latest/", "network.address_denied"},
		"no such page":                {open.URL + "/nothing", "http_404"},
		"broken":                      {open.URL + "/broken", "http_503"},
		"nobody there":                {closed.URL, "network.refused"},
		"plain http to a TLS port":    {plain, "tls.not_tls"},
		"a site nobody trusts":        {unnamed, "tls."},
		"not a URL":                   {"javascript:alert(1)", "invalid_url"},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.webfetch(t, map[string]any{"url": test.url})
			e := got.facts.Error
			if e == nil || !strings.HasPrefix(e.Code, test.code) || e.Message == "" || e.Hint == "" || !got.res.IsError {
				t.Fatalf("got %+v: %q", e, got.text)
			}
			if !strings.HasPrefix(got.text, "ERROR "+e.Code+": ") || !strings.Contains(got.text, "\nWhat to do: ") {
				t.Errorf("got %q", got.text)
			}
		})
	}
}

// Over stdio a person can be asked to allow a private address; over HTTP it is denied.
func TestPrivateAddress(t *testing.T) {
	site, err := oauthtest.NewResource(oauthtest.ResourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	config := writeConfig(t, map[string]any{"login": map[string]any{"browser": "never"}, "store": map[string]any{"type": "memory"}})
	args := map[string]any{"url": site.URL + "/docs/handbook"}
	t.Run("http", func(t *testing.T) {
		a := newAgent(t, connect(t, "http", config), protocol2025, nil, false)
		if got := a.webfetch(t, args); got.facts.Error == nil || got.facts.Error.Code != "network.address_denied" {
			t.Errorf("got %q", got.text)
		}
	})
	if n := len(site.Log.Events()); n > 0 {
		t.Errorf("the site received %d requests", n)
	}
	t.Run("stdio", func(t *testing.T) {
		a := newAgent(t, connect(t, "stdio", config), protocol2026, nil, false)
		got := a.webfetch(t, args)
		if got.facts.Status != "approval_required" || got.res.IsError || !strings.HasPrefix(got.text, "APPROVAL REQUIRED — the page was not fetched.\n") {
			t.Fatalf("got %q", got.text)
		}
		if n := len(site.Log.Events()); n > 0 {
			t.Errorf("the site received %d requests before anybody allowed it", n)
		}
		person := oauthtest.NewPerson(nil)
		_ = person.Continue(t.Context(), loneLine(t, got.text, "http://127.0.0.1:")) // ends on our page: nobody signs in
		if got := a.webfetch(t, args); got.facts.Status != "ok" {
			t.Errorf("got %q", got.text)
		}
	})
}
