package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

const (
	maxAnswer   = 64 << 10         // of a token, registration or device authorization endpoint
	maxScopes   = 256              // kept of what a token response says was granted
	postTimeout = 10 * time.Second // of one request to them
)

// tokenAnswer is a successful token response (RFC 6749 §5.1), validated.
type tokenAnswer struct {
	accessToken, refreshToken secret.Text
	tokenType                 string
	issuedType                string        // issued_token_type (RFC 8693 §2.2.1), "" where it is not said
	lifetime                  time.Duration // 0: unknown
	scopes                    []string      // nil: as requested
	idToken                   secret.Text   // not verified
}

// apply fills in what the answer says. A refresh token that was not renewed stays.
func (a *tokenAnswer) apply(t *tokenstore.Token, now time.Time) {
	t.AccessToken, t.TokenType, t.ObtainedAt = a.accessToken, a.tokenType, now
	t.Expiry = time.Time{}
	if a.lifetime > 0 {
		t.Expiry = now.Add(a.lifetime)
	}
	if !a.refreshToken.IsZero() {
		t.RefreshToken = a.refreshToken
	}
	if a.scopes != nil {
		t.Scopes = a.scopes
	}
	if who := subjectOf(a.idToken, t.Issuer, t.ClientID); who != "" {
		t.Subject = who
	}
}

// call is where a request to an authorization server goes, and for whom.
type call struct {
	principal  principal.ID
	issuer     string // audience of client assertions (RFC 7523 §3)
	endpoint   string
	key        *dpop.Key // to prove with each request; nil: none
	algorithms []string  // that the server takes of client assertions; nil: not known
}

// tokenType is what the answer to a request with or without a proof must be (RFC 9449 §5). Less
// would be a downgrade: a token that others can use, too.
func (c call) tokenType() string {
	if c.key != nil {
		return "DPoP"
	}
	return "Bearer"
}

// postToken sends a token request with the client's authentication.
func (f *Flows) postToken(ctx context.Context, to call, c Credentials, form map[string]string) (*tokenAnswer, error) {
	r, err := f.sendForm(ctx, to, c, form)
	if err != nil {
		return nil, err
	}
	answer, err := parseToken(to.endpoint, r.status, r.body, to.tokenType())
	var failed *TokenError
	if errors.As(err, &failed) {
		failed.retryAfter = retryAfter(r.header)
	}
	return answer, conceal(err, c, form)
}

// concealed are the parameters whose values never stand in an error.
var concealed = []string{"code", "code_verifier", "refresh_token", "device_code", "assertion", "subject_token", "actor_token", "client_secret", "client_assertion", "token", "state"}

// minConcealed: what is shorter is no secret, and stands in any text by chance.
const minConcealed = 4

// conceal takes what was sent out of a server's words: some echo the request.
func conceal(err error, c Credentials, form map[string]string) error {
	var e *TokenError
	if !errors.As(err, &e) {
		return err
	}
	hide := func(s string) {
		if len(s) >= minConcealed {
			e.ErrorCode = strings.ReplaceAll(e.ErrorCode, s, secret.Redacted)
			e.Description = strings.ReplaceAll(e.Description, s, secret.Redacted)
		}
	}
	hide(c.Secret.Reveal())
	for _, name := range concealed {
		hide(form[name])
	}
	return err
}

// postForm sends a form to an endpoint that authenticates the client (RFC 6749 §2.3). Redirects
// are never followed: the form holds codes, verifiers and secrets (RFC 9700 §4.12).
func (f *Flows) postForm(ctx context.Context, to call, c Credentials, form map[string]string) (int, []byte, error) {
	r, err := f.sendForm(ctx, to, c, form)
	return r.status, r.body, err
}

// sendForm is [Flows.postForm] with the whole answer. Where the server wants its nonce in the proof
// the request is sent once more; that it was refused for this has used up nothing in the form
// (RFC 9449 §8).
func (f *Flows) sendForm(ctx context.Context, to call, c Credentials, form map[string]string) (reply, error) {
	for first := true; ; first = false {
		values, header, err := f.authenticate(to, c, form) // an assertion, like a proof, works once
		if err != nil {
			return reply{}, err
		}
		nonce, err := f.prove(to, header)
		if err != nil {
			return reply{}, err
		}
		r, err := f.send(ctx, to.endpoint, header, values.Encode())
		another := to.key != nil && f.noteNonce(to, r.header, nonce)
		for _, once := range []string{values.Get("client_assertion"), header.Get("DPoP")} {
			if once != "" {
				r.body = bytes.ReplaceAll(r.body, []byte(once), []byte(secret.Redacted))
			}
		}
		if err == nil && first && another && wantsNonce(r) {
			continue
		}
		return r, err
	}
}

// prove adds the proof of the key, if there is one, and returns the nonce that is in it.
func (f *Flows) prove(to call, header http.Header) (nonce string, err error) {
	if to.key == nil {
		return "", nil
	}
	u, err := url.Parse(to.endpoint)
	if err != nil {
		return "", unusableURL(to.endpoint)
	}
	o, err := origin.Of(u)
	if err != nil {
		return "", unusableURL(to.endpoint)
	}
	nonce = f.nonces.Get(to.principal, o)
	proof, err := to.key.Proof(http.MethodPost, u, nonce, secret.Text{})
	if err != nil {
		return "", err
	}
	header.Set("DPoP", proof)
	return nonce, nil
}

// noteNonce keeps the nonce of an answer, and reports whether it is another than used.
func (f *Flows) noteNonce(to call, answer http.Header, used string) bool {
	o, err := origin.OfURL(to.endpoint)
	return err == nil && f.nonces.Note(to.principal, o, answer, used)
}

