package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// A no at the issuer is told with the issuer and its words: it need not be the person's.
func TestDeniedAtTheIssuer(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	err := w.deny(w.request())
	var denied *DeniedError
	if !errors.As(err, &denied) || !errors.Is(err, action.ErrDenied) || denied.Code() != "login_denied" {
		t.Fatalf("ended with %v", err)
	}
	if s := err.Error(); !strings.Contains(s, action.ShowIssuer(w.issuer.URL)) || !strings.Contains(s, `"the person said no"`) || !strings.Contains(denied.Hint(), "oauth.scopes") {
		t.Errorf("%s\n%s", s, denied.Hint())
	}
}

// At an issuer that compares the port, a configured client and a port that changes do not go together.
func TestExactPortNeedsAPort(t *testing.T) {
	for _, tc := range []struct {
		name   string
		port   int
		client Credentials
		exact  bool
		want   bool
	}{
		{"a random port", 0, Credentials{ID: "c"}, true, true},
		{"a fixed port", 40111, Credentials{ID: "c"}, true, false},
		{"our own registration", 0, Credentials{}, true, false},
		{"any port", 0, Credentials{ID: "c"}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, http.NotFound)
			f.opts.Desk = action.NewDesk(action.DeskOptions{Port: tc.port})
			if tc.exact {
				f.opts.Settings = func(string) Settings { return Settings{RedirectPort: "exact"} }
			}
			req.Client, req.Grant = tc.client, AuthorizationCode
			var port *RedirectPortError
			if err := f.Check(req); errors.As(err, &port) != tc.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSubjectThatCannotBeRead(t *testing.T) {
	got := forms{}
	f, _, req := at(t, got.serve(wellAnswered))
	req.Grant, req.Trusted = JWTBearer, true
	req.Subject.Token = func(context.Context) (secret.Text, error) { return secret.Text{}, errors.New("there is no such file") }
	_, err := f.Obtain(t.Context(), req)
	var unread *SubjectError
	if !errors.As(err, &unread) || unread.Code() != "oauth.subject_token" || !strings.Contains(unread.Hint(), `sites."https://wiki.example".oauth.subject_token`) || len(got) != 0 {
		t.Errorf("got %v, sent %v", err, got)
	}
}

// The end of the process does not lose a token that the issuer is just handing out.
func TestCloseDuringTheExchange(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	w := newWorld(t, oauthtest.IssuerOptions{EditReply: func(path string, _ map[string]any) {
		if path == "/token" {
			close(asked)
			<-goOn
		}
	}}, options{})
	a := w.start(w.request())
	browser := make(chan error, 1)
	go func() { browser <- w.person.Continue(t.Context(), a.Prompt().URL) }()
	<-asked
	closed := make(chan struct{})
	go func() { w.desk.Close(); close(closed) }()
	<-a.Done()
	close(goOn)
	w.Wait(t.Context())
	if w.token() == nil {
		t.Error("the token is lost")
	}
	<-closed
	<-browser // whatever it saw of the last page
}
