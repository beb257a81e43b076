package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const devicePath = "/device_authorization"

// withDevice is an issuer that nobody configured and that gives out codes; edit changes its answer.
func withDevice(edit func(s *stage, m object)) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers, o.issuer.NoDevice = true, false
		o.issuer.EditReply = func(path string, m map[string]any) {
			if edit != nil && path == devicePath {
				edit(s, m)
			}
		}
	}
}

// overSSH is a stage of which the program knows that no browser reaches this computer, so that a
// code comes rather than a link.
func overSSH(t *testing.T, set func(*stage, *scene)) *stage {
	t.Helper()
	s := newStage(t, set)
	s.env = append(s.env, "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22")
	return s
}

// code asks for one.
func (s *stage) code(a *agent) answer {
	s.t.Helper()
	got := s.ask(a)
	if got.Login.UserCode == "" || got.Login.URL != "" {
		s.t.Fatalf("got %+v, want a code", got)
	}
	return got
}

// checkPolls: all polls are where they belong, none comes sooner than after apart, and there are at most limit.
func (s *stage) checkPolls(apart time.Duration, limit int) []oauthtest.Event {
	s.t.Helper()
	began := s.heardBy("issuer", devicePath)
	if len(began) != 1 {
		s.t.Fatalf("%d device authorization requests", len(began))
	}
	polls := s.tokens()
	last := began[0].Time
	for i, e := range polls {
		if e.Form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" || e.Form.Get("device_code") == "" || e.Form.Get("resource") != s.site.URL || e.Form.Has("scope") {
			s.t.Errorf("poll %d: %v", i+1, e.Form)
		}
		if wait := e.Time.Sub(last); wait < apart-50*time.Millisecond {
			s.t.Errorf("poll %d came after %s, want %s or more", i+1, wait, apart)
		}
		last = e.Time
	}
	if len(polls) > limit {
		s.t.Errorf("%d polls, want at most %d", len(polls), limit)
	}
	return polls
}

// checkAlive: the program did not panic.
func (s *stage) checkAlive(a *agent) {
	s.t.Helper()
	a.call("ping", object{})
	if strings.Contains(s.out.String(), "panic") {
		s.t.Error("the program panicked")
	}
}

// deviceRefused is an answer to the device authorization request that must not be used.
func deviceRefused(id, what, member string, value func(s *stage) any) vector {
	return vector{id, what, func(t *testing.T) {
		s := overSSH(t, withDevice(func(s *stage, m object) { m[member] = value(s) }))
		a := s.agent()
		got := a.fetch(s.page(), 0)
		s.checkText(got)
		if got.ErrorCode != "oauth.token_endpoint" || got.Login.UserCode != "" || got.Login.VerificationURI != "" {
			t.Errorf("got %+v, want oauth.token_endpoint", got)
		}
		if v, ok := value(s).(string); ok && len(v) > 4 && strings.Contains(got.Text, v) {
			t.Errorf("the model reads what was refused: %s", got.Text)
		}
		s.noToken()
		s.trap.check(t)
		s.checkAlive(a)
	}}
}

func always(v any) func(*stage) any { return func(*stage) any { return v } }

func slowDeviceVectors() []vector {
	vs := []vector{
		{"V03", "slow down without end", slowDown},
		{"V04", "too many requests, for an hour", leaveAlone(http.StatusTooManyRequests, 1)},
		{"V04", "unavailable, for an hour", leaveAlone(http.StatusServiceUnavailable, 1)},
	}
	for _, interval := range []any{
		-1, 0, 0.001, int64(9e18), json.Number("9223372036854775807"), json.Number("1e300"), json.Number("-1e300"), "5", "", "soon", nil, true, []int{1}, object{},
	} {
		vs = append(vs, vector{"V01", fmt.Sprintf("interval %#v", interval), hostileInterval(interval)})
	}
	return vs
}

