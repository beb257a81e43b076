package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two processes share one store when the token ends; the refresh token works once, and whoever
// shows it again makes the issuer take everything back.
func TestRefreshOnceAmongProcesses(t *testing.T) {
	const lifetime = 3 * time.Second
	w := newWorld(t, options{Format: "opaque", Lifetime: int(lifetime.Seconds()), Clients: []map[string]any{public(nil)}})
	w.configureClient(object{"client_id": "desk"}, object{})
	agents := []*agent{w.startAgent(), w.startAgent()}
	w.signIn(agents[0])
	signedIn := time.Now()
	w.read(agents[1])
	w.granted("authorization_code")
	if n := len(w.grants("refresh_token")); n != 0 {
		t.Fatalf("%d refreshes before the token's end", n)
	}

	time.Sleep(time.Until(signedIn.Add(lifetime)))
	var both sync.WaitGroup
	for _, a := range agents {
		both.Go(func() {
			if got := a.fetch(w.page(), 0); !got.isHandbook() {
				t.Errorf("got %+v, want the page", got)
			}
		})
	}
	both.Wait()
	refresh := w.granted("refresh_token")
	want(t, "refresh", refresh.Form, object{"client_id": "desk", "resource": w.site})
	if w.happened("refresh_token.consumed") != 1 || w.happened("grant.revoked") != 0 || w.happened("grant.error") != 0 {
		t.Fatal("the issuer did not see one good refresh")
	}

	// The next end is met with the new refresh token.
	time.Sleep(lifetime)
	w.read(agents[1])
	next := w.only("second refresh", w.grants("refresh_token")[1:], http.StatusOK)
	if next.Form["refresh_token"] == refresh.Form["refresh_token"] {
		t.Error("the refresh token was not replaced")
	}
	w.read(agents[0])
	if n := len(w.grants("refresh_token")); n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}

	// That the issuer does detect reuse, and what becomes of us when a thief caused it.
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"desk"}, "refresh_token": {refresh.Form["refresh_token"].(string)}}
	resp, err := w.person.browser.Post(w.issuer+"/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || w.happened("grant.revoked") != 1 {
		t.Fatalf("showing a used refresh token: %d", resp.StatusCode)
	}
	time.Sleep(lifetime)
	if got := agents[0].fetch(w.page(), 0); got.Status != "login_required" || got.IsError {
		t.Errorf("got %+v, want a link to sign in at", got)
	}
}
