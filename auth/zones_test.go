package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// inside starts a site that nobody configured.
func inside(w *world) *oauthtest.Resource {
	w.t.Helper()
	r := w.resource(oauthtest.ResourceOptions{})
	delete(w.sites, r.URL)
	return r
}

func TestAPersonMayAllowAnAddress(t *testing.T) {
	w := newWorld(t, options{private: AskPrivate})
	r, other := inside(w), inside(w)
	a := w.action(r.URL + handbook)
	p := a.Prompt()
	if p.Kind != action.AllowAddress || p.Origin.String() != r.URL || p.Issuer != "" {
		t.Errorf("prompt %+v", p)
	}
	_, err := w.get(r.URL + "/")
	again := isA[*ActionRequired](t, err)
	if again.Action != a || again.Code() != "approval_required" {
		t.Errorf("second request: %v, %s", again, again.Code())
	}
	if n := w.log.Count("resource", "", ""); n != 0 {
		t.Errorf("%d requests before anybody agreed", n)
	}
	if len(w.opened) != 1 {
		t.Errorf("browser windows %q, want one", w.opened)
	}
	// It is about this origin and this person alone, before and after it is answered.
	for range 2 {
		if w.action(other.URL+handbook) == a {
			t.Error("another origin joins the action")
		}
		_, err = w.RoundTrip(newRequest(t, "bob", r.URL+handbook))
		if isA[*ActionRequired](t, err).Action == a {
			t.Error("another person joins the action")
		}
		if a.EndedAt().IsZero() {
			w.allow(a)
		}
	}
	w.page(r.URL+handbook, 200)

	o, err := origin.Parse(r.URL)
	must(t, err)
	approval, err := tokenstore.GetApproval(t.Context(), w.store, tokenstore.ApprovalKey(principal.Local, r.URL, ""))
	must(t, err)
	if life := time.Until(approval.Expires); life > approvalLife || life < approvalLife-time.Minute {
		t.Errorf("the approval lasts for %v, want %v", life, approvalLife)
	}
	approval.Expires = time.Now().Add(-time.Second)
	must(t, tokenstore.PutApproval(t.Context(), w.store, approval))
	if rules, err := w.zones.Rules(principal.With(t.Context(), principal.Local), o); err != nil || rules != (netguard.Rules{}) {
		t.Errorf("an approval that has expired: %v, %v", rules, err)
	}
	if w.action(r.URL+handbook) == a {
		t.Error("the old action is joined when the approval has expired")
	}
}

// allow presses the page's first button.
func (w *world) allow(a *action.Action) {
	w.t.Helper()
	// There is no issuer to come back from, which Continue calls an error.
	_ = w.person.Continue(w.t.Context(), a.Prompt().URL)
	w.ended(a, nil)
}

func TestAPersonDoesNotAllowAnAddress(t *testing.T) {
	w := newWorld(t, options{private: AskPrivate})
	r := inside(w)
	a := w.action(r.URL + handbook)
	must(t, w.person.Cancel(t.Context(), a.Prompt().URL))
	w.ended(a, action.ErrDenied)
	_, err := w.get(r.URL + handbook)
	isA[*action.DeclinedError](t, err)
	if n := w.log.Count("resource", "", ""); n != 0 || len(w.opened) != 1 {
		t.Errorf("%d requests, windows %q", n, w.opened)
	}
}

