package auth

import (
	"slices"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// A token that reaches less far than its page does now gives way when the new one is there, and not
// before: whoever says no keeps what there was.
func TestNarrowTokenGivesWayAfterTheLogin(t *testing.T) {
	w := newWorld(t, options{})
	id := "/docs"
	i := w.issuer(oauthtest.IssuerOptions{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, EditMetadata: func(m map[string]any) {
		m["resource"] = m["resource"].(string) + id
	}})
	w.configure(r.URL, Site{})
	w.signInFor(r.URL+handbook, r.URL+"/docs")
	id = ""
	a := w.action(r.URL + handbook)
	if got := resources(w); !slices.Equal(got, []string{r.URL + "/docs"}) {
		t.Errorf("before the login there are tokens for %q", got)
	}
	must(t, w.person.Continue(t.Context(), a.Prompt().URL))
	must(t, a.Wait(t.Context()))
	if got := resources(w); !slices.Equal(got, []string{r.URL}) {
		t.Errorf("after the login there are tokens for %q", got)
	}
	w.page(r.URL+handbook, 200)
}

func resources(w *world) []string {
	var all []string
	for _, tok := range w.tokens() {
		all = append(all, tok.Resource)
	}
	return all
}

// signInFor signs in and expects the token to be for resource. The fake takes tokens for its origin
// only, so that the page itself stays closed.
func (w *world) signInFor(page, resource string) {
	w.t.Helper()
	a := w.action(page)
	must(w.t, w.person.Continue(w.t.Context(), a.Prompt().URL))
	must(w.t, a.Wait(w.t.Context()))
	if got := resources(w); !slices.Equal(got, []string{resource}) {
		w.t.Fatalf("there are tokens for %q, want %q", got, resource)
	}
}
