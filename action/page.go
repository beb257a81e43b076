package action

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// view is what page.html shows; html/template escapes every field.
type view struct {
	CSS     template.CSS
	Title   string
	Text    string
	Rows    [][2]string
	Buttons bool
	Action  string // where the form goes
	Yes     string // what the first button says
}

// callbackPath is where an issuer sends the browser back to.
const callbackPath = "/callback"

// handler answers at the hosts of l: all at its own, the callback also at the other names of it.
func (d *Desk) handler(l *listener) http.Handler {
	own, others := l.host("127.0.0.1"), []string{l.host("localhost"), l.host("::1")}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /l/{id}", d.showPage)
	mux.HandleFunc("POST /l/{id}", d.takeAnswer)
	mux.HandleFunc("GET "+callbackPath, d.takeCallback)
	mux.HandleFunc("GET "+callbackPath+"/{issuer}", d.takeCallback)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.write(w, r, http.StatusNotFound, "", view{Title: "Nothing here", Text: "This address shows sign-in pages while one is waiting."})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header(w, "") // also for what the mux answers itself
		// A page of another site that got its name to resolve to us must not talk to us (DNS rebinding).
		if r.Host != own && !(isCallback(r.URL.Path) && slices.Contains(others, r.Host)) {
			d.write(w, r, http.StatusForbidden, "", view{Title: "Refused", Text: "This page is only for this computer's own browser."})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		mux.ServeHTTP(w, r)
	})
}

func isCallback(path string) bool {
	return path == callbackPath || strings.HasPrefix(path, callbackPath+"/")
}

func (d *Desk) showPage(w http.ResponseWriter, r *http.Request) {
	p, waiting := d.find(r.PathValue("id"))
	switch {
	case p == nil:
		d.write(w, r, http.StatusNotFound, "", view{Title: "This link is not valid any more", Text: "Ask for the page again to get a new one."})
	case !waiting:
		d.writeEnd(w, r, p)
	default:
		d.write(w, r, http.StatusOK, p.target, formView(p.Prompt()))
	}
}

func (d *Desk) takeAnswer(w http.ResponseWriter, r *http.Request) {
	p, waiting := d.find(r.PathValue("id"))
	if p == nil || !waiting {
		d.showPage(w, r)
		return
	}
	// Only our own page may answer: a form on another site cannot (it would send its own Origin).
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host || crossSite(r) {
		d.write(w, r, http.StatusForbidden, "", view{Title: "Refused", Text: "The answer did not come from this page."})
		return
	}
	switch r.PostFormValue("action") {
	case "cancel":
		d.cancel(w, r, p)
	case "continue":
		d.goOn(w, r, p)
	default:
		d.write(w, r, http.StatusBadRequest, "", view{Title: "No answer", Text: "Go back and choose one of the two buttons."})
	}
}

func crossSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// cancel ends the action. Where the person's yes was all that was needed, and came first, it stands.
func (d *Desk) cancel(w http.ResponseWriter, r *http.Request, p *pending) {
	if !p.answer.CompareAndSwap(unanswered, cancelled) && p.answer.Load() == continued && p.Prompt().Kind == AllowAddress {
		d.goOn(w, r, p)
		return
	}
	p.End(ErrDenied)
	d.writeEnd(w, r, p)
}

// goOn leads the browser on; pressing the button again leads to the same place.
func (d *Desk) goOn(w http.ResponseWriter, r *http.Request, p *pending) {
	next := p.proceed()
	if next == "" {
		d.writeEnd(w, r, p)
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// proceed presses the button. It returns where the browser goes next, or "" when the action has ended.
func (p *pending) proceed() (next string) {
	if !p.answer.CompareAndSwap(unanswered, continued) && p.answer.Load() == cancelled {
		return ""
	}
	n, err := p.goOn()
	if err != nil || n.URL == "" {
		p.End(err)
	}
	if !p.waits() {
		return ""
	}
	return n.URL
}

// takeCallback takes the issuer's answer. An unknown state, or one given twice, changes nothing.
func (d *Desk) takeCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // the mux takes HEAD for a GET; what only looks must not use up the answer
		w.Header().Set("Allow", http.MethodGet)
		d.write(w, r, http.StatusMethodNotAllowed, "", view{Title: "Not allowed", Text: "Only a browser's GET is taken here."})
		return
	}
	bad := func(text string) {
		d.write(w, r, http.StatusBadRequest, "", view{Title: "This answer belongs to no sign-in", Text: text})
	}
	answer, err := parseAnswer(r.URL.RawQuery)
	if err != nil {
		bad("Nothing was changed: " + err.Error() + ".")
		return
	}
	p := d.byState(answer.Get("state"))
	switch {
	case p == nil || p.redirect.Host != r.Host || p.redirect.EscapedPath() != r.URL.EscapedPath():
		bad("Nothing was changed. If you were signing in, go back to the page that the link opened.")
	case !p.waits() && !p.used.Load() && errors.Is(p.Err(), ErrExpired):
		d.writeEnd(w, r, p)
	case !p.waits():
		bad("Nothing was changed: that sign-in has ended.")
	case p.used.Swap(true):
		bad("It was already used.")
	default:
		p.take(r.Context(), answer)
		d.writeEnd(w, r, p)
	}
}

