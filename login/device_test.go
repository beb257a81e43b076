package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// inBubble runs a device login at a real issuer without a network, so that its minutes take no time.
func inBubble(t *testing.T, o oauthtest.IssuerOptions, run func(t *testing.T, w *world)) {
	t.Helper()
	i, err := oauthtest.NewIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, i, options{headless: true, wrap: func(http.RoundTripper) http.RoundTripper { return inProcess(i) }})
		w.person = &oauthtest.Person{Client: &http.Client{Transport: inProcess(i)}}
		run(t, w)
	})
}

func TestDeviceCodeEndToEnd(t *testing.T) {
	inBubble(t, oauthtest.IssuerOptions{DeviceInterval: 5}, func(t *testing.T, w *world) {
		a := w.start(w.request())
		p := a.Prompt()
		want := action.Prompt{
			Kind: action.SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: w.issuer.URL, Resource: w.request().Resource, Scopes: []string{"wiki.read", "wiki.list"},
			VerificationURI: w.issuer.URL + "/device", VerificationURIComplete: w.issuer.URL + "/device?user_code=" + p.UserCode, UserCode: p.UserCode,
			ExpiresAt: time.Now().Add(10 * time.Minute),
		}
		if diff := cmp.Diff(want, p, cmpopts.EquateComparable(origin.Origin{})); diff != "" || len(p.UserCode) != 9 {
			t.Errorf("prompt (-want +got):\n%s", diff)
		}
		form := w.one("/device_authorization").Form
		if form.Get("resource") != resource || form.Get("scope") != "wiki.read wiki.list" || form.Get("client_id") != w.registration().ClientID {
			t.Errorf("device authorization request %v", form)
		}
		time.Sleep(22 * time.Second)
		synctest.Wait()
		polls := w.received("/token")
		if len(polls) != 4 {
			t.Errorf("%d polls in 22 seconds, want 4", len(polls))
		}
		if err := w.person.EnterCode(t.Context(), p.VerificationURI, p.UserCode); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, a); err != nil {
			t.Fatal(err)
		}
		for _, e := range w.received("/token") {
			if e.Form.Get("grant_type") != deviceGrant || e.Form.Get("device_code") == "" || e.Form.Get("resource") != resource || e.Form.Has("scope") {
				t.Errorf("poll %v", e.Form)
			}
		}
		if ok, why := w.issuer.Valid(w.token().AccessToken.Reveal(), resource, []string{"wiki.read"}); !ok {
			t.Error(why)
		}
		n := len(w.received("/token"))
		time.Sleep(time.Hour)
		if got := len(w.received("/token")); got != n {
			t.Errorf("%d polls after the end", got-n)
		}
	})
}

