package auth

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	o, err := origin.Parse("https://h.example")
	must(t, err)
	signIn := &ActionRequired{action.New("1", action.Prompt{Kind: action.SignIn, Origin: o, Issuer: "https://bücher.example/red alert"})}
	allow := &ActionRequired{action.New("2", action.Prompt{Kind: action.AllowAddress, Origin: o})}
	for want, err := range map[string]error{
		"a person must sign in at https://xn--bcher-kva.example/… first":                                     signIn,
		"a person must allow https://h.example first":                                                        allow,
		"https://h.example does not accept the token that https://a.example has just issued for it":          &RefusedError{Origin: o, Issuer: "https://a.example"},
		"https://h.example wants an access token but does not say which authorization server issues it":      &NoIssuerError{Origin: o},
		"https://h.example asks for a sign-in over plain http, where anyone on the way could take the token": &PlaintextError{Origin: o},
		"https://h.example sends people to sign in at http://a.example, which is plain http":                 &PlaintextError{Origin: o, Issuer: "http://a.example"},
	} {
		if d := cmp.Diff(want, err.Error()); d != "" {
			t.Error(d)
		}
	}
	for want, err := range map[string]interface{ Code() string }{
		"login_required": signIn, "approval_required": allow, "oauth.token_refused": &RefusedError{}, "oauth.no_issuer": &NoIssuerError{}, "oauth.plaintext": &PlaintextError{},
	} {
		if got := err.Code(); got != want {
			t.Errorf("code %q, want %q", got, want)
		}
	}
	if cause := io.EOF; !errors.Is(&NoIssuerError{Err: cause}, cause) {
		t.Error("NoIssuerError hides its cause")
	}
}