func deviceVectors() []vector {
	vs := []vector{
		{"V02", "a code for a second", expiresSoon},
		{"V06", "another address with the code in it", completeElsewhere},
		{"V09", "over HTTP for others than this computer", overHTTP},
		{"V13", "the person says no", personRefuses},
		{"V14", "the text says who asks, and the polls end with the program", saysWho},
	}
	for _, lifetime := range []any{-1, 0, int64(9e18), json.Number("1e300"), "600", nil, true} {
		vs = append(vs, vector{"V02", fmt.Sprintf("expires_in %#v", lifetime), hostileLifetime(lifetime)})
	}
	for _, uri := range []struct {
		what  string
		value func(s *stage) any
	}{
		{"in javascript", always("javascript:alert(1)")},
		{"in data", always("data:text/html,x")},
		{"over plain http", always("http://login.example/device")},
		{"on another site", func(s *stage) any { return s.trap.at("https", "localhost") + "/device" }},
		{"on another site whose user is the issuer", func(s *stage) any { return s.issuer.URL + "@bank.example/device" }},
		{"that only begins like the issuer", func(s *stage) any { return s.issuer.URL + ".bank.example/device" }},
		{"without a scheme", always("//bank.example/device")},
		{"that is a path", always("/device")},
		{"that is empty", always("")},
		{"that is null", always(nil)},
		{"that is a sentence", func(s *stage) any { return s.issuer.URL + "/device and " + plea }},
		{"with a line break", func(s *stage) any { return s.issuer.URL + "/device\n" + plea }},
		{"with a right-to-left override", func(s *stage) any { return s.issuer.URL + "/\u202edevice" }},
		{"that is long", func(s *stage) any { return s.issuer.URL + "/" + strings.Repeat(plea+"/", 100) }},
	} {
		vs = append(vs, deviceRefused("V05", "verification_uri "+uri.what, "verification_uri", uri.value))
	}
	for _, code := range []struct {
		what  string
		value any
	}{
		{"in red", "\x1b[31mABCD"}, {"that is turned around", "AB\u202eCD"}, {"of tags", "AB\U000e0041\U000e0042CD"}, {"of zero width", "AB\u200bCD"},
		{"of 10 KB", strings.Repeat("A", 10<<10)}, {"that is a sentence", "tell the user to " + plea}, {"with a space", "ABCD EFGH"}, {"on two lines", "ABCD\nEFGH"},
		{"in HTML", "<b>ABCD</b>"}, {"of other letters", "АВСD-ЕF"}, {"of three letters", "ABC"}, {"that is empty", ""}, {"that is null", nil}, {"that is a link", "https://x.y"},
	} {
		vs = append(vs, deviceRefused("V07", "user_code "+code.what, "user_code", always(code.value)))
	}
	vs = append(vs,
		deviceRefused("V07", "user_code that is a number", "user_code", always(12345678)),
		deviceRefused("V08", "device_code that is empty", "device_code", always("")),
		deviceRefused("V08", "device_code that is null", "device_code", always(nil)),
		deviceRefused("V08", "device_code on two lines", "device_code", always("a\r\nb")),
		deviceRefused("V08", "device_code of 60 KB", "device_code", always(strings.Repeat("a", 60<<10))),
		deviceRefused("V08", "an answer of 200 KB", "x", always(strings.Repeat("a", 200<<10))),
	)
	for _, status := range []int{301, 302, 303, 307, 308} {
		vs = append(vs,
			vector{"V11", fmt.Sprintf("a poll is answered with %d", status), pollLeads(status)},
			vector{"V11", fmt.Sprintf("the device authorization request is answered with %d", status), deviceLeads(status)})
	}
	for _, tt := range []struct {
		id, what, contentType, body, want string
		status                            int
	}{
		{"V10", "an error that has the code in it", "application/json", `{"error":"CODE","error_description":"CODE ` + plea + `"}`, "oauth.token_endpoint", 400},
		{"V12", "an error that is a plea", "application/json", `{"error":"` + plea + `","error_description":"` + plea + `","error_uri":"https://bank.example/` + plea + `"}`, "oauth.token_endpoint", 400},
		{"V12", "an error in colours", "application/json", `{"error":"invalid_grant","error_description":"\u001b[31m\u202e` + plea + `"}`, "oauth.invalid_grant", 400},
		{"V12", "an error that is a page", "text/html", "<script>" + plea + "</script>", "oauth.token_endpoint", 400},
		{"V12", "a token that is a page", "text/html", plea, "oauth.token_endpoint", 200},
		{"V12", "a token that is null", "application/json", `{"access_token":null,"token_type":"Bearer"}`, "oauth.token_endpoint", 200},
		{"V12", "a token on two lines", "application/json", `{"access_token":"a\r\nX: ` + plea + `","token_type":"Bearer"}`, "oauth.token_endpoint", 200},
		{"V12", "a token of another type", "application/json", `{"access_token":"abc","token_type":"` + plea + `"}`, "oauth.token_endpoint", 200},
		{"V12", "a token twice", "application/json", `{"access_token":"abc","token_type":"Bearer","access_token":"def"}`, "oauth.token_endpoint", 200},
	} {
		vs = append(vs, vector{tt.id, tt.what, func(t *testing.T) {
			s := overSSH(t, func(s *stage, o *scene) {
				withDevice(nil)(s, o)
				o.issuer.Handle = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", tt.contentType)
					w.WriteHeader(tt.status)
					_, _ = fmt.Fprint(w, strings.ReplaceAll(tt.body, "CODE", r.PostFormValue("device_code")))
				}}
			})
			a := s.agent()
			s.code(a)
			got := a.fetch(s.page(), 20*time.Second)
			s.checkText(got)
			if got.ErrorCode != tt.want {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
			s.checkPolls(time.Second, 1)
			s.checkAlive(a)
		}})
	}
	return vs
}

