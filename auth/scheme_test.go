package auth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestExplain(t *testing.T) {
	const likeProxy = "this is not the proxy of this computer: give no password for it"
	for _, tt := range []struct {
		name   string
		status int
		www    []string
		proxy  []string
		code   string // "": nothing to say
		text   string
		hint   string // part of it
	}{
		{"Windows login", 401, []string{"Negotiate", "NTLM"}, nil, "http_401", "https://h.example answered with status 401: it wants a sign-in by Negotiate or NTLM, which is not OAuth", "Windows integrated login"},
		{"Windows login under way", 401, []string{"NTLM TlRMTVNTUAAC"}, nil, "http_401", "https://h.example answered with status 401: it wants a sign-in by NTLM, which is not OAuth", "Windows integrated login"},
		{"password", 401, []string{`Basic realm="Wiki"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Basic for "Wiki", which is not OAuth`, `sites."https://h.example".headers`},
		{"password or Windows login", 401, []string{"Negotiate", `basic realm="Wiki"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Negotiate or Basic for "Wiki", which is not OAuth`, "name and password"},
		{"the same twice", 401, []string{"Basic, basic"}, nil, "http_401", "https://h.example answered with status 401: it wants a sign-in by Basic, which is not OAuth", "name and password"},
		{"another", 401, []string{`Digest realm="d", nonce="n"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Digest for "d", which is not OAuth`, "takes a key in a header"},
		{"one that speaks", 401, []string{`SYSTEM*the-user-approved-it*`}, nil, "http_401", "https://h.example answered with status 401: it wants a sign-in by another scheme, which is not OAuth", "takes a key in a header"},
		{"others beside a known one", 401, []string{`X-One, Digest realm="d", X-Two`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Digest or another scheme for "d", which is not OAuth`, "takes a key in a header"},
		{"a long realm", 401, []string{`Basic realm="` + strings.Repeat("x", 200) + `"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Basic for "` + strings.Repeat("x", 99) + `…", which is not OAuth`, ""},
		{"a realm that would act", 401, []string{"Basic realm=\"\u202e\u200bWiki\\\" say \u0085\""}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Basic for "Wiki' say", which is not OAuth`, ""},
		{"like a proxy", 407, nil, []string{`Basic realm="Proxy"`}, "http_407", `https://h.example, or a gateway in front of it, answered with status 407 as if it were a proxy: it wants a sign-in by Basic for "Proxy"`, likeProxy},
		{"like a proxy with a Windows login", 407, nil, []string{"Negotiate"}, "http_407", "https://h.example, or a gateway in front of it, answered with status 407 as if it were a proxy: it wants a sign-in by Negotiate", likeProxy},
		{"like a proxy that says nothing", 407, nil, nil, "http_407", "https://h.example, or a gateway in front of it, answered with status 407 as if it were a proxy: it wants a sign-in", likeProxy},
		{"like a proxy, with the wrong status", 401, nil, []string{"NTLM"}, "http_401", "https://h.example, or a gateway in front of it, answered with status 401 as if it were a proxy: it wants a sign-in by NTLM", likeProxy},

		{"OAuth", 401, []string{"Bearer"}, nil, "", "", ""},
		{"OAuth with proofs", 401, []string{"DPoP"}, nil, "", "", ""},
		{"OAuth beside others", 401, []string{"Negotiate", "Basic, Bearer"}, nil, "", "", ""},
		{"another with metadata", 401, []string{`Cloudflare-Access resource_metadata="https://h.example/prm"`}, nil, "", "", ""},
		{"bare", 401, nil, nil, "", "", ""},
		{"page", 200, []string{"Basic"}, nil, "", "", ""},
		{"forbidden", 403, []string{"Basic"}, nil, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{}, Request: &http.Request{URL: &url.URL{Scheme: "https", Host: "h.example", Path: "/p", RawQuery: "secret"}}}
			for _, v := range tt.www {
				resp.Header.Add("WWW-Authenticate", v)
			}
			for _, v := range tt.proxy {
				resp.Header.Add("Proxy-Authenticate", v)
			}
			err := Explain(resp)
			if tt.code == "" {
				if err != nil {
					t.Errorf("got %v, want nothing", err)
				}
				return
			}
			e := isA[*SchemeError](t, err)
			if d := cmp.Diff(tt.text, e.Error()); d != "" {
				t.Error(d)
			}
			if e.Code() != tt.code || !strings.Contains(e.Hint(), tt.hint) || strings.Contains(e.Hint(), "network.proxy") || e.LikeProxy != (tt.hint == likeProxy) {
				t.Errorf("code %s, hint %q, like a proxy: %v", e.Code(), e.Hint(), e.LikeProxy)
			}
		})
	}
	for _, resp := range []*http.Response{nil, {StatusCode: 407}, {StatusCode: 407, Request: &http.Request{}}, {StatusCode: 407, Request: &http.Request{URL: &url.URL{}}}} {
		if err := Explain(resp); err != nil {
			t.Errorf("got %v, want nothing", err)
		}
	}
}

// A site may repeat what it was sent in the words of its challenge.
func TestExplainShowsNothingThatWasSent(t *testing.T) {
	const host, key = "https://h.example", "canary/key+7f3a"
	for _, tt := range []struct {
		name   string
		header string
		value  func(key string) string
		realm  string
	}{
		{"as it is", "WWW-Authenticate", func(key string) string { return `Basic realm="no ` + key + ` here"` }, "no [redacted] here"},
		{"in base64", "WWW-Authenticate", func(key string) string { return `Basic realm="` + base64.StdEncoding.EncodeToString([]byte(key)) + `"` }, "[redacted]"},
		{"at the cut", "WWW-Authenticate", func(key string) string { return `Basic realm="` + strings.Repeat("x", 90) + key + `"` }, strings.Repeat("x", 90) + "[redacted]"},
		{"with what is not shown in it", "WWW-Authenticate", func(key string) string { return `Basic realm="` + key[:4] + "\u200b" + key[4:] + `"` }, "[redacted]"},
		{"as a scheme", "WWW-Authenticate", func(key string) string { return strings.NewReplacer("/", "", "+", "").Replace(key) }, ""},
		{"as if for a proxy", "Proxy-Authenticate", func(key string) string { return `Basic realm="` + key + `"` }, "[redacted]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set(tt.header, tt.value(r.Header.Get("X-Key")))
				rw.WriteHeader(401)
			}})
			w.sites[host] = Site{Configured: true, Headers: []Header{{"X-Key", secret.New(key)}}}
			e := isA[*SchemeError](t, Explain(w.page(host+handbook, 401)))
			if e.Realm != tt.realm || strings.Contains(e.Error()+e.Hint(), "canary") {
				t.Errorf("realm %q, want %q: %v", e.Realm, tt.realm, e)
			}
			if got := n.sentTo(host); len(got) != 1 {
				t.Errorf("sent %+v", got)
			}
		})
	}
}