func wantsNonce(r reply) bool {
	if r.status != http.StatusBadRequest && r.status != http.StatusUnauthorized {
		return false
	}
	var a struct {
		Error string `json:"error"`
	}
	return json.Unmarshal(r.body, &a) == nil && a.Error == "use_dpop_nonce"
}

// reply is an answer of an authorization server. Of an unusable one only the header is set.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// post sends a body and returns status and answer. The answer must be JSON.
func (f *Flows) post(ctx context.Context, endpoint string, header http.Header, body string) (int, []byte, error) {
	r, err := f.send(ctx, endpoint, header, body)
	return r.status, r.body, err
}

func (f *Flows) send(ctx context.Context, endpoint string, header http.Header, body string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return reply{}, unusableURL(endpoint)
	}
	req.Header = header
	req.Header.Set("Accept", "application/json")
	resp, err := f.opts.Transport.RoundTrip(req)
	if err != nil {
		return reply{}, fmt.Errorf("asking %s: %w", shownEndpoint(endpoint), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	unusable := func(reason string) (reply, error) {
		return reply{header: resp.Header}, &TokenError{
			Endpoint: shownEndpoint(endpoint), Status: resp.StatusCode, Reason: reason, retryAfter: retryAfter(resp.Header),
		}
	}
	switch {
	case err != nil:
		return reply{header: resp.Header}, fmt.Errorf("reading the answer of %s: %w", shownEndpoint(endpoint), err)
	case len(answer) > maxAnswer:
		return unusable("the answer is larger than 64 KiB")
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return unusable("it redirects, which is not followed because the request holds secrets")
	case resp.StatusCode >= 500:
		return unusable("the server failed")
	}
	if mt, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mt != "application/json" && !strings.HasSuffix(mt, "+json") {
		return unusable("the answer is not JSON")
	}
	return reply{resp.StatusCode, resp.Header, answer}, nil
}

// retryAfter is how long the server wants to be left alone (RFC 9110 §10.2.3), 0 where it does not say.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func unusableURL(endpoint string) error {
	return &TokenError{Endpoint: shownEndpoint(endpoint), Reason: "its URL is not usable"}
}

func shownEndpoint(endpoint string) string {
	o, err := origin.OfURL(endpoint)
	if err != nil {
		return "the endpoint"
	}
	return o.String()
}

// parseError reads an error response (RFC 6749 §5.2); some servers send it with status 200.
func parseError(endpoint string, status int, body []byte) *TokenError {
	e := &TokenError{Endpoint: shownEndpoint(endpoint), Status: status}
	var a struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		e.Reason = "the answer is not a valid JSON object"
		return e
	}
	if a.Error == "" {
		e.Reason = "the answer has neither the expected form nor that of an OAuth error"
	}
	e.ErrorCode, e.Description = a.Error, sanitize.Text(a.Description)
	return e
}

// parseToken reads a token response; the token must be of the type that was asked for.
func parseToken(endpoint string, status int, body []byte, tokenType string) (*tokenAnswer, error) {
	var a struct {
		AccessToken  string         `json:"access_token"`
		TokenType    string         `json:"token_type"`
		IssuedType   string         `json:"issued_token_type"`
		ExpiresIn    jsontext.Value `json:"expires_in"`
		RefreshToken string         `json:"refresh_token"`
		Scope        string         `json:"scope"`
		IDToken      jsontext.Value `json:"id_token"`
		Error        string         `json:"error"`
	}
	if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK || a.Error != "" {
		return nil, parseError(endpoint, status, body)
	}
	unusable := func(reason string) error {
		return &TokenError{Endpoint: shownEndpoint(endpoint), Status: status, Reason: reason}
	}
	switch {
	case !usableToken(a.AccessToken):
		return nil, unusable("the access token is missing or has characters that a header cannot carry")
	case !strings.EqualFold(a.TokenType, tokenType):
		return nil, unusable("the token type is not " + tokenType)
	case a.RefreshToken != "" && !usableToken(a.RefreshToken):
		return nil, unusable("the refresh token has characters that are not allowed")
	}
	answer := &tokenAnswer{
		accessToken: secret.New(a.AccessToken), refreshToken: secret.New(a.RefreshToken),
		tokenType: tokenType, issuedType: a.IssuedType, lifetime: seconds(a.ExpiresIn),
	}
	var idToken string
	if json.Unmarshal(a.IDToken, &idToken) == nil {
		answer.idToken = secret.New(idToken)
	}
	for s := range strings.FieldsSeq(a.Scope) {
		if challenge.IsScope(s) && !slices.Contains(answer.scopes, s) && len(answer.scopes) < maxScopes {
			answer.scopes = append(answer.scopes, s)
		}
	}
	return answer, nil
}

// usableToken: visible ASCII without spaces (RFC 6750 §2.1 is narrower; servers are not), bounded.
func usableToken(s string) bool { return len(s) <= 32<<10 && isVisible(s) }

func isVisible(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// number reads what servers send as a number, a fraction or a string; 0 where it is neither.
func number(v jsontext.Value) float64 {
	text := string(v)
	if v.Kind() == '"' && json.Unmarshal(v, &text) != nil {
		return 0
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(n) {
		return 0
	}
	return n
}

// seconds reads a duration. What is absent or not positive is 0, unknown; more than ten years is ten years.
func seconds(v jsontext.Value) time.Duration {
	const tenYears = 10 * 365 * 24 * 3600
	return time.Duration(math.Min(math.Max(number(v), 0), tenYears) * float64(time.Second))
}
