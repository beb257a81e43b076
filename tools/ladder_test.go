package tools

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// pageCall is what most tests ask for.
func pageCall(wait int) map[string]any {
	return map[string]any{"url": "https://docs.example/a", "wait": wait}
}

var withProgress = map[string]any{"_meta": map[string]any{"progressToken": "tok-1"}}

// outcome is what became of a call, and when.
type outcome struct {
	status string // with the code of an error, after a colon
	after  time.Duration
}

func outcomeOf(t *testing.T, res *mcp.CallToolResult, since time.Time) outcome {
	t.Helper()
	f := factsOf(t, res)
	status := f["status"].(string)
	if e, ok := f["error"].(map[string]any); ok && status == "error" {
		status += ":" + e["code"].(string)
	}
	if isError := strings.HasPrefix(status, "error") && !strings.HasSuffix(status, ":login_expired"); res.IsError != isError {
		t.Errorf("%s: isError is %v", status, res.IsError)
	}
	return outcome{status, time.Since(since).Round(time.Second)}
}

// Clients without dialogs: what is held, and for how long.
func TestHold(t *testing.T) {
	opened := signIn()
	opened.Opened = true
	tests := map[string]struct {
		prompt   action.Prompt
		wait     int
		progress bool
		finish   time.Duration // when the person is done; 0: never
		with     error
		want     outcome
	}{
		"at once":                    {signIn(), 0, false, 0, nil, outcome{"login_required", 0}},
		"at once, with progress":     {signIn(), 0, true, 0, nil, outcome{"login_required", 0}},
		"wait":                       {signIn(), 20, false, 0, nil, outcome{"login_required", 20 * time.Second}},
		"wait, done":                 {signIn(), 20, false, 5 * time.Second, nil, outcome{"ok", 5 * time.Second}},
		"wait, refused":              {signIn(), 20, false, 5 * time.Second, action.ErrDenied, outcome{"login_denied", 5 * time.Second}},
		"wait, expired":              {signIn(), 20, false, 5 * time.Second, action.ErrExpired, outcome{"error:login_expired", 5 * time.Second}},
		"wait, failed":               {signIn(), 20, false, 5 * time.Second, &codedError{"oauth.token", "no token", "ask"}, outcome{"error:oauth.token", 5 * time.Second}},
		"failed by a time-out":       {signIn(), 20, false, 5 * time.Second, fmt.Errorf("token: %w", context.DeadlineExceeded), outcome{"error:failed", 5 * time.Second}},
		"longest wait":               {signIn(), 240, false, 0, nil, outcome{"login_required", 45 * time.Second}},
		"longest wait, progress":     {signIn(), 240, true, 0, nil, outcome{"login_required", 240 * time.Second}},
		"late, progress":             {signIn(), 240, true, 200 * time.Second, nil, outcome{"ok", 200 * time.Second}},
		"browser opened":             {opened, 0, false, 0, nil, outcome{"login_required", 45 * time.Second}},
		"browser opened, done":       {opened, 0, false, 30 * time.Second, nil, outcome{"ok", 30 * time.Second}},
		"browser opened, short wait": {opened, 10, false, 0, nil, outcome{"login_required", 45 * time.Second}},
		"browser opened, long wait":  {opened, 60, true, 0, nil, outcome{"login_required", 60 * time.Second}},
		"code":                       {device(), 30, false, 0, nil, outcome{"login_required", 30 * time.Second}},
		"approval":                   {allow(), 5, false, 0, nil, outcome{"approval_required", 5 * time.Second}},
		"approval, given":            {allow(), 5, false, 4 * time.Second, nil, outcome{"ok", 4 * time.Second}},
	}
	for name, test := range tests {
		for _, protocol := range []string{legacy, modern} {
			for _, capabilities := range []string{noDialogs, formDialogs} {
				t.Run(name+", "+protocol+", "+capabilities, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						d := newDoor(test.prompt)
						a := newAgent(newTool(d, Options{}), protocol, capabilities)
						if test.finish > 0 {
							time.AfterFunc(test.finish, func() { d.waiting().End(test.with) })
						}
						more := map[string]any{}
						if test.progress {
							more = withProgress
						}
						begun := time.Now()
						res := a.call(t, pageCall(test.wait), more)
						if got := outcomeOf(t, res, begun); got != test.want {
							t.Errorf("got %v, want %v", got, test.want)
						}
						if n := len(a.asked()); n > 0 {
							t.Errorf("a client that shows no URLs was asked %d times", n)
						}
						if n := len(a.notified()); n > 0 && !test.progress {
							t.Errorf("%d notifications that nobody asked for", n)
						}
						if n := d.count(); n != 1 {
							t.Errorf("%d actions", n)
						}
					})
				})
			}
		}
	}
}

func TestPendingLoginIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), legacy, noDialogs)
		var got []outcome
		begun := time.Now()
		got = append(got, outcomeOf(t, a.call(t, pageCall(0), nil), begun))
		second := a.call(t, pageCall(7), nil)
		got = append(got, outcomeOf(t, second, begun))
		time.AfterFunc(3*time.Second, func() { d.waiting().End(nil) })
		got = append(got, outcomeOf(t, a.call(t, pageCall(30), nil), begun))
		want := []outcome{{"login_required", 0}, {"login_pending", 7 * time.Second}, {"ok", 10 * time.Second}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
		if text := textOf(t, second); !strings.Contains(text, "\n"+link+"\n") {
			t.Errorf("the link is not in %q", text)
		}
		if d.count() != 1 {
			t.Errorf("%d actions, want 1", d.count())
		}
	})
}

func TestRefusalRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), legacy, noDialogs)
		a.call(t, pageCall(0), nil)
		d.waiting().End(action.ErrDenied)
		time.Sleep(14 * time.Minute)
		begun := time.Now()
		res := a.call(t, pageCall(30), nil)
		if got := outcomeOf(t, res, begun); got != (outcome{"login_denied", 0}) {
			t.Errorf("got %v", got)
		}
		text := textOf(t, res)
		if !strings.HasPrefix(text, "LOGIN DENIED — the page was not fetched.\n") || strings.Contains(text, link) || strings.Contains(text, "http://127") {
			t.Errorf("got %q", text)
		}
		if d.count() != 1 {
			t.Errorf("%d actions, want 1", d.count())
		}
		time.Sleep(2 * time.Minute)
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), time.Now()); got.status != "login_required" || d.count() != 2 {
			t.Errorf("after 15 minutes: %v, %d actions", got, d.count())
		}
	})
}

func TestExpiredLoginText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), legacy, noDialogs)
		time.AfterFunc(time.Second, func() { d.waiting().End(action.ErrExpired) })
		res := a.call(t, pageCall(10), nil)
		want := "LOGIN EXPIRED — the page was not fetched.\nnobody answered in time. call again to get a new link."
		if got := textOf(t, res); got != want || res.IsError {
			t.Errorf("got %q, isError %v", got, res.IsError)
		}
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), time.Now()); got.status != "login_required" || d.count() != 2 {
			t.Errorf("the next call: %v, %d actions", got, d.count())
		}
	})
}

