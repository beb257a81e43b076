package login

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestDPoPEndToEnd(t *testing.T) {
	for _, tc := range []struct {
		name  string
		nonce bool
		par   string
	}{{"plain", false, ""}, {"nonce", true, ""}, {"pushed", false, "required"}, {"pushed, nonce", true, "required"}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{
				RequireDPoP: true, DPoPNonce: tc.nonce, PAR: tc.par, RotateRefresh: true, Clients: map[string]string{"robot": "s"},
			}, options{})
			req := w.request()
			req.DPoP = true
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			key, err := w.ProofKey(t.Context(), req.Principal, w.issuer.URL)
			if err != nil {
				t.Fatal(err)
			}
			tok := w.token()
			if tok.TokenType != "DPoP" || tok.KeyThumbprint != key.Thumbprint() {
				t.Errorf("stored a %s token bound to %q", tok.TokenType, tok.KeyThumbprint)
			}
			asked := w.one("/authorize").Query
			if tc.par != "" {
				asked = w.received("/par")[0].Form
			}
			if asked.Get("dpop_jkt") != key.Thumbprint() {
				t.Errorf("dpop_jkt %q", asked.Get("dpop_jkt"))
			}
			next, err := w.Refresh(t.Context(), tok, Credentials{})
			if err != nil || next.TokenType != "DPoP" || next.KeyThumbprint != key.Thumbprint() {
				t.Fatalf("refresh: %v", err)
			}
			req.Client = Credentials{ID: "robot", Secret: secret.New("s")}
			if silent, err := robotToken(t, w.Flows, req); err != nil || silent.KeyThumbprint != key.Thumbprint() {
				t.Fatalf("client credentials: %v", err)
			}
			seen := map[string]bool{}
			requests, again := 0, 0
			for _, e := range w.issuer.Log.Events() {
				proofs := e.Header.Values("DPoP")
				if want := strings.HasSuffix(e.Path, "/token") || strings.HasSuffix(e.Path, "/par"); want != (len(proofs) == 1) {
					t.Errorf("%d proofs to %s", len(proofs), e.Path)
				}
				if len(proofs) == 0 {
					continue
				}
				requests++
				if e.Status >= 400 {
					again++
				}
				if seen[proofs[0]] {
					t.Error("a proof was sent twice")
				}
				seen[proofs[0]] = true
				claims := part(t, proofs[0], 1)
				if claims["htm"] != "POST" || claims["htu"] != w.issuer.URL+e.Path || claims["ath"] != nil {
					t.Errorf("claims %v", claims)
				}
			}
			// The nonce is learnt once and then kept.
			want := 0
			if tc.nonce {
				want = 1
			}
			if again != want {
				t.Errorf("%d of %d requests were refused, want %d", again, requests, want)
			}
		})
	}
}

func TestDPoPDeviceCode(t *testing.T) {
	inBubble(t, oauthtest.IssuerOptions{RequireDPoP: true, DPoPNonce: true}, func(t *testing.T, w *world) {
		req := w.request()
		req.DPoP = true
		a := w.start(req)
		if err := w.person.EnterCode(t.Context(), a.Prompt().VerificationURI, a.Prompt().UserCode); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, a); err != nil {
			t.Fatal(err)
		}
		if tok := w.token(); tok.TokenType != "DPoP" || tok.KeyThumbprint == "" {
			t.Errorf("stored a %s token bound to %q", tok.TokenType, tok.KeyThumbprint)
		}
		if e := w.one("/device_authorization"); e.Header.Get("DPoP") != "" {
			t.Error("a proof where none belongs")
		}
	})
}