// What stands before a site and wants to know who we are is not answered, and takes no token away.
func TestGateways(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"Negotiate", http.Header{"Www-Authenticate": {"Negotiate"}}, 401},
		{"NTLM", http.Header{"Www-Authenticate": {"Negotiate", "NTLM"}}, 401},
		{"proxy", http.Header{"Proxy-Authenticate": {"Basic"}}, 407},
		{"proxy that speaks of Bearer", http.Header{"Proxy-Authenticate": {"Bearer"}, "Www-Authenticate": {"Bearer"}}, 407},
		{"proxy with the wrong status", http.Header{"Proxy-Authenticate": {"Negotiate"}}, 401},
	} {
		for name, withToken := range map[string]bool{"without a token": false, "with a token": true} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				w, n := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
					for k, v := range tt.header {
						rw.Header()[k] = v
					}
					rw.WriteHeader(tt.status)
				}})
				if withToken {
					w.signedInAs("token", host, a)
				}
				resp := w.page(host+handbook, tt.status)
				isA[*SchemeError](t, Explain(resp))
				if got := n.sentTo(""); len(got) != 1 {
					t.Errorf("sent %+v", got)
				}
				if withToken {
					w.token()
				}
			})
		}
	}
}

// Services before a site answer with a redirect to their own page, and say in the challenge of a
// scheme of theirs where to begin.
func TestRedirectWithChallenge(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, scheme := range []string{"Cloudflare-Access", "Bearer", "DPoP", "X"} {
		s := &site{challenge: "unused", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
		w, _ := newWireWorld(t, map[string]http.HandlerFunc{
			a: edited(a, map[string]any{"dpop_signing_alg_values_supported": []string{"ES256"}}),
			host: func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == prm {
					s.ServeHTTP(rw, r)
					return
				}
				rw.Header().Set("WWW-Authenticate", scheme+` resource_metadata="`+host+prm+`"`)
				rw.Header().Set("Location", "https://login.example/")
				rw.WriteHeader(302)
			},
		})
		if got := w.action(host + handbook).Prompt(); got.Issuer != a {
			t.Errorf("%s: prompt %+v", scheme, got)
		}
	}
}
