package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestLogout(t *testing.T) {
	w := newWorld(t, options{Format: "opaque", Features: object{
		"registration": on, "registrationManagement": on, "revocation": on,
	}})
	a := w.startAgent()
	w.signIn(a)
	clientID, _ := w.granted("authorization_code").Form["client_id"].(string)
	pages := w.requests("site", "/docs/handbook")
	token := strings.TrimPrefix(pages[len(pages)-1].Authorization, "Bearer ")

	w.run("logout", w.site)
	revoked := w.requests("issuer", "/token/revocation")
	if len(revoked) == 0 {
		t.Fatal("nothing was revoked")
	}
	for _, e := range revoked {
		want(t, "revocation", e.Form, object{"client_id": clientID})
		if e.Status != http.StatusOK || e.Form["token"] == "" {
			t.Errorf("revocation: %+v", e)
		}
	}
	if w.happened("grant.revoked") == 0 {
		t.Error("the grant lives on: the refresh token was not revoked")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.page(), nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.person.browser.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the site answers %d to the old token", resp.StatusCode)
	}
	if n := len(w.requests("issuer", "/reg/"+clientID)); n > 0 {
		t.Errorf("%d requests about the client, which was to stay", n)
	}

	// The client that was registered is used again, until it is given up as well.
	w.signIn(a)
	w.only("registration", w.requests("issuer", "/reg"), http.StatusCreated)
	a.stop()
	w.run("logout", "--client", w.site)
	gone := w.only("deletion of the client", w.requests("issuer", "/reg/"+clientID), http.StatusNoContent)
	if gone.Method != http.MethodDelete || !strings.HasPrefix(gone.Authorization, "Bearer ") || w.happened("registration_delete.success") != 1 {
		t.Errorf("deletion of the client: %+v", gone)
	}
	if got := w.run("accounts", "--json"); strings.Contains(got, clientID) {
		t.Errorf("the client is still there: %s", got)
	}
}
