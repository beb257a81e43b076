package auth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
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
		{"password or Windows login", 401, []string{"Negotiate", `basic realm="Wiki"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Negotiate or basic for "Wiki", which is not OAuth`, "name and password"},
		{"the same twice", 401, []string{"Basic, basic"}, nil, "http_401", "https://h.example answered with status 401: it wants a sign-in by Basic, which is not OAuth", "name and password"},
		{"another", 401, []string{`Digest realm="d", nonce="n"`}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Digest for "d", which is not OAuth`, "takes a key in a header"},
		{"a realm that would act", 401, []string{"Basic realm=\"\u202e\u200bWiki\\\" say \u0085\""}, nil, "http_401", `https://h.example answered with status 401: it wants a sign-in by Basic for "Wiki' say", which is not OAuth`, ""},
		{"proxy", 407, nil, []string{`Basic realm="Proxy"`}, "network.proxy", `a proxy on the way to https://h.example answered with status 407: it wants a sign-in by Basic for "Proxy", which is not OAuth`, "the proxy asks for a name and password"},
		{"proxy with a Windows login", 407, nil, []string{"Negotiate"}, "network.proxy", "a proxy on the way to https://h.example answered with status 407: it wants a sign-in by Negotiate, which is not OAuth", "the proxy asks for a Windows integrated login"},
		{"proxy that says nothing", 407, nil, nil, "network.proxy", "a proxy on the way to https://h.example answered with status 407: it wants a sign-in, which is not OAuth", "the proxy"},
		{"proxy with the wrong status", 401, nil, []string{"NTLM"}, "network.proxy", "a proxy on the way to https://h.example answered with status 401: it wants a sign-in by NTLM, which is not OAuth", "the proxy"},

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
			if e.Code() != tt.code || !strings.Contains(e.Hint(), tt.hint) || e.Proxy != (tt.code == "network.proxy") {
				t.Errorf("code %s, hint %q, proxy %v", e.Code(), e.Hint(), e.Proxy)
			}
		})
	}
	for _, resp := range []*http.Response{nil, {StatusCode: 407}, {StatusCode: 407, Request: &http.Request{}}, {StatusCode: 407, Request: &http.Request{URL: &url.URL{}}}} {
		if err := Explain(resp); err != nil {
			t.Errorf("got %v, want nothing", err)
		}
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