func TestDPoPChoice(t *testing.T) {
	const issuer = `issuers."https://login.example".dpop`
	es256 := []string{"RS256", "ES256"}
	for _, tc := range []struct {
		setting  string
		demanded bool
		listed   []string
		want     bool
		err      string
	}{
		{"auto", false, es256, false, ""},
		{"auto", true, es256, true, ""},
		{"auto", true, []string{"RS256"}, false, issuer + `: "always"`},
		{"auto", true, nil, false, issuer + `: "always"`},
		{"", true, nil, false, issuer + `: "always"`},
		{"always", false, nil, true, ""},
		{"always", true, nil, true, ""},
		{"never", false, es256, false, ""},
		{"never", true, es256, false, issuer + `: "never"`},
	} {
		t.Run(fmt.Sprint(tc.setting, tc.demanded, tc.listed), func(t *testing.T) {
			sent := false
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				sent = r.Header.Get("DPoP") != ""
				kind := map[bool]string{true: "dPOP", false: "bearer"}[sent]
				saysJSON(200, `{"access_token":"tok","token_type":"`+kind+`"}`)(w, r)
			})
			settings(Settings{DPoP: tc.setting})(&f.opts)
			req.DPoP, req.Server.DPoPSigningAlgValuesSupported = tc.demanded, tc.listed
			tok, err := robotToken(t, f, req)
			if tc.err != "" {
				hint[*UnsupportedError](t, err, "oauth.unsupported", "DPoP", "https://wiki.example", tc.err)
				return
			}
			if err != nil || sent != tc.want || (tok.TokenType == "DPoP") != tc.want || (tok.KeyThumbprint != "") != tc.want {
				t.Errorf("proof sent %v, token %+v, %v", sent, tok, err)
			}
		})
	}
}

// A server that answers a proof with an unbound token is not believed, nor the other way round.
func TestTokenTypeMustFit(t *testing.T) {
	for _, tc := range []struct{ asked, given, text string }{
		{"DPoP", "Bearer", "not DPoP"}, {"DPoP", "", "not DPoP"}, {"Bearer", "DPoP", "not Bearer"}, {"Bearer", "N_A", "not Bearer"},
	} {
		f, store, req := at(t, saysJSON(200, `{"access_token":"tok","token_type":"`+tc.given+`","refresh_token":"r"}`))
		if tc.asked == "DPoP" {
			settings(Settings{DPoP: "always"})(&f.opts)
		}
		_, err := robotToken(t, f, req)
		if err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s for %s: %v", tc.given, tc.asked, err)
		}
		if entries, _ := store.List(t.Context(), tokenstore.KindToken, req.Principal); len(entries) != 0 {
			t.Errorf("%s for %s was stored", tc.given, tc.asked)
		}
	}
}

// A server that goes back on the binding does so at each refresh: a new login is needed.
func TestRefreshOfAnotherType(t *testing.T) {
	for _, tc := range []struct{ bound, given string }{{"DPoP", "Bearer"}, {"DPoP", "N_A"}, {"Bearer", "DPoP"}} {
		t.Run(tc.given+" for "+tc.bound, func(t *testing.T) {
			kind, asked := tc.bound, 0
			f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				saysJSON(200, `{"access_token":"tok`+kind+`","token_type":"`+kind+`","refresh_token":"r"}`)(w, r)
			})
			if tc.bound == "DPoP" {
				settings(Settings{DPoP: "always"})(&f.opts)
			}
			tok, err := robotToken(t, f, req)
			if err != nil {
				t.Fatal(err)
			}
			kind = tc.given
			_, err = f.Refresh(t.Context(), tok, req.Client)
			if !IsRefused(err) || asked != 2 {
				t.Errorf("%v after %d requests", err, asked)
			}
			hint[*TokenError](t, err, "oauth.token_endpoint", "answered 200: the token type is not "+tc.bound)
			if now := stored(t, store, tok); now.AccessToken.Reveal() != "tok"+tc.bound {
				t.Error("the token of the wrong type was stored")
			}
		})
	}
}