func TestProgress(t *testing.T) {
	for name, test := range map[string]struct {
		prompt action.Prompt
		want   []string
	}{
		"link": {signIn(), []string{"Sign in at " + link + " (10m0s left)", "Sign in at " + link + " (9m55s left)", "Sign in at " + link + " (9m50s left)"}},
		"code": {device(), []string{
			"Enter the code WDJB-MJHT at https://login.example/device (10m0s left)",
			"Enter the code WDJB-MJHT at https://login.example/device (9m55s left)",
			"Enter the code WDJB-MJHT at https://login.example/device (9m50s left)"}},
		"approval": {allow(), []string{
			"Allow https://docs.example at http://127.0.0.1:43117/l/allow (10m0s left)",
			"Allow https://docs.example at http://127.0.0.1:43117/l/allow (9m55s left)",
			"Allow https://docs.example at http://127.0.0.1:43117/l/allow (9m50s left)"}},
	} {
		for _, protocol := range []string{legacy, modern} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDoor(test.prompt)
					a := newAgent(newTool(d, Options{}), protocol, noDialogs)
					time.AfterFunc(12*time.Second, func() { d.waiting().End(nil) })
					begun := time.Now()
					res := a.call(t, pageCall(60), withProgress)
					took := time.Since(begun)
					all := a.notified() // what had left before the answer
					if got := outcomeOf(t, res, begun); got.status != "ok" || took < 12*time.Second+10*time.Millisecond || took > 13*time.Second {
						t.Errorf("got %v after %v: the last notification needs a moment to go first", got, took)
					}
					var messages []string
					last := 0
					for _, n := range all {
						f := n.Params.AdditionalFields
						if n.Method != "notifications/progress" || f["progressToken"] != "tok-1" {
							t.Errorf("got %+v", n)
						}
						if progress := f["progress"].(int); progress <= last {
							t.Errorf("progress %d after %d", progress, last)
						} else {
							last = progress
						}
						messages = append(messages, f["message"].(string))
					}
					if diff := cmp.Diff(test.want, messages); diff != "" {
						t.Error(diff)
					}
					time.Sleep(time.Minute)
					if n := len(a.notified()); n > 0 {
						t.Errorf("%d notifications after the answer", n)
					}
				})
			})
		}
	}
}

