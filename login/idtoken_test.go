package login

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func idToken(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestSubjectOfAnIDToken(t *testing.T) {
	const who = `"iss":"https://login.example","aud":"c"`
	for _, tc := range []struct{ name, token, want string }{
		{"name", idToken(`{` + who + `,"preferred_username":"alice","email":"a@example.com","sub":"1"}`), "alice"},
		{"mail", idToken(`{` + who + `,"email":"a@example.com","sub":"1"}`), "a@example.com"},
		{"sub", idToken(`{` + who + `,"sub":"1"}`), "1"},
		{"empty name", idToken(`{` + who + `,"preferred_username":"","sub":"1"}`), "1"},
		{"name that shows nothing", idToken(`{` + who + `,"preferred_username":"\u200b ","sub":"1"}`), "1"},
		{"nobody", idToken(`{` + who + `}`), ""},
		{"audiences", idToken(`{"iss":"https://login.example","aud":["other","c"],"sub":"1"}`), "1"},
		{"another audience", idToken(`{"iss":"https://login.example","aud":"other","sub":"1"}`), ""},
		{"other audiences", idToken(`{"iss":"https://login.example","aud":["other"],"sub":"1"}`), ""},
		{"no audience", idToken(`{"iss":"https://login.example","sub":"1"}`), ""},
		{"audience of another kind", idToken(`{"iss":"https://login.example","aud":{"c":1},"sub":"1"}`), ""},
		{"another issuer", idToken(`{"iss":"https://evil.example","aud":"c","sub":"1"}`), ""},
		{"issuer with a slash", idToken(`{"iss":"https://login.example/","aud":"c","sub":"1"}`), ""},
		{"hidden characters", idToken(`{` + who + `,"sub":"a\u001b[31m\u202eb\nc"}`), "a[31mb c"},
		{"long", idToken(`{` + who + `,"sub":"` + strings.Repeat("é", 500) + `"}`), strings.Repeat("é", 199) + "…"},
		{"twice", idToken(`{` + who + `,"sub":"1","sub":"2"}`), ""},
		{"number", idToken(`{` + who + `,"sub":1}`), ""},
		{"no JSON", idToken(`x`), ""},
		{"padding", "e30.e30=.c2ln", ""},
		{"two parts", "e30.e30", ""},
		{"encrypted", "a.b.c.d.e", ""},
		{"none", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := subjectOf(secret.New(tc.token), "https://login.example", "c"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSubjectIsStored(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{IDToken: true}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	if got := w.token().Subject; got != "alice@example.com" {
		t.Errorf("subject %q", got)
	}
	next, err := w.Refresh(t.Context(), w.token(), Credentials{})
	if err != nil || next.Subject != "alice@example.com" {
		t.Errorf("after a refresh %q, %v", next.Subject, err)
	}
	// One that is not a text does not spoil the answer.
	for _, v := range []string{`null`, `7`, `{}`, `["x"]`, `"x"`} {
		f, _, req := at(t, saysJSON(200, `{"access_token":"tok","token_type":"Bearer","id_token":`+v+`}`))
		if tok, err := robotToken(t, f, req); err != nil || tok.Subject != "" {
			t.Errorf("%s: %v", v, err)
		}
	}
}