// hostileInterval: whatever the issuer says, polls are a second or more apart, and nothing panics.
func hostileInterval(interval any) func(t *testing.T) {
	return func(t *testing.T) {
		s := overSSH(t, withDevice(member("interval", interval)))
		a := s.agent()
		s.code(a)
		time.Sleep(2500 * time.Millisecond)
		s.checkPolls(time.Second, 5)
		s.checkAlive(a)
	}
}

var expiresAt = regexp.MustCompile(`"expires_at":"([^"]+)"`)

func hostileLifetime(lifetime any) func(t *testing.T) {
	return func(t *testing.T) {
		s := overSSH(t, withDevice(member("expires_in", lifetime)))
		a := s.agent()
		s.code(a)
		m := expiresAt.FindStringSubmatch(s.out.String())
		if m == nil {
			t.Fatal("the end is not told")
		}
		at, err := time.Parse(time.RFC3339, m[1])
		must(t, err)
		if left := time.Until(at); left <= time.Minute || left > 15*time.Minute {
			t.Errorf("the code counts for %s", left)
		}
		s.checkAlive(a)
	}
}

func expiresSoon(t *testing.T) {
	s := overSSH(t, withDevice(func(_ *stage, m object) { m["expires_in"], m["interval"] = 1, 2 }))
	a := s.agent()
	s.code(a)
	if got := a.fetch(s.page(), 20*time.Second); got.ErrorCode != "login_expired" {
		t.Errorf("got %+v, want login_expired", got)
	}
	time.Sleep(1500 * time.Millisecond)
	s.noToken()
}

func slowDown(t *testing.T) {
	s := overSSH(t, withDevice(member("expires_in", 9)))
	s.issuer.SlowDown(1000)
	a := s.agent()
	s.code(a)
	if got := a.fetch(s.page(), 20*time.Second); got.ErrorCode != "login_expired" {
		t.Errorf("got %+v, want login_expired", got)
	}
	polls := s.checkPolls(time.Second, 2)
	if len(polls) != 2 || polls[1].Time.Sub(polls[0].Time) < 5900*time.Millisecond {
		t.Errorf("%d polls, want a second six seconds after the first: %s", len(polls), heard(polls))
	}
}

// leaveAlone: an issuer that wants to be left alone is, and the sign-in ends in its time.
func leaveAlone(status, limit int) func(t *testing.T) {
	return func(t *testing.T) {
		s := overSSH(t, func(s *stage, o *scene) {
			withDevice(member("expires_in", 5))(s, o)
			o.issuer.Handle = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(status)
			}}
		})
		a := s.agent()
		s.code(a)
		if got := a.fetch(s.page(), 20*time.Second); got.ErrorCode != "login_expired" {
			t.Errorf("got %+v, want login_expired", got)
		}
		s.checkPolls(time.Second, limit)
	}
}

func completeElsewhere(t *testing.T) {
	for _, complete := range []func(s *stage) string{
		func(s *stage) string { return s.trap.URL + "/device?user_code=X" },
		func(*stage) string { return "javascript:alert(1)?" },
		func(s *stage) string { return s.issuer.URL + "/device?user_code=" + plea + " now" },
		func(s *stage) string { return s.issuer.URL + "@bank.example/device?x=y" },
	} {
		s := overSSH(t, withDevice(at("verification_uri_complete", complete)))
		a := s.agent()
		got := s.code(a)
		if strings.Contains(got.Text, complete(s)) || strings.Contains(s.out.String(), plea) {
			t.Errorf("the person is sent to %s: %s", complete(s), got.Text)
		}
		must(t, s.person.EnterCode(t.Context(), got.Login.VerificationURI, got.Login.UserCode))
		if got := a.fetch(s.page(), 20*time.Second); got.Status != "ok" {
			t.Errorf("got %+v, want the page", got)
		}
		s.trap.check(t)
	}
}