// answering leaves the dialog open for a while.
func answering(after time.Duration, answer mcp.ElicitationResponseAction) func(context.Context, mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
	return func(ctx context.Context, _ mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
		select {
		case <-time.After(after):
			return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: answer}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func never(ctx context.Context, _ mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Clients of earlier protocols that show URLs.
func TestElicit(t *testing.T) {
	const accept, decline, cancel = mcp.ElicitationResponseActionAccept, mcp.ElicitationResponseActionDecline, mcp.ElicitationResponseActionCancel
	tests := map[string]struct {
		prompt   action.Prompt
		dialog   func(context.Context, mcp.ElicitationParams) (*mcp.ElicitationResult, error)
		finish   time.Duration
		with     error
		want     outcome
		complete bool
		link     bool   // the text holds the link
		next     string // status of the next call
	}{
		"accept, done":              {signIn(), answering(time.Second, accept), 4 * time.Second, nil, outcome{"ok", 4 * time.Second}, true, false, "ok"},
		"accept, not done":          {signIn(), answering(time.Second, accept), 0, nil, outcome{"login_pending", 45 * time.Second}, false, true, "login_pending"},
		"accept late, not done":     {signIn(), answering(20*time.Second, accept), 0, nil, outcome{"login_pending", 45 * time.Second}, false, true, "login_pending"},
		"accept, refused":           {signIn(), answering(time.Second, accept), 4 * time.Second, action.ErrDenied, outcome{"login_denied", 4 * time.Second}, true, false, "login_denied"},
		"accept, failed":            {signIn(), answering(time.Second, accept), 4 * time.Second, &codedError{"oauth.x", "m", "h"}, outcome{"error:oauth.x", 4 * time.Second}, true, false, "login_pending"},
		"decline":                   {signIn(), answering(time.Second, decline), 0, nil, outcome{"login_denied", time.Second}, false, false, "login_denied"},
		"put away":                  {signIn(), answering(time.Second, cancel), 0, nil, outcome{"login_denied", time.Second}, false, false, "login_pending"},
		"nonsense":                  {signIn(), answering(time.Second, "yes"), 0, nil, outcome{"login_denied", time.Second}, false, false, "login_pending"},
		"never answered":            {signIn(), never, 0, nil, outcome{"login_required", 45 * time.Second}, false, true, "login_pending"},
		"done before the answer":    {signIn(), never, 6 * time.Second, nil, outcome{"ok", 6 * time.Second}, true, false, "ok"},
		"refused before the answer": {signIn(), never, 6 * time.Second, action.ErrDenied, outcome{"login_denied", 6 * time.Second}, true, false, "login_denied"},
		"cannot after all": {signIn(), func(context.Context, mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			return nil, errors.New("invalid params")
		}, 0, nil, outcome{"login_required", 0}, false, true, "login_pending"},
		"approval":          {allow(), answering(time.Second, accept), 4 * time.Second, nil, outcome{"ok", 4 * time.Second}, true, false, "ok"},
		"approval declined": {allow(), answering(time.Second, decline), 0, nil, outcome{"login_denied", time.Second}, false, false, "login_denied"},
		"code":              {device(), answering(time.Second, accept), 4 * time.Second, nil, outcome{"ok", 4 * time.Second}, true, false, "ok"},
	}
	messages := map[action.Kind]string{
		action.AllowAddress: "Allow webfetch to read https://docs.example, which is on a private network?",
		action.SignIn:       "https://docs.example asks you to sign in at https://login.example.",
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(test.prompt)
				a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
				a.dialog = test.dialog
				if test.finish > 0 {
					time.AfterFunc(test.finish, func() { d.waiting().End(test.with) })
				}
				begun := time.Now()
				res := a.call(t, pageCall(0), nil)
				if got := outcomeOf(t, res, begun); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
				if text := textOf(t, res); strings.Contains(text, test.prompt.URL+"\n") != test.link && test.prompt.URL != "" {
					t.Errorf("the text is %q", text)
				}
				first := d.actions[0]
				want := mcp.ElicitationParams{Mode: "url", ElicitationID: first.ID(), URL: test.prompt.URL, Message: messages[test.prompt.Kind]}
				if test.prompt.UserCode != "" {
					want.URL, want.Message = test.prompt.VerificationURI, want.Message+" Enter the code WDJB-MJHT there."
				}
				if diff := cmp.Diff([]mcp.ElicitationParams{want}, a.asked()); diff != "" {
					t.Error(diff)
				}
				var complete []any
				for _, n := range a.notified() {
					if n.Method != "notifications/elicitation/complete" {
						t.Errorf("got %s", n.Method)
					}
					complete = append(complete, n.Params.AdditionalFields["elicitationId"])
				}
				if (len(complete) == 1 && complete[0] == first.ID()) != test.complete || len(complete) > 1 {
					t.Errorf("complete: %v", complete)
				}
				// Whatever came of it, the dialog does not come back by itself.
				begun = time.Now()
				res = a.call(t, pageCall(0), nil)
				if got := outcomeOf(t, res, begun); got.status != test.next {
					t.Errorf("the next call: got %v, want %v", got, test.next)
				}
				if n := len(a.asked()); n != d.count() {
					t.Errorf("%d dialogs for %d actions", n, d.count())
				}
			})
		})
	}
}

// A no that comes after the person is done changes nothing.
func TestDeclineWhenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
		a.dialog = func(context.Context, mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			d.waiting().End(nil)
			return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionDecline}}, nil
		}
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), time.Now()); got.status != "ok" {
			t.Errorf("got %v", got)
		}
	})
}

func TestOneDialogForParallelCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
		a.dialog = answering(time.Second, mcp.ElicitationResponseActionAccept)
		time.AfterFunc(5*time.Second, func() { d.waiting().End(nil) })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if got := outcomeOf(t, a.call(t, pageCall(20), nil), time.Now()); got.status != "ok" {
					t.Errorf("got %v", got)
				}
			})
		}
		wg.Wait()
		if n := len(a.asked()); n != 1 {
			t.Errorf("%d dialogs", n)
		}
	})
}