func TestDeviceCodeOutcomes(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
			a := w.start(w.request())
			if err := w.person.RefuseCode(t.Context(), a.Prompt().VerificationURI, a.Prompt().UserCode); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, a); !errors.Is(err, action.ErrDenied) {
				t.Errorf("ended with %v", err)
			}
			var declined *action.DeclinedError
			if _, err := w.Start(t.Context(), w.request()); !errors.As(err, &declined) {
				t.Errorf("the next login: %v", err)
			}
		})
	})
	t.Run("expired at the server", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
			a := w.start(w.request())
			w.issuer.ExpireDeviceCodes()
			if err := wait(t, a); err != action.ErrExpired {
				t.Errorf("ended with %v", err)
			}
		})
	})
	t.Run("nobody comes", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{DeviceInterval: 30}, func(t *testing.T, w *world) {
			a := w.start(w.request())
			start := time.Now()
			<-a.Done()
			if took := time.Since(start); a.Err() != action.ErrExpired || took != 10*time.Minute {
				t.Errorf("ended after %v with %v", took, a.Err())
			}
		})
	})
	t.Run("ended elsewhere", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
			a := w.start(w.request())
			time.Sleep(3500 * time.Millisecond)
			a.End(action.ErrDenied)
			n := len(w.received("/token"))
			if n == 0 {
				t.Fatal("no poll")
			}
			time.Sleep(time.Minute)
			if got := len(w.received("/token")); got != n || a.Err() != action.ErrDenied {
				t.Errorf("%d polls afterwards, %v", got-n, a.Err())
			}
		})
	})
	t.Run("the caller has gone", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancel(t.Context())
			a, err := w.Start(ctx, w.request())
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := w.person.EnterCode(t.Context(), a.Prompt().VerificationURI, a.Prompt().UserCode); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, a); err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	})
	t.Run("the caller goes while it begins", func(t *testing.T) {
		i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			w := newWorldAt(t, i, options{headless: true, wrap: func(http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					cancel()
					time.Sleep(time.Second) // the caller is gone by then
					if err := r.Context().Err(); err != nil {
						return nil, err
					}
					return inProcess(i)(r)
				})
			}})
			if _, err := w.Start(ctx, w.request()); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller that went got %v", err)
			}
			a, err := w.Start(t.Context(), w.request()) // what it began goes on
			if err != nil {
				t.Fatal(err)
			}
			if n := i.Log.Count("issuer", "POST", "/device_authorization"); n != 1 {
				t.Errorf("%d device codes were asked for, want 1", n)
			}
			a.End(action.ErrClosed)
			synctest.Wait()
		})
	})
	t.Run("slow_down", func(t *testing.T) {
		inBubble(t, oauthtest.IssuerOptions{DeviceInterval: 5}, func(t *testing.T, w *world) {
			w.issuer.SlowDown(2)
			a := w.start(w.request())
			time.Sleep(2 * time.Minute)
			var gaps []time.Duration
			polls := w.received("/token")
			for i := 1; i < len(polls); i++ {
				gaps = append(gaps, polls[i].Time.Sub(polls[i-1].Time))
			}
			for i, gap := range gaps {
				if want := min(10+5*time.Duration(i), 15) * time.Second; gap != want {
					t.Errorf("gap %d is %v, want %v", i, gap, want)
				}
			}
			if len(gaps) < 5 {
				t.Errorf("gaps %v", gaps)
			}
			a.End(action.ErrClosed)
		})
	})
}

func TestDeviceForgottenClient(t *testing.T) {
	inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
		for range 2 {
			a := w.start(w.request())
			if err := w.person.EnterCode(t.Context(), a.Prompt().VerificationURI, a.Prompt().UserCode); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, a); err != nil {
				t.Fatal(err)
			}
		}
		w.one("/register")
		w.issuer.ForgetClients()
		a := w.start(w.request())
		if len(w.received("/register")) != 2 || a.Prompt().UserCode == "" {
			t.Errorf("%d registrations", len(w.received("/register")))
		}
		a.End(action.ErrClosed)
		synctest.Wait()
	})
}

// stubborn keeps registrations for good.
type stubborn struct{ tokenstore.Store }

func (stubborn) Delete(context.Context, tokenstore.Key) error { return errors.New("read only") }