func TestZones(t *testing.T) {
	for _, tt := range []struct {
		name     string
		private  Private
		url      string // "": a site on loopback
		noDesk   bool
		approved bool // by a person, earlier
		status   int  // 0: denied
	}{
		{"deny", DenyPrivate, "", false, false, 0},
		{"deny, although a person once allowed it", DenyPrivate, "", false, true, 0},
		{"ask, and a person once allowed it", AskPrivate, "", false, true, 200},
		{"nothing said", "", "", false, false, 0},
		{"allow", AllowPrivate, "", false, false, 200},
		{"ask, with nobody to ask", AskPrivate, "", true, false, 0},
		{"metadata of a cloud", AskPrivate, "http://169.254.169.254/latest/meta-data/", false, false, 0},
		{"metadata of a cloud, private addresses allowed", AllowPrivate, "http://169.254.169.254/", false, false, 0},
		{"this machine in disguise", AskPrivate, "http://[::127.0.0.1]/", false, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{private: tt.private})
			if tt.noDesk {
				w.zones.Desk = nil
			}
			r := inside(w)
			if tt.url == "" {
				tt.url = r.URL + handbook
			}
			if tt.approved {
				must(t, tokenstore.PutApproval(t.Context(), w.store, &tokenstore.Approval{Principal: principal.Local, Resource: r.URL, Zone: "loopback", Expires: time.Now().Add(time.Hour)}))
			}
			if tt.status != 0 {
				w.page(tt.url, tt.status)
				return
			}
			_, err := w.get(tt.url)
			isA[*netguard.DeniedError](t, err)
			if n := w.log.Count("resource", "", ""); n != 0 || len(w.opened) != 0 {
				t.Errorf("%d requests, windows %q", n, w.opened)
			}
		})
	}
}

// The login page's own listener is no page to fetch, whatever is allowed.
func TestOwnPageIsNotFetched(t *testing.T) {
	guard := new(netguard.Guard)
	store := tokenstore.NewMemory()
	desk := action.NewDesk(action.DeskOptions{Own: guard.Own})
	defer desk.Close()
	zones := &Zones{Store: store, Desk: desk, Private: AskPrivate, Allowed: func(origin.Origin) bool { return true }}
	base := outbound.New(outbound.Options{Guard: guard, Rules: zones.Rules})
	defer base.CloseIdleConnections()
	tr := New(Options{Base: base, Store: store, Zones: zones})
	a, err := desk.Place(action.Form{Prompt: action.Prompt{Kind: action.SignIn}})
	must(t, err)
	_, err = tr.RoundTrip(newRequest(t, principal.Local, a.Prompt().URL))
	isA[*netguard.DeniedError](t, err)
}

type noApprovals struct{ tokenstore.Store }

func (noApprovals) Get(context.Context, tokenstore.Key) ([]byte, error) { return nil, errBroken }

func TestApprovalsThatCannotBeRead(t *testing.T) {
	w := newWorld(t, options{private: AskPrivate, store: noApprovals{tokenstore.NewMemory()}})
	r := inside(w)
	if _, err := w.get(r.URL + handbook); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	ctx := principal.With(t.Context(), principal.Local)
	o, err := origin.Parse(r.URL)
	must(t, err)
	if !w.zones.named(ctx, o) {
		t.Error("an origin that cannot be looked up counts as nobody's")
	}
}

// After an address was allowed the login goes on as anywhere, if it may.
func TestAllowedAddressThatWantsALogin(t *testing.T) {
	w := newWorld(t, options{private: AskPrivate, tls: true})
	i := w.issuer(oauthtest.IssuerOptions{})
	w.configure(i.URL, Site{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.allow(w.action(r.URL + handbook))
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)

	plain := newWorld(t, options{private: AskPrivate})
	asks := inside(plain)
	asks.Close()
	asks = plain.resource(oauthtest.ResourceOptions{Issuer: plain.issuer(oauthtest.IssuerOptions{})})
	delete(plain.sites, asks.URL)
	plain.allow(plain.action(asks.URL + handbook))
	_, err := plain.get(asks.URL + handbook)
	isA[*PlaintextError](t, err)
}

// What a stranger's metadata said long ago opens no way to a site that the config names now.
func TestCheckEndpoint(t *testing.T) {
	const issuer, own, named, other = "https://as.example/t", "https://as.example", "https://wiki.example", "https://other.example"
	for _, tt := range []struct {
		name     string
		issuer   string
		endpoint string
		isIssuer bool
		want     bool // allowed
	}{
		{"at its own origin", issuer, own + "/token", false, true},
		{"at an origin that nobody named", issuer, other + "/token", false, true},
		{"at a named site", issuer, named + "/admin?delete=all", false, false},
		{"of an issuer in the config, at a named site", issuer, named + "/token", true, true},
		{"of a named site, at another", named, named + "/token", false, true},
		{"no URL", issuer, "://", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			w.configure(named, Site{})
			err := w.zones.CheckEndpoint(principal.With(t.Context(), principal.Local), tt.issuer, tt.endpoint, tt.isIssuer)
			if (err == nil) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}