// Allowing an address can be followed by a sign-in: two actions, two dialogs, one call.
func TestTwoActionsInOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(allow(), signIn())
		a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
		a.dialog = func(ctx context.Context, p mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			time.AfterFunc(2*time.Second, func() { d.waiting().End(nil) })
			return answering(time.Second, mcp.ElicitationResponseActionAccept)(ctx, p)
		}
		begun := time.Now()
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), begun); got != (outcome{"ok", 4 * time.Second}) {
			t.Errorf("got %v", got)
		}
		var urls []string
		for _, p := range a.asked() {
			urls = append(urls, p.URL)
		}
		if diff := cmp.Diff([]string{"http://127.0.0.1:43117/l/allow", link}, urls); diff != "" {
			t.Error(diff)
		}
	})
}

// A page that is slow when the person is done at last does not make the call longer than hosts bear.
func TestSlowPageAfterWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		timeout int
		more    map[string]any
		want    time.Duration
	}{
		"default":              {30, nil, 50 * time.Second},
		"a long one":           {120, nil, 120 * time.Second},
		"a short one":          {3, nil, 47 * time.Second},
		"the default, told of": {30, withProgress, 74 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(signIn())
				d.answer = func(r *http.Request) (*http.Response, error) {
					resp, err := d.let(r)
					if err == nil {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return resp, err
				}
				a := newAgent(newTool(d, Options{}), legacy, noDialogs)
				time.AfterFunc(44*time.Second, func() { d.waiting().End(nil) })
				begun := time.Now()
				args := pageCall(60)
				args["timeout"] = test.timeout
				if got := outcomeOf(t, a.call(t, args, test.more), begun); got != (outcome{"error:timeout", test.want}) {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		})
	}
}

// The time of a call is that of all its actions together.
func TestTwoActionsWithinOneCallsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(allow(), signIn())
		a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
		a.dialog = func(ctx context.Context, p mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			if p.URL == link {
				return never(ctx, p)
			}
			time.AfterFunc(40*time.Second, func() { d.waiting().End(nil) })
			return never(ctx, p)
		}
		begun := time.Now()
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), begun); got != (outcome{"login_required", 45 * time.Second}) {
			t.Errorf("got %v", got)
		}
	})
}

// A site that asks for ever does not keep a call for ever.
func TestRoundsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn(), signIn(), signIn(), signIn(), signIn(), signIn(), signIn())
		a := newAgent(newTool(d, Options{}), legacy, urlDialogs)
		a.dialog = func(context.Context, mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			d.waiting().End(nil)
			return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionAccept}}, nil
		}
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), time.Now()); got.status != "login_required" {
			t.Errorf("got %v", got)
		}
		if n := len(a.asked()); n != 3 {
			t.Errorf("%d dialogs", n)
		}
	})
}

func TestCancelledCall(t *testing.T) {
	tests := map[string]struct {
		capabilities string
		wait         int
		more         map[string]any
	}{
		"holding":          {noDialogs, 40, nil},
		"holding, telling": {noDialogs, 40, withProgress},
		"dialog":           {urlDialogs, 0, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(signIn())
				a := newAgent(newTool(d, Options{}), legacy, test.capabilities)
				a.dialog = never
				ctx, cancel := context.WithCancel(local(t))
				time.AfterFunc(3*time.Second, cancel)
				begun := time.Now()
				raw := string(a.raw(ctx, pageCall(test.wait), test.more))
				if took := time.Since(begun); took < 3*time.Second || took > 3100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				if !strings.Contains(raw, `"error":`) || strings.Contains(raw, link) {
					t.Errorf("got %s", raw)
				}
				// The sign-in lives on: the next call finds it done.
				d.waiting().End(nil)
				if got := outcomeOf(t, a.call(t, pageCall(0), nil), time.Now()); got.status != "ok" {
					t.Errorf("got %v", got)
				}
			}) // synctest fails if a goroutine is left behind
		})
	}
}

// retry is a second round: more members of params.
func retry(state string, answer mcp.ElicitationResponseAction) map[string]any {
	more := map[string]any{"requestState": state}
	if answer != "" {
		more["inputResponses"] = map[string]any{"login": map[string]any{"action": answer}}
	}
	return more
}