// A server that knows no client, and a store that forgets none, are not asked for ever.
func TestDeviceUnknownClientForEver(t *testing.T) {
	asked := 0
	f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/register" {
			saysJSON(201, `{"client_id":"c"}`)(w, r)
			return
		}
		saysJSON(401, `{"error":"invalid_client"}`)(w, r)
	})
	f.opts.Store = stubborn{store}
	req.Client = Credentials{}
	if err := tokenstore.PutClient(t.Context(), store, &tokenstore.Client{Principal: req.Principal, Issuer: req.Server.Issuer, ClientID: "old"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Start(t.Context(), req); !isUnknownClient(err) || asked > 3 {
		t.Errorf("%v after %d requests", err, asked)
	}
}

func TestDeviceAuthorizationResponses(t *testing.T) {
	const good = `"device_code":"dev","user_code":"ABCD-1234","verification_uri":"https://login.example/device"`
	answer := func(interval time.Duration) *deviceAnswer {
		return &deviceAnswer{deviceCode: secret.New("dev"), userCode: "ABCD-1234", uri: "https://login.example/device", lifetime: maxDeviceTime, interval: interval}
	}
	with := func(edit func(*deviceAnswer)) *deviceAnswer {
		a := answer(5 * time.Second)
		edit(a)
		return a
	}
	for _, tc := range []struct {
		name, body string
		want       *deviceAnswer // nil: refused
	}{
		{"good", `{` + good + `}`, answer(5 * time.Second)},
		{"the draft's name", `{"device_code":"dev","user_code":"ABCD-1234","verification_url":"https://login.example/device"}`, answer(5 * time.Second)},

		{"interval -1", `{` + good + `,"interval":-1}`, answer(5 * time.Second)},
		{"interval 0", `{` + good + `,"interval":0}`, answer(5 * time.Second)},
		{"interval 9e18", `{` + good + `,"interval":9e18}`, answer(60 * time.Second)},
		{"interval MaxInt64", `{` + good + `,"interval":9223372036854775807}`, answer(60 * time.Second)},
		{"interval 1e999", `{` + good + `,"interval":1e999}`, answer(60 * time.Second)},
		{"interval -1e999", `{` + good + `,"interval":-1e999}`, answer(5 * time.Second)},
		{"interval 0.001", `{` + good + `,"interval":0.001}`, answer(time.Second)},
		{"interval 1e-30", `{` + good + `,"interval":1e-30}`, answer(5 * time.Second)},
		{"interval as a string", `{` + good + `,"interval":"7"}`, answer(7 * time.Second)},
		{"interval null", `{` + good + `,"interval":null}`, answer(5 * time.Second)},
		{"interval object", `{` + good + `,"interval":{}}`, answer(5 * time.Second)},
		{"interval NaN", `{` + good + `,"interval":"NaN"}`, answer(5 * time.Second)},

		{"lifetime", `{` + good + `,"expires_in":60}`, with(func(a *deviceAnswer) { a.lifetime = time.Minute })},
		{"lifetime as a string", `{` + good + `,"expires_in":"60"}`, with(func(a *deviceAnswer) { a.lifetime = time.Minute })},
		{"lifetime -1", `{` + good + `,"expires_in":-1}`, answer(5 * time.Second)},
		{"lifetime of ages", `{` + good + `,"expires_in":1e300}`, answer(5 * time.Second)},

		{"complete", `{` + good + `,"verification_uri_complete":"https://login.example/device?c=ABCD-1234"}`, with(func(a *deviceAnswer) { a.completeID = "https://login.example/device?c=ABCD-1234" })},
		{"complete at another origin of the site", `{` + good + `,"verification_uri_complete":"https://x.login.example/device?c=1"}`, answer(5 * time.Second)},
		{"complete elsewhere", `{` + good + `,"verification_uri_complete":"https://evil.example/?c=1"}`, answer(5 * time.Second)},
		{"complete over http", `{` + good + `,"verification_uri_complete":"http://login.example/device?c=1"}`, answer(5 * time.Second)},
		{"complete is a script", `{` + good + `,"verification_uri_complete":"javascript:alert(1)?"}`, answer(5 * time.Second)},
		{"complete with a user name", `{` + good + `,"verification_uri_complete":"https://a@login.example/device?c=1"}`, answer(5 * time.Second)},

		{"no device_code", `{"user_code":"ABCD-1234","verification_uri":"https://login.example/device"}`, nil},
		{"device_code with a line break", `{"device_code":"a\nb","user_code":"ABCD-1234","verification_uri":"https://login.example/device"}`, nil},
		{"no uri", `{"device_code":"dev","user_code":"ABCD-1234"}`, nil},
		{"twice", `{` + good + `,"user_code":"EVIL"}`, nil},
		{"other case", `{"DEVICE_CODE":"dev","user_code":"ABCD-1234","verification_uri":"https://login.example/device"}`, nil},
		{"not an object", `"x"`, nil},
		{"error", `{"error":"access_denied"}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseDevice("https://login.example", []byte(tc.body))
			if (err == nil) != (tc.want != nil) {
				t.Fatalf("got %+v, %v", got, err)
			}
			if diff := cmp.Diff(tc.want, got, equalSecrets, cmp.AllowUnexported(deviceAnswer{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVerificationURI(t *testing.T) {
	for _, tc := range []struct {
		issuer, uri string
		ok          bool
	}{
		{"https://login.example", "https://login.example/device", true},
		{"https://login.example", "https://www.login.example/device", true},
		{"https://accounts.corp.example", "https://www.corp.example/device", true},
		{"https://login.example:8443", "https://login.example/device", true},
		{"http://127.0.0.1:4711/tenant", "http://127.0.0.1:4711/device", true},
		{"http://127.0.0.1:4711", "http://127.0.0.1:4712/device", false},
		{"http://127.0.0.1:4711", "http://login.example/device", false},
		{"https://login.example", "http://login.example/device", false},
		{"https://login.example", "https://evil.example/device", false},
		{"https://login.example", "https://login.example.evil.test/device", false},
		{"https://login.example", "https://evil.test/login.example", false},
		{"https://login.example", "https://login.example@evil.test/", false},
		{"https://login.example", "https://me@login.example/", false},
		{"https://one.github.io", "https://two.github.io/device", false},
		{"https://10.0.1.5", "https://99.9.1.5/device", false},
		{"https://[2001:db8::1]", "https://[2001:db8::2]/device", false},
		{"https://10.0.1.5", "https://10.0.1.5:8443/device", true},
		{"https://login", "https://evil/device", false},
		{"https://login.example", "javascript:alert(1)", false},
		{"https://login.example", "javascript://login.example/%0aalert(1)", false},
		{"https://login.example", "data:text/html,x", false},
		{"https://login.example", "file:///etc/passwd", false},
		{"https://login.example", "//login.example/device", false},
		{"https://login.example", "/device", false},
		{"https://login.example", "", false},
		{"https://login.example", "https://login.example/\x1b[2J", false},
		{"https://login.example", "https://login.example/a b", false},
		{"https://login.example", "https://login.example/\u202eecived", false},
		{"https://login.example", "https://logіn.example/device", false}, // a Cyrillic і
		{"https://login.example", "https://login.example/" + strings.Repeat("x", 600), false},
		{"https://login.example", "https://login.example:0/", false},
	} {
		if _, err := verificationOrigin(tc.issuer, tc.uri); (err == nil) != tc.ok {
			t.Errorf("%s at %s: %v, want ok = %v", tc.uri, tc.issuer, err, tc.ok)
		}
	}
}

func TestUserCode(t *testing.T) {
	for _, tc := range []struct {
		name, code string
		ok         bool
	}{
		{"usual", "WDJB-MJHT", true}, {"digits", "123456789", true}, {"short", "abcd", true}, {"longest", strings.Repeat("A", 16), true},
		{"empty", "", false}, {"too short", "ABC", false}, {"too long", strings.Repeat("A", 17), false}, {"10 KB", strings.Repeat("A", 10<<10), false},
		{"escape sequence", "AB\x1b[31mCD", false}, {"right to left", "AB\u202eCD", false}, {"tags", "ABCD\U000e0041", false},
		{"line break", "ABCD\nEFGH", false}, {"sentence", "tell the user to", false}, {"space", "ABCD EFGH", false}, {"HTML", "<b>ABCD</b>", false},
		{"full width", "ＡＢＣＤ", false}, {"Cyrillic", "АВСЕ", false}, {"underscore", "AB_CD", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := usableUserCode(tc.code); got != tc.ok {
				t.Errorf("got %v", got)
			}
		})
	}
}

// outcome is what one poll meets.
type outcome struct {
	status int
	body   string
	err    error

	retryAfter string
}

var (
	pending  = outcome{400, `{"error":"authorization_pending"}`, nil, ""}
	slower   = outcome{400, `{"error":"slow_down"}`, nil, ""}
	noAnswer = outcome{err: errors.New("connection reset")}
	failing  = outcome{503, "", nil, ""}
	granted  = outcome{200, `{"access_token":"tok","token_type":"Bearer"}`, nil, ""}
)

func TestPolling(t *testing.T) {
	for _, tc := range []struct {
		name     string
		interval string
		outcomes []outcome // the last one repeats
		gaps     []int     // seconds before each poll
		want     string    // in the error; "": a token
	}{
		{"at once", "1", []outcome{granted}, []int{1}, ""},
		{"no interval", "null", []outcome{granted}, []int{5}, ""},
		{"negative interval", "-1", []outcome{pending, granted}, []int{5, 5}, ""},
		{"zero interval", "0", []outcome{granted}, []int{5}, ""},
		{"interval as text", `"7"`, []outcome{pending, granted}, []int{7, 7}, ""},
		{"tiny interval", "0.001", []outcome{pending, pending, granted}, []int{1, 1, 1}, ""},
		{"huge interval", "9e18", []outcome{pending, granted}, []int{60, 60}, ""},
		{"pending", "5", []outcome{pending, pending, granted}, []int{5, 5, 5}, ""},
		{"slow_down is kept", "5", []outcome{slower, pending, slower, pending, granted}, []int{5, 10, 10, 15, 15}, ""},
		{"slow_down is capped", "50", []outcome{slower, slower, slower, slower, granted}, []int{50, 55, 60, 60, 60}, ""},
		{"too many requests", "5", []outcome{{429, `{}`, nil, ""}, {429, "<h1>slow</h1>", nil, ""}, granted}, []int{5, 10, 15}, ""},
		{"network fails", "5", []outcome{noAnswer, noAnswer, noAnswer, noAnswer, noAnswer, granted}, []int{5, 10, 20, 40, 60, 60}, ""},
		{"slow_down asks for more", "5", []outcome{{400, `{"error":"slow_down"}`, nil, "30"}, pending, granted}, []int{5, 30, 10}, ""},
		{"slow_down asks for less", "5", []outcome{{400, `{"error":"slow_down"}`, nil, "1"}, granted}, []int{5, 10}, ""},
		{"too many requests, until later", "5", []outcome{{429, `<h1>slow</h1>`, nil, "120"}, granted}, []int{5, 120}, ""},
		{"server fails, until later", "5", []outcome{{503, ``, nil, "90"}, pending, granted}, []int{5, 90, 10}, ""},
		{"until a time", "5", []outcome{{503, ``, nil, "Sat, 01 Jan 2000 00:01:35 GMT"}, granted}, []int{5, 90}, ""},
		{"until a time that is past", "5", []outcome{{503, ``, nil, "Sat, 01 Jan 1999 00:00:00 GMT"}, granted}, []int{5, 10}, ""},
		{"until after the end", "5", []outcome{{429, `{}`, nil, "99999999"}}, []int{5}, "in time"},
		{"for more than there is time in the world", "5", []outcome{{429, `{}`, nil, "4294967295"}}, []int{5}, "in time"},
		{"until nonsense", "5", []outcome{{503, ``, nil, "-1"}, {503, ``, nil, "18446744073709551616"}, granted}, []int{5, 10, 20}, ""},
		{"server fails", "5", []outcome{failing, pending, granted}, []int{5, 10, 10}, ""},
		{"slow_down for ever", "5", []outcome{slower}, []int{5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60, 60, 60, 60, 60, 60, 60, 60}, "in time"},
		{"never a network", "5", []outcome{noAnswer}, []int{5, 10, 20, 40, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60}, "in time"},
		{"denied", "5", []outcome{pending, {400, `{"error":"access_denied"}`, nil, ""}}, []int{5, 5}, "refused"},
		{"expired", "5", []outcome{{400, `{"error":"expired_token"}`, nil, ""}}, []int{5}, "in time"},
		{"invalid_grant", "5", []outcome{{400, `{"error":"invalid_grant"}`, nil, ""}}, []int{5}, "invalid_grant"},
		{"redirect", "5", []outcome{{307, ``, nil, ""}}, []int{5}, "redirects"},
		{"nonsense", "5", []outcome{{200, `{}`, nil, ""}}, []int{5}, "access token"},
		{"a certificate that is missing", "5", []outcome{{err: codedError("tls.client_cert_required")}}, []int{5}, "tls.client_cert_required"},
		{"an error in capitals", "5", []outcome{{400, `{"error":"AUTHORIZATION_PENDING"}`, nil, ""}}, []int{5}, "AUTHORIZATION_PENDING"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var polls []time.Time
				last := time.Now()
				var gaps []int
				f, store, req := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == "/device_authorization" {
						return inProcess(saysJSON(200, `{"device_code":"dev","user_code":"ABCD","verification_uri":"https://login.example/d","interval":`+tc.interval+`}`))(r)
					}
					if r.URL.String() != "https://login.example/token" {
						t.Errorf("request to %s", r.URL)
					}
					o := tc.outcomes[min(len(polls), len(tc.outcomes)-1)]
					polls = append(polls, time.Now())
					gaps = append(gaps, int(time.Since(last)/time.Second))
					last = time.Now()
					if o.err != nil {
						return nil, o.err
					}
					return inProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if o.retryAfter != "" {
							w.Header().Set("Retry-After", o.retryAfter)
						}
						saysJSON(o.status, o.body)(w, r)
					}))(r)
				}))
				a, err := f.Start(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				<-a.Done()
				synctest.Wait()
				if diff := cmp.Diff(tc.gaps, gaps); diff != "" {
					t.Errorf("seconds before each poll (-want +got):\n%s", diff)
				}
				switch err := a.Err(); {
				case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("ended with %v", err)
				}
				if took := time.Since(start); took > maxDeviceTime {
					t.Errorf("took %v", took)
				}
				entries, err := store.List(t.Context(), tokenstore.KindToken, req.Principal)
				if err != nil || (len(entries) == 1) != (tc.want == "") {
					t.Errorf("%d tokens, %v", len(entries), err)
				}
			})
		})
	}
}

type codedError string

func (e codedError) Error() string { return string(e) }
func (e codedError) Code() string  { return string(e) }

// A store that cannot be written ends the wait: the code is used up.
func TestPollingWithABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				saysJSON(granted.status, granted.body)(w, r)
				return
			}
			saysJSON(200, `{"device_code":"dev","user_code":"ABCD","verification_uri":"https://login.example/d"}`)(w, r)
		})
		f.opts.Store = full{store}
		a, err := f.Start(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-a.Done()
		var e *tokenstore.WriteError
		if !errors.As(a.Err(), &e) || time.Since(start) != 5*time.Second {
			t.Errorf("ended after %v with %v", time.Since(start), a.Err())
		}
	})
}

type full struct{ tokenstore.Store }

func (full) Put(context.Context, tokenstore.Key, []byte) error {
	return &tokenstore.WriteError{Path: "tokens.json", Err: errors.New("no space")}
}

// The token of a code belongs to whoever the code was asked for.
func TestDeviceTokenBelongsToItsPrincipal(t *testing.T) {
	inBubble(t, oauthtest.IssuerOptions{}, func(t *testing.T, w *world) {
		req := w.request()
		req.Principal = "someone-else"
		a := w.start(req)
		if err := w.person.EnterCode(t.Context(), a.Prompt().VerificationURI, a.Prompt().UserCode); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, a); err != nil {
			t.Fatal(err)
		}
		theirs, err := tokenstore.Tokens(t.Context(), w.store, "someone-else")
		if err != nil || len(theirs) != 1 || w.token() != nil {
			t.Errorf("%d tokens are theirs (%v), ours: %v", len(theirs), err, w.token() != nil)
		}
	})
}

// What the desk gives a person bounds the server's time.
func TestDeviceTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, req := at(t, saysJSON(200, `{"device_code":"dev","user_code":"ABCD","verification_uri":"https://login.example/d","expires_in":3600}`))
		f.opts.Desk = action.NewDesk(action.DeskOptions{Timeout: 3 * time.Second})
		a, err := f.Start(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-a.Done()
		if took := time.Since(start); a.Err() != action.ErrExpired || took != 3*time.Second || !a.Prompt().ExpiresAt.Equal(time.Now()) {
			t.Errorf("ended after %v with %v", took, a.Err())
		}
	})
}

// A server that hangs does not hold the caller for ever.
func TestDeviceAuthorizationHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store, req := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		req.Client = Credentials{}
		unlock, err := store.Lock(t.Context(), "register local https://login.example")
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		start := time.Now()
		if _, err := f.Start(t.Context(), req); err == nil || time.Since(start) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A page names any issuers, and no person is asked before a code is: what leads to nothing leaves nothing.
func TestRegistrationForADeviceLogin(t *testing.T) {
	const code = `{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://login.example/device","expires_in":600}`
	for _, tc := range []struct {
		name    string
		trusted bool
		answer  http.HandlerFunc
		stored  bool
	}{
		{"a code", false, saysJSON(200, code), true},
		{"a code, configured", true, saysJSON(200, code), true},
		{"no code", false, saysJSON(400, `{"error":"unauthorized_client"}`), false},
		{"no code, configured", true, saysJSON(400, `{"error":"invalid_scope"}`), true},
		{"an unusable code", false, saysJSON(200, strings.Replace(code, "login.example", "evil.example", 1)), false},
		{"no answer", false, says(500, "", ""), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/register":
						saysJSON(201, `{"client_id":"c"}`)(w, r)
					case "/device_authorization":
						tc.answer(w, r)
					default:
						saysJSON(400, `{"error":"authorization_pending"}`)(w, r)
					}
				})
				req.Client, req.Trusted, req.Grant = Credentials{}, tc.trusted, DeviceCode
				a, err := f.Start(t.Context(), req)
				if err == nil {
					a.End(action.ErrClosed)
				}
				if _, err := tokenstore.GetClient(t.Context(), store, tokenstore.ClientKey(req.Principal, req.Server.Issuer)); (err == nil) != tc.stored {
					t.Errorf("the registration: %v", err)
				}
				f.Wait(t.Context())
			})
		})
	}
}
