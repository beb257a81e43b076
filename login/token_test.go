package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTokenResponses(t *testing.T) {
	const good = `"access_token":"tok","token_type":"Bearer"`
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		text    string // in the error; "": accepted
	}{
		{"good", saysJSON(200, `{`+good+`}`), ""},
		{"bearer in another case", saysJSON(200, `{"access_token":"tok","token_type":"bEARER"}`), ""},
		{"JSON of a kind", says(200, "application/vnd.example+json; charset=utf-8", `{`+good+`}`), ""},
		{"unknown members", saysJSON(200, `{`+good+`,"id_token":"x","ACCESS_TOKEN":"evil"}`), ""},
		{"empty error", saysJSON(200, `{`+good+`,"error":""}`), ""},

		{"access token twice", saysJSON(200, `{`+good+`,"access_token":"evil"}`), "not a valid JSON object"},
		{"only in another case", saysJSON(200, `{"ACCESS_TOKEN":"tok","token_type":"Bearer"}`), "access token is missing"},
		{"invalid UTF-8", saysJSON(200, "{"+good+",\"scope\":\"\xff\"}"), "not a valid JSON object"},
		{"error with 200", saysJSON(200, `{"error":"bad_verification_code","error_description":"gone"}`), `"bad_verification_code": "gone"`},
		{"token and error", saysJSON(200, `{`+good+`,"error":"server_error"}`), `"server_error"`},
		{"created", saysJSON(201, `{`+good+`}`), "answered 201"},
		{"error", saysJSON(400, `{"error":"invalid_grant"}`), `answered 400 with the error "invalid_grant"`},
		{"error as HTML", says(400, "text/html", "<h1>Bad</h1>"), "not JSON"},
		{"error that is none", saysJSON(400, `{"message":"no"}`), "neither the expected form"},
		{"HTML", says(200, "text/html", `{`+good+`}`), "not JSON"},
		{"no type", says(200, "", `{`+good+`}`), "not JSON"},
		{"form", says(200, "application/x-www-form-urlencoded", "access_token=tok&token_type=bearer"), "not JSON"},
		{"broken", saysJSON(200, `{`+good), "not a valid JSON object"},
		{"array", saysJSON(200, `[]`), "not a valid JSON object"},
		{"null", saysJSON(200, `null`), "access token is missing"},
		{"two documents", saysJSON(200, `{`+good+`}{}`), "not a valid JSON object"},
		{"deep", saysJSON(200, `{`+good+`,"x":`+strings.Repeat("[", 30000)), "not a valid JSON object"},
		{"wrong types", saysJSON(200, `{"access_token":["tok"],"token_type":"Bearer"}`), "neither the expected form"},
		{"no content", says(204, "", ""), "not JSON"},
		{"server failed", saysJSON(503, `{"error":"invalid_grant"}`), "server failed"},
		{"huge", saysJSON(200, `{`+good+`,"x":"`+strings.Repeat("x", 65<<10)+`"}`), "larger than 64 KiB"},
		{"no token", saysJSON(200, `{"token_type":"Bearer"}`), "access token is missing"},
		{"line break in the token", saysJSON(200, `{"access_token":"tok\r\nX-Evil: 1","token_type":"Bearer"}`), "access token"},
		{"space in the token", saysJSON(200, `{"access_token":"tok en","token_type":"Bearer"}`), "access token"},
		{"letters in the token", saysJSON(200, `{"access_token":"töken","token_type":"Bearer"}`), "access token"},
		{"NUL in the token", saysJSON(200, `{"access_token":"tok\u0000","token_type":"Bearer"}`), "access token"},
		{"long token", saysJSON(200, `{"access_token":"`+strings.Repeat("x", 33<<10)+`","token_type":"Bearer"}`), "access token"},
		{"no type of token", saysJSON(200, `{"access_token":"tok"}`), "not Bearer"},
		{"DPoP", saysJSON(200, `{"access_token":"tok","token_type":"DPoP"}`), "not Bearer"},
		{"line break in the refresh token", saysJSON(200, `{`+good+`,"refresh_token":"a\nb"}`), "refresh token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, store, req := at(t, tc.handler)
			tok, err := robotToken(t, f, req)
			if tc.text == "" {
				if err != nil || tok.AccessToken.Reveal() != "tok" || tok.TokenType != "Bearer" {
					t.Errorf("got %+v, %v", tok, err)
				}
				return
			}
			var e *TokenError
			if tok != nil || !errors.As(err, &e) || e.Code() == "" || e.Hint() == "" || e.Endpoint != "https://login.example" {
				t.Fatalf("got %+v, %v", tok, err)
			}
			contains(t, "error", err.Error(), tc.text, "https://login.example answered")
			if strings.Contains(err.Error(), "<h1>") || strings.Contains(err.Error(), "evil") || len(err.Error()) > 700 {
				t.Errorf("error %q", err)
			}
			if entries, _ := store.List(t.Context(), "token", req.Principal); len(entries) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestLifetime(t *testing.T) {
	const unknown = time.Duration(0)
	for _, tc := range []struct {
		value string
		want  time.Duration
	}{
		{``, unknown}, {`0`, unknown}, {`-1`, unknown}, {`-9e99`, unknown}, {`null`, unknown}, {`true`, unknown}, {`"soon"`, unknown}, {`""`, unknown},
		{`{}`, unknown}, {`[60]`, unknown}, {`"NaN"`, unknown},
		{`3600`, time.Hour}, {`"3600"`, time.Hour}, {`" 3600 "`, time.Hour}, {`3600.5`, time.Hour + 500*time.Millisecond}, {`3.6e3`, time.Hour},
		{`9223372036854775807`, 87600 * time.Hour}, {`9e999`, 87600 * time.Hour}, {`"Infinity"`, 87600 * time.Hour},
	} {
		t.Run(tc.value, func(t *testing.T) {
			body := `{"access_token":"tok","token_type":"Bearer"}`
			if tc.value != "" {
				body = `{"access_token":"tok","token_type":"Bearer","expires_in":` + tc.value + `}`
			}
			synctest.Test(t, func(t *testing.T) {
				f, _, req := at(t, saysJSON(200, body))
				tok, err := robotToken(t, f, req)
				if err != nil {
					t.Fatal(err)
				}
				want := time.Time{}
				if tc.want != unknown {
					want = time.Now().Add(tc.want)
				}
				if !tok.Expiry.Equal(want) {
					t.Errorf("expires %v, want %v", tok.Expiry, want)
				}
			})
		})
	}
}

func TestGrantedScopes(t *testing.T) {
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprint("s", i)
	}
	for _, tc := range []struct {
		name, member string
		want         []string
	}{
		{"as requested", ``, []string{"wiki.read"}},
		{"empty", `,"scope":""`, []string{"wiki.read"}},
		{"fewer", `,"scope":"a"`, []string{"a"}},
		{"more, with repeats", `,"scope":"b  a b"`, []string{"b", "a"}},
		{"not scopes", `,"scope":"a \u001b[31m \"q\" \u202ex c"`, []string{"a", "c"}},
		{"very many", `,"scope":"` + strings.Join(many, " ") + `"`, many[:256]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, saysJSON(200, `{"access_token":"tok","token_type":"Bearer"`+tc.member+`}`))
			tok, err := robotToken(t, f, req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tok.Scopes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Not one byte of a token request goes anywhere but to the token endpoint.
func TestTokenRequestIsNotRedirected(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308, 300, 304} {
		bodies := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			bodies++
			w.Header().Set("Location", other.URL)
			w.WriteHeader(status)
		}))
		f, _, req := atTransport(t, &http.Transport{DisableKeepAlives: true})
		req.Server.TokenEndpoint = server.URL + "/token"
		_, err := robotToken(t, f, req)
		server.Close()
		var e *TokenError
		if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Reason, "redirects") || bodies != 1 {
			t.Errorf("%d: %v, %d requests", status, err, bodies)
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("%d requests elsewhere", elsewhere.Load())
	}
}

func TestEndlessAnswerIsCut(t *testing.T) {
	body := &endless{}
	f, _, req := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r}, nil
	}))
	if _, err := robotToken(t, f, req); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("error %v", err)
	}
	if body.read > 1<<20 || !body.closed {
		t.Errorf("%d bytes read, closed %v", body.read, body.closed)
	}
}

type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.read += len(b)
	return len(b), nil
}

func (e *endless) Close() error { e.closed = true; return nil }

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, req := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		start := time.Now()
		_, err := robotToken(t, f, req)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		contains(t, "error", err.Error(), "asking https://login.example")
	})
}