// firstRound calls and returns the requestState.
func firstRound(t *testing.T, a *agent, args map[string]any) string {
	t.Helper()
	res := a.call(t, args, nil)
	if res.ResultType != mcp.ResultTypeInputRequired || res.RequestState == "" {
		t.Fatalf("got %+v, want input_required", res)
	}
	return res.RequestState
}

func TestInputRequired(t *testing.T) {
	for name, test := range map[string]struct {
		prompt       action.Prompt
		url, message string
	}{
		"link":     {signIn(), link, "https://docs.example asks you to sign in at https://login.example."},
		"code":     {device(), "https://login.example/device", "https://docs.example asks you to sign in at https://login.example. Enter the code WDJB-MJHT there."},
		"approval": {allow(), "http://127.0.0.1:43117/l/allow", "Allow webfetch to read https://docs.example, which is on a private network?"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(test.prompt)
			a := newAgent(newTool(d, Options{}), modern, urlDialogs)
			res := a.call(t, pageCall(0), nil)
			if len(res.Content) != 0 || len(res.InputRequests) != 1 || len(a.asked()) != 0 {
				t.Fatalf("got %+v, and %d requests of our own", res, len(a.asked()))
			}
			got := res.InputRequests["login"]
			want := mcp.ElicitationParams{Mode: "url", URL: test.url, Message: test.message} // elicitationId is gone
			if diff := cmp.Diff(&want, got.Elicitation); diff != "" || got.Method != "elicitation/create" {
				t.Errorf("%s: %s", got.Method, diff)
			}
			for _, secret := range []string{d.waiting().ID(), "local", "docs.example"} {
				if strings.Contains(res.RequestState, secret) {
					t.Errorf("the state %s shows %s", res.RequestState, secret)
				}
			}
		})
	}
}

func TestSecondRound(t *testing.T) {
	const accept, decline, cancel = mcp.ElicitationResponseActionAccept, mcp.ElicitationResponseActionDecline, mcp.ElicitationResponseActionCancel
	tests := map[string]struct {
		answer mcp.ElicitationResponseAction
		finish time.Duration // after the second call has begun; negative: before
		with   error
		want   outcome
		link   bool
		next   string // status of a call without a state
	}{
		"accept, done before":    {accept, -1, nil, outcome{"ok", 0}, false, "ok"},
		"accept, done":           {accept, 5 * time.Second, nil, outcome{"ok", 5 * time.Second}, false, "ok"},
		"accept, not done":       {accept, 0, nil, outcome{"login_pending", 45 * time.Second}, true, "login_pending"},
		"accept, refused":        {accept, 5 * time.Second, action.ErrDenied, outcome{"login_denied", 5 * time.Second}, false, "login_denied"},
		"accept, refused before": {accept, -1, action.ErrDenied, outcome{"login_denied", 0}, false, "login_denied"},
		"decline":                {decline, 0, nil, outcome{"login_denied", 0}, false, "login_denied"},
		"decline, done before":   {decline, -1, nil, outcome{"ok", 0}, false, "ok"},
		"put away":               {cancel, 0, nil, outcome{"login_denied", 0}, false, "login_pending"},
		"nonsense":               {"yes", 0, nil, outcome{"login_denied", 0}, false, "login_pending"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(signIn())
				a := newAgent(newTool(d, Options{}), modern, urlDialogs)
				state := firstRound(t, a, pageCall(0))
				time.Sleep(3 * time.Minute)
				if test.finish < 0 {
					d.waiting().End(test.with)
				} else if test.finish > 0 {
					time.AfterFunc(test.finish, func() { d.waiting().End(test.with) })
				}
				begun := time.Now()
				res := a.call(t, pageCall(0), retry(state, test.answer))
				if got := outcomeOf(t, res, begun); got != test.want || res.ResultType == mcp.ResultTypeInputRequired {
					t.Errorf("got %v, want %v", got, test.want)
				}
				if text := textOf(t, res); strings.Contains(text, link) != test.link {
					t.Errorf("the text is %q", text)
				}
				// Once more with the same state, and without: no dialog comes back by itself.
				for _, more := range []map[string]any{retry(state, test.answer), nil} {
					res = a.call(t, pageCall(0), more)
					if res.ResultType == mcp.ResultTypeInputRequired {
						t.Errorf("the dialog is back")
					}
				}
				if got := outcomeOf(t, res, time.Now()); got.status != test.next {
					t.Errorf("the next call: got %v, want %v", got, test.next)
				}
				if d.count() != 1 {
					t.Errorf("%d actions", d.count())
				}
			})
		})
	}
}

func TestMissingAnswerIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), modern, urlDialogs)
		state := firstRound(t, a, pageCall(0))
		res := a.call(t, pageCall(0), retry(state, ""))
		if res.ResultType != mcp.ResultTypeInputRequired || res.InputRequests["login"].Elicitation.URL != link || d.count() != 1 {
			t.Fatalf("got %+v", res)
		}
		time.AfterFunc(time.Second, func() { d.waiting().End(nil) })
		if got := outcomeOf(t, a.call(t, pageCall(0), retry(res.RequestState, mcp.ElicitationResponseActionAccept)), time.Now()); got.status != "ok" {
			t.Errorf("got %v", got)
		}
	})
}

func TestTwoActionsInRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(allow(), signIn())
		a := newAgent(newTool(d, Options{}), modern, urlDialogs)
		state := firstRound(t, a, pageCall(0))
		d.waiting().End(nil)
		res := a.call(t, pageCall(0), retry(state, mcp.ElicitationResponseActionAccept))
		if res.ResultType != mcp.ResultTypeInputRequired || res.InputRequests["login"].Elicitation.URL != link {
			t.Fatalf("got %+v", res)
		}
		d.waiting().End(nil)
		if got := outcomeOf(t, a.call(t, pageCall(0), retry(res.RequestState, mcp.ElicitationResponseActionAccept)), time.Now()); got.status != "ok" {
			t.Errorf("got %v", got)
		}
	})
}

// A no to a question that is not asked any more is still a no.
func TestDeclineOfAnActionThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), modern, urlDialogs)
		state := firstRound(t, a, pageCall(0))
		d.waiting().End(action.ErrExpired)
		res := a.call(t, pageCall(0), retry(state, mcp.ElicitationResponseActionDecline))
		if got := outcomeOf(t, res, time.Now()); got.status != "login_denied" {
			t.Errorf("got %v", got)
		}
	})
}

// A second call after a device code waits long enough for the issuer to be asked again: the person
// may have entered it just now.
func TestSecondCallAfterACodeWaitsForThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(action.Prompt{Kind: action.SignIn, Issuer: "https://login.example", UserCode: "WDJB-MJHT", VerificationURI: "https://login.example/device", ExpiresAt: time.Now().Add(time.Hour)})
		a := newAgent(newTool(d, Options{}), legacy, noDialogs)
		started := time.Now()
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), started); got.status != "login_required" || time.Since(started) != 0 {
			t.Fatalf("got %v after %v", got, time.Since(started))
		}
		time.AfterFunc(4*time.Second, func() { d.waiting().End(nil) })
		if got := outcomeOf(t, a.call(t, pageCall(0), nil), started); got.status != "ok" {
			t.Errorf("got %v", got)
		}
	})
}

func TestRequestStateIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(signIn())
		tool := newTool(d, Options{})
		a := newAgent(tool, modern, urlDialogs)
		state := firstRound(t, a, pageCall(0))
		other, err := newSeal().close(principal.Local, arguments{}, d.waiting())
		if err != nil {
			t.Fatal(err)
		}
		args, err := parseArguments(pageCall(0))
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := tool.seal.close("mallory", args, d.waiting())
		if err != nil {
			t.Fatal(err)
		}
		flipped := []byte(state)
		flipped[len(flipped)/2] ^= 1
		refused := map[string]struct {
			state string
			args  map[string]any
		}{
			"empty box":        {"AAAA", pageCall(0)},
			"not base64":       {"!" + state, pageCall(0)},
			"cut":              {state[:len(state)-2], pageCall(0)},
			"longer":           {state + "AAAA", pageCall(0)},
			"flipped":          {string(flipped), pageCall(0)},
			"another process":  {other, pageCall(0)},
			"another person":   {foreign, pageCall(0)},
			"another URL":      {state, map[string]any{"url": "https://docs.example/b"}},
			"another fragment": {state, map[string]any{"url": "https://docs.example/a#x"}},
			"another format":   {state, map[string]any{"url": "https://docs.example/a", "format": "html"}},
			"another part":     {state, map[string]any{"url": "https://docs.example/a", "start_index": 1}},
			"another length":   {state, map[string]any{"url": "https://docs.example/a", "max_length": 1}},
			"huge":             {strings.Repeat("A", 1<<20), pageCall(0)},
		}
		before := len(d.requests())
		for name, test := range refused {
			res := a.call(t, test.args, retry(test.state, mcp.ElicitationResponseActionAccept))
			text := textOf(t, res)
			if got := outcomeOf(t, res, time.Now()); got.status != "error:invalid_request_state" || strings.Contains(text, link) {
				t.Errorf("%s: got %v, %q", name, got, text)
			}
		}
		if n := len(d.requests()); n != before {
			t.Errorf("%d requests for states that are not ours", n-before)
		}
		// Patience is not part of what was agreed to.
		d.waiting().End(nil)
		res := a.call(t, map[string]any{"url": "https://docs.example/a", "wait": 3, "timeout": 9}, retry(state, mcp.ElicitationResponseActionAccept))
		if got := outcomeOf(t, res, time.Now()); got.status != "ok" {
			t.Errorf("got %v", got)
		}
		time.Sleep(10*time.Minute + time.Second)
		res = a.call(t, pageCall(0), retry(state, mcp.ElicitationResponseActionAccept))
		if got := outcomeOf(t, res, time.Now()); got.status != "error:invalid_request_state" {
			t.Errorf("expired: got %v", got)
		}
	})
}

// Clients of the new protocol that show no URLs get the text, and never a request of ours.
func TestModernWithoutDialogs(t *testing.T) {
	for _, capabilities := range []string{noDialogs, formDialogs, `{"elicitation":{"form":{}}}`} {
		d := newDoor(signIn())
		a := newAgent(newTool(d, Options{}), modern, capabilities)
		res := a.call(t, pageCall(0), nil)
		if got := outcomeOf(t, res, time.Now()); got.status != "login_required" || !strings.Contains(textOf(t, res), "\n"+link+"\n") {
			t.Errorf("%s: got %v", capabilities, got)
		}
	}
}

// The first words are unmistakable, and links and codes stand alone on their lines.
func TestLinesThatArePassedOn(t *testing.T) {
	for name, test := range map[string]struct {
		prompt action.Prompt
		first  string
		alone  []string
	}{
		"link":     {signIn(), "LOGIN REQUIRED — the page was not fetched.", []string{link}},
		"code":     {device(), "LOGIN REQUIRED — the page was not fetched.", []string{"https://login.example/device", "WDJB-MJHT"}},
		"approval": {allow(), "APPROVAL REQUIRED — the page was not fetched.", []string{"http://127.0.0.1:43117/l/allow"}},
	} {
		t.Run(name, func(t *testing.T) {
			res := handle(t, newTool(newDoor(test.prompt), Options{}), pageCall(0))
			lines := strings.Split(textOf(t, res), "\n")
			if lines[0] != test.first || res.IsError {
				t.Errorf("the first line is %q", lines[0])
			}
			for _, want := range test.alone {
				n := 0
				for _, line := range lines {
					if line == want {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%q stands alone %d times in %q", want, n, lines)
				}
			}
		})
	}
}