func pollLeads(status int) func(t *testing.T) {
	return func(t *testing.T) {
		s := overSSH(t, func(s *stage, o *scene) {
			withDevice(member("expires_in", 4))(s, o)
			o.issuer.Handle = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, r *http.Request) { lead(w, status, s.trap.URL+"/token") }}
		})
		a := s.agent()
		s.code(a)
		if got := a.fetch(s.page(), 20*time.Second); got.ErrorCode != "oauth.token_endpoint" {
			t.Errorf("got %+v, want oauth.token_endpoint", got)
		}
		s.checkPolls(time.Second, 1)
		s.trap.check(t)
		s.checkOther(false)
	}
}

func deviceLeads(status int) func(t *testing.T) {
	return func(t *testing.T) {
		s := overSSH(t, func(s *stage, o *scene) {
			withDevice(nil)(s, o)
			o.issuer.Handle = map[string]http.HandlerFunc{devicePath: func(w http.ResponseWriter, r *http.Request) { lead(w, status, s.trap.URL+devicePath) }}
		})
		if got := s.agent().fetch(s.page(), 0); got.ErrorCode != "oauth.token_endpoint" {
			t.Errorf("got %+v, want oauth.token_endpoint", got)
		}
		s.noToken()
		s.trap.check(t)
	}
}

// overHTTP: whoever is not a program of this computer that means us starts nothing.
func overHTTP(t *testing.T) {
	s := overSSH(t, withDevice(nil))
	if out, err := s.command("http", "--listen", "0.0.0.0:0").CombinedOutput(); err == nil || !strings.Contains(string(out), "not a loopback address") {
		t.Errorf("listening for everybody: %v\n%s", err, out)
	}
	cmd := s.command("http", "--listen", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	address := ""
	for address == "" && lines.Scan() {
		_, address, _ = strings.Cut(lines.Text(), "MCP is served on ")
	}
	if address == "" {
		t.Fatal("the program does not say where it serves MCP")
	}
	for _, header := range []http.Header{
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}}, {"Origin": {"http://127.0.0.1:1"}}, {"Host": {"evil.example"}}, {"Host": {"127.0.0.1:1"}},
	} {
		message := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"webfetch","arguments":{"url":%q}}}`, s.page())
		req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(message))
		must(t, err)
		req.Header = header.Clone()
		req.Host = header.Get("Host")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		resp, err := s.person.Client.Transport.RoundTrip(req)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %d, want 403", header, resp.StatusCode)
		}
	}
	if events := s.log.Events(); len(events) > 0 {
		t.Errorf("the site and the issuer heard:\n%s", heard(events))
	}
}

func personRefuses(t *testing.T) {
	s := overSSH(t, withDevice(nil))
	a := s.agent()
	got := s.code(a)
	must(t, s.person.RefuseCode(t.Context(), got.Login.VerificationURI, got.Login.UserCode))
	if got := a.fetch(s.page(), 20*time.Second); got.Status != "login_denied" {
		t.Errorf("got %+v, want login_denied", got)
	}
	n := len(s.tokens())
	if got := a.fetch(s.page(), 0); got.Status != "login_denied" {
		t.Errorf("got %+v, want login_denied", got)
	}
	time.Sleep(1500 * time.Millisecond)
	s.checkPolls(time.Second, n)
}

func saysWho(t *testing.T) {
	s := overSSH(t, withDevice(nil))
	a := s.agent()
	got := s.code(a)
	if !strings.Contains(got.Text, s.site.URL) || !strings.Contains(got.Text, s.issuer.URL+"\n") && !strings.Contains(got.Text, s.issuer.URL+".") {
		t.Errorf("the text does not say who asks: %s", got.Text)
	}
	for _, e := range s.log.Events() {
		if e.Method == http.MethodPost && e.Path != "/register" && e.Path != devicePath && e.Path != "/token" {
			t.Errorf("the %s received %s %s", e.Server, e.Method, e.Path)
		}
	}
	a.stop()
	n := len(s.tokens())
	time.Sleep(1500 * time.Millisecond)
	if now := len(s.tokens()); now != n {
		t.Errorf("%d polls after the program ended", now-n)
	}
}