var (
	errUnreadable = errors.New("the address could not be read")
	errTwice      = errors.New("a part of the address stands there twice")
)

// parseAnswer reads an authorization response (RFC 6749 §4.1.2, whose parameters must not be repeated, §3.1).
func parseAnswer(query string) (url.Values, error) {
	answer, err := url.ParseQuery(query)
	if err != nil {
		return nil, errUnreadable
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(answer[name]) > 1 {
			return nil, errTwice
		}
	}
	return answer, nil
}

// take ends p with the issuer's answer.
func (p *pending) take(ctx context.Context, answer url.Values) {
	// Not the context of the browser or the call: a closed window must not lose the token.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	go func() { // a no that comes meanwhile counts; the end of the process does not lose what was granted
		if <-p.Done(); p.Err() != ErrClosed {
			cancel()
		}
	}()
	p.End(p.callback(ctx, answer))
}

func formView(p Prompt) view {
	v := view{Buttons: true, Action: p.URL[strings.LastIndex(p.URL, "/l/"):]}
	switch p.Kind {
	case AllowAddress:
		v.Title = "Let your agent read a page on your network?"
		v.Text = "An agent on this computer asked for a page of a private address that nobody has configured. It will be able to read pages of this address for 90 days, or until `mcp-authfetch logout` takes the permission back."
		v.Rows = [][2]string{{"Address", p.Origin.String()}}
		v.Yes = "Allow"
	default:
		v.Title = "Sign in so that your agent can read a page?"
		v.Text = "An agent on this computer asked for a page that needs your sign-in. If you did not expect this, cancel."
		scopes := "the issuer's default"
		if len(p.Scopes) > 0 {
			scopes = strings.Join(p.Scopes, ", ")
		}
		v.Rows = [][2]string{{"Page's site", p.Origin.String()}, {"Signs you in", ShowIssuer(p.Issuer)}, {"Asks for", sanitize.Line(scopes, 8<<10)}}
		v.Yes = "Continue to sign-in"
	}
	return v
}

// ShowIssuer returns an issuer as a person can judge it: its origin, the host in A-label form, and
// its path where that is short and plain. A path is a place for a stranger's sentences.
func ShowIssuer(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return "an issuer whose address cannot be read"
	}
	o, err := origin.Of(u)
	if err != nil {
		return "an issuer whose address cannot be read"
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if !plainPath.MatchString(path) {
		path = "/…"
	}
	return o.String() + path
}

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_-]{1,40}){0,3}$`)

func (d *Desk) writeEnd(w http.ResponseWriter, r *http.Request, p *pending) {
	v, status := view{Title: "Done", Text: "You can close this window and go back to your agent."}, http.StatusOK
	switch err := p.Err(); {
	case err == nil:
	case err == ErrDenied: // here; where it was at the issuer, there is more to say
		v = view{Title: "Cancelled", Text: "Nothing was allowed. You can close this window."}
	case errors.Is(err, ErrExpired):
		v, status = view{Title: "Too late", Text: "This took too long. Ask for the page again to get a new link."}, http.StatusGone
	default:
		v, status = view{Title: "It did not work", Text: sanitize.Line(err.Error(), 300)}, http.StatusBadGateway
		if errors.Is(err, ErrDenied) {
			v.Title, status = "Refused", http.StatusOK
		}
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) {
			v.Rows = [][2]string{{"What to do", sanitize.Line(hinted.Hint(), 500)}}
		}
	}
	d.write(w, r, status, "", v)
}

func (d *Desk) write(w http.ResponseWriter, r *http.Request, status int, formTarget string, v view) {
	v.CSS = template.CSS(pageCSS)
	var b strings.Builder
	if err := pageTemplate.Execute(&b, v); err != nil {
		d.opts.Logger.Error("the login page cannot be written", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	header(w, formTarget)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(b.String()))
	}
}

// header sets what every answer carries. Browsers apply form-action to the redirects that follow
// a form too, so it must let the person through to the issuer: any https one, or the one http
// loopback issuer that target names.
func header(w http.ResponseWriter, target string) {
	sum := sha256.Sum256([]byte(pageCSS))
	forms := "'self' https:"
	if u, err := url.Parse(target); err == nil && u.Scheme == "http" {
		if o, err := origin.Of(u); err == nil { // canonical, so it has nothing that ends a directive
			forms += " " + o.String()
		}
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action "+forms+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // "no-referrer" would turn the form's Origin into null
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