// The same request is sent once more with a nonce, and never a third time.
func TestNonces(t *testing.T) {
	const want = `{"error":"use_dpop_nonce"}`
	for _, tc := range []struct {
		name    string
		answers []func(w http.ResponseWriter)
		asked   int
		ok      bool
	}{
		{"400", []func(http.ResponseWriter){nonce(400, want, "n1"), nonce(200, "", "")}, 2, true},
		{"401", []func(http.ResponseWriter){nonce(401, want, "n1"), nonce(200, "", "")}, 2, true},
		{"for ever", []func(http.ResponseWriter){nonce(400, want, "n1"), nonce(400, want, "n2"), nonce(400, want, "n3")}, 2, false},
		{"no nonce", []func(http.ResponseWriter){nonce(400, want, "")}, 1, false},
		{"bad nonce", []func(http.ResponseWriter){nonce(400, want, "a b")}, 1, false},
		{"another error", []func(http.ResponseWriter){nonce(400, `{"error":"invalid_grant"}`, "n1")}, 1, false},
		{"another status", []func(http.ResponseWriter){nonce(403, want, "n1")}, 1, false},
		{"not JSON", []func(http.ResponseWriter){nonce(400, `<h1>use_dpop_nonce</h1>`, "n1")}, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked, forms := 0, map[string]bool{}
			var nonces []any
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				forms[r.PostForm.Encode()] = true
				nonces = append(nonces, part(t, r.Header.Get("DPoP"), 1)["nonce"])
				tc.answers[min(asked, len(tc.answers)-1)](w)
				asked++
			})
			settings(Settings{DPoP: "always"})(&f.opts)
			_, err := robotToken(t, f, req)
			if (err == nil) != tc.ok || asked != tc.asked || len(forms) != 1 || nonces[0] != nil || asked > 1 && nonces[1] != "n1" {
				t.Errorf("%v after %d requests with the nonces %v and %d forms", err, asked, nonces, len(forms))
			}
		})
	}
}

func nonce(status int, body, value string) func(http.ResponseWriter) {
	if body == "" {
		body = `{"access_token":"tok","token_type":"DPoP"}`
	}
	return func(w http.ResponseWriter) {
		if value != "" {
			w.Header().Set("DPoP-Nonce", value)
		}
		saysJSON(status, body)(w, nil)
	}
}

// Every answer's nonce is the next request's.
func TestNonceOfASuccess(t *testing.T) {
	var got []any
	f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, part(t, r.Header.Get("DPoP"), 1)["nonce"])
		nonce(200, "", fmt.Sprint("n", len(got)))(w)
	})
	settings(Settings{DPoP: "always"})(&f.opts)
	for range 3 {
		if _, err := robotToken(t, f, req); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got) != "[<nil> n1 n2]" {
		t.Errorf("nonces %v", got)
	}
}

// Without the key of the token the server is not even asked.
func TestRefreshWithoutItsKey(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(t *testing.T, store *tokenstore.Memory, k tokenstore.Key)
	}{
		{"gone", func(t *testing.T, s *tokenstore.Memory, k tokenstore.Key) {
			if err := s.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}},
		{"damaged", func(t *testing.T, s *tokenstore.Memory, k tokenstore.Key) {
			if err := s.Put(t.Context(), k, []byte(`{"principal":"local","issuer":"https://login.example","private_key":"AAAA"}`)); err != nil {
				t.Fatal(err)
			}
		}},
		{"another", func(t *testing.T, s *tokenstore.Memory, k tokenstore.Key) {
			if err := s.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			other := New(Options{Store: s})
			if _, err := other.ProofKey(t.Context(), "local", "https://login.example"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				saysJSON(200, `{"access_token":"tok","token_type":"DPoP","refresh_token":"r"}`)(w, r)
			})
			settings(Settings{DPoP: "always"})(&f.opts)
			tok, err := robotToken(t, f, req)
			if err != nil {
				t.Fatal(err)
			}
			tc.edit(t, store, tokenstore.ProofKeyKey("local", "https://login.example"))
			_, err = f.Refresh(t.Context(), tok, req.Client)
			hint[*BindingError](t, err, "oauth.binding_lost", "key", "sign in again")
			if !IsRefused(err) || asked != 1 {
				t.Errorf("%v, %d requests", err, asked)
			}
			// A new login makes do with a new key.
			if next, err := robotToken(t, f, req); err != nil || next.KeyThumbprint == tok.KeyThumbprint {
				t.Errorf("the next login: %v", err)
			}
		})
	}
	t.Run("store broken", func(t *testing.T) {
		f, store, req := at(t, saysJSON(200, `{"access_token":"tok","token_type":"DPoP","refresh_token":"r"}`))
		settings(Settings{DPoP: "always"})(&f.opts)
		tok, err := robotToken(t, f, req)
		if err != nil {
			t.Fatal(err)
		}
		f.opts.Store = unreadable{store}
		if _, err := f.Refresh(t.Context(), tok, req.Client); err == nil || IsRefused(err) {
			t.Errorf("got %v: that may pass", err)
		}
	})
}
