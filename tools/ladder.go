package tools

import (
	"context"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// loginInput names our one input request in a multi round-trip result.
const loginInput = "login"

// reply is what the client says of the round before (multi round-trip requests).
type reply struct {
	action string                        // the id of the action that was shown; "" in a first round
	answer mcp.ElicitationResponseAction // "" where there is none
}

// ask reaches the person by the best way the client offers. It returns nil, nil when the person
// has acted and the page is worth another try, and else the answer for the model.
func (c *call) ask(ctx context.Context, a *action.Action, r reply) (*mcp.CallToolResult, error) {
	about := r.action == a.ID()
	patience := time.Duration(c.args.Wait) * time.Second
	if a.Prompt().Opened || about {
		patience = max(patience, quickSignIn)
	}
	if a.Shown() && a.Prompt().UserCode != "" {
		patience = max(patience, codePatience) // the issuer is asked every few seconds whether it was entered
	}
	switch {
	case about && r.answer == mcp.ElicitationResponseActionAccept:
		return c.hold(ctx, a, patience)
	case about && r.answer != "":
		return c.refused(a, r.answer), nil
	case r.answer != "" && r.answer != mcp.ElicitationResponseActionAccept: // of an action that is over
		return c.w.failure(c.args, errDeclined), nil
	case about && c.client.modern && c.client.url: // the answer is missing: ask again
		return c.inputRequired(ctx, a)
	case !c.client.url || !a.MarkShown(): // one dialog, however many calls wait for the same action
		return c.hold(ctx, a, patience)
	case c.client.modern:
		return c.inputRequired(ctx, a)
	}
	return c.elicit(ctx, a)
}

// hold waits for the person, within what the client's own patience allows.
func (c *call) hold(ctx context.Context, a *action.Action, patience time.Duration) (*mcp.CallToolResult, error) {
	limit := quickSignIn
	if c.progressToken() != nil {
		limit = maxPatience
	}
	left := min(patience, limit-time.Since(c.started))
	if left > 0 {
		wait, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		stop := c.reportProgress(wait, a)
		_ = a.Wait(wait)
		stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if ended(a) {
		return c.outcome(a), nil
	}
	return c.w.waiting(c.args, a), nil
}

func ended(a *action.Action) bool {
	select {
	case <-a.Done():
		return true
	default:
		return false
	}
}

// outcome of an ended action: nil where the person's part is done, else what became of it.
func (c *call) outcome(a *action.Action) *mcp.CallToolResult {
	if err := a.Err(); err != nil {
		return c.w.failure(c.args, err)
	}
	return nil
}

func (c *call) progressToken() mcp.ProgressToken {
	if c.req.Params.Meta == nil {
		return nil
	}
	return c.req.Params.Meta.ProgressToken
}

// reportProgress tells a client that asked for it what the call waits for, at once and then every
// five seconds. The returned function ends it.
func (c *call) reportProgress(ctx context.Context, a *action.Action) (stop func()) {
	token, s := c.progressToken(), server.ServerFromContext(ctx)
	if token == nil || s == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			err := s.SendNotificationToClient(ctx, "notifications/progress", map[string]any{
				"progressToken": token, "progress": n, "message": progressText(a.Prompt()),
			})
			if err != nil {
				c.w.opts.Logger.Debug("progress could not be sent", "error", err)
			}
			select {
			case <-tick.C:
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		settle()
	}
}

// settle lets notifications go out before the answer that follows them: the library sends the two
// by different ways.
func settle() { time.Sleep(10 * time.Millisecond) }

func progressText(p action.Prompt) string {
	left := max(0, time.Until(p.ExpiresAt)).Round(time.Second)
	switch {
	case p.Kind == action.AllowAddress:
		return fmt.Sprintf("Allow %s at %s (%s left)", p.Origin, p.URL, left)
	case p.URL != "":
		return fmt.Sprintf("Sign in at %s (%s left)", p.URL, left)
	}
	return fmt.Sprintf("Enter the code %s at %s (%s left)", p.UserCode, p.VerificationURI, left)
}

// elicitation is the request that makes a client show the user a URL.
func elicitation(p action.Prompt) mcp.ElicitationParams {
	e := mcp.ElicitationParams{Mode: mcp.ElicitationModeURL, URL: p.URL}
	switch {
	case p.Kind == action.AllowAddress:
		e.Message = fmt.Sprintf("Allow webfetch to read %s, which is on a private network?", p.Origin)
	case p.URL != "":
		e.Message = fmt.Sprintf("%s asks you to sign in at %s.", p.Origin, action.ShowIssuer(p.Issuer))
	default:
		e.URL = p.VerificationURI
		e.Message = fmt.Sprintf("%s asks you to sign in at %s. Enter the code %s there.", p.Origin, action.ShowIssuer(p.Issuer), p.UserCode)
	}
	return e
}

// inputRequired asks a client of protocol 2026-07-28 or later (multi round-trip requests).
func (c *call) inputRequired(ctx context.Context, a *action.Action) (*mcp.CallToolResult, error) {
	state, err := c.w.seal.close(principal.From(ctx), c.args, a)
	if err != nil {
		return nil, err
	}
	return server.NewInputRequestBuilder(state).Elicit(loginInput, elicitation(a.Prompt())).ToolResult(), nil
}

// resume reads the client's answer to inputRequired.
func (c *call) resume(ctx context.Context) (reply, error) {
	state := c.req.Params.RequestState
	if state == "" {
		return reply{}, nil
	}
	id, err := c.w.seal.open(ctx, state, c.args)
	if err != nil {
		return reply{}, err
	}
	r := reply{action: id}
	if answer := server.ElicitationResponse(c.req.Params.InputResponses, loginInput); answer != nil {
		r.answer = answer.Action
	}
	return r, nil
}

// elicit asks a client of an earlier protocol by a request of our own.
func (c *call) elicit(ctx context.Context, a *action.Action) (*mcp.CallToolResult, error) {
	s := server.ServerFromContext(ctx)
	params := elicitation(a.Prompt())
	params.ElicitationID = a.ID()
	left := quickSignIn - time.Since(c.started)
	if left <= 0 {
		return actionResult(c.args, a.Prompt(), true), nil
	}
	asking, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	go func() { // the person may finish in the browser before the client answers
		_ = a.Wait(asking)
		cancel()
	}()
	answer, err := s.RequestElicitation(asking, mcp.ElicitationRequest{
		Request: mcp.Request{Method: string(mcp.MethodElicitationCreate)}, Params: params,
	})
	var res *mcp.CallToolResult
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !ended(a):
		c.w.opts.Logger.Debug("the client did not show the URL", "error", err)
		return actionResult(c.args, a.Prompt(), true), nil
	case err != nil:
		res = c.outcome(a)
	case answer.Action != mcp.ElicitationResponseActionAccept:
		return c.refused(a, answer.Action), nil
	default:
		if res, err = c.hold(ctx, a, quickSignIn); err != nil {
			return nil, err
		}
	}
	if ended(a) { // the dialog has served its purpose
		if err := s.SendElicitationComplete(ctx, server.ClientSessionFromContext(ctx), a.ID()); err != nil {
			c.w.opts.Logger.Debug("the end of the elicitation could not be told", "error", err)
		}
		settle()
	}
	return res, nil
}

// refused takes a no in the client's dialog like one on our page: it rests for a while. A dialog
// that was only put away answers nothing; the link stays valid.
func (c *call) refused(a *action.Action, answer mcp.ElicitationResponseAction) *mcp.CallToolResult {
	if answer == mcp.ElicitationResponseActionDecline && !a.End(action.ErrDenied) {
		return c.outcome(a)
	}
	return c.w.failure(c.args, errDeclined)
}

// errDeclined: the client's user said no to opening the link.
var errDeclined error = &declined{}

type declined struct{}

func (*declined) Error() string { return "the user declined to open the sign-in link" }
func (*declined) Code() string  { return "login_denied" }
func (*declined) Hint() string  { return "do not try again unless the user asks for it" }
