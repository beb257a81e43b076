package login

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
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
	lifetime                  time.Duration // 0: unknown
	scopes                    []string      // nil: as requested
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
}

// call is where a request to an authorization server goes, and for whom.
type call struct {
	principal principal.ID
	issuer    string // audience of client assertions (RFC 7523 §3)
	endpoint  string
	key       *dpop.Key // to prove with each request; nil: none
}

// postToken sends a token request with the client's authentication.
func (f *Flows) postToken(ctx context.Context, to call, c Credentials, form map[string]string) (*tokenAnswer, error) {
	status, body, err := f.postForm(ctx, to, c, form)
	if err != nil {
		return nil, err
	}
	answer, err := parseToken(to.endpoint, status, body)
	return answer, conceal(err, c, form)
}

// conceal takes what was sent out of a server's words: some echo the request.
func conceal(err error, c Credentials, form map[string]string) error {
	var e *TokenError
	if !errors.As(err, &e) {
		return err
	}
	for _, s := range []string{c.Secret.Reveal(), form["code"], form["code_verifier"], form["refresh_token"], form["device_code"]} {
		if s != "" {
			e.ErrorCode = strings.ReplaceAll(e.ErrorCode, s, secret.Redacted)
			e.Description = strings.ReplaceAll(e.Description, s, secret.Redacted)
		}
	}
	return err
}

// postForm sends a form to an endpoint that authenticates the client (RFC 6749 §2.3). Redirects
// are never followed: the form holds codes, verifiers and secrets (RFC 9700 §4.12).
func (f *Flows) postForm(ctx context.Context, to call, c Credentials, form map[string]string) (int, []byte, error) {
	form = maps.Clone(form)
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	switch c.method() {
	case "none":
		form["client_id"] = c.ID
	case "client_secret_post":
		form["client_id"], form["client_secret"] = c.ID, c.Secret.Reveal()
	case "client_secret_basic":
		// Both halves are form-encoded first (RFC 6749 §2.3.1).
		pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	default:
		return 0, nil, &ClientError{Issuer: to.issuer, Reason: "the authentication method " + strconv.Quote(c.AuthMethod) + " is not supported"}
	}
	values := url.Values{}
	for k, v := range form {
		values.Set(k, v)
	}
	return f.post(ctx, to.endpoint, header, values.Encode())
}

func (c Credentials) method() string {
	switch {
	case c.AuthMethod != "":
		return c.AuthMethod
	case c.Secret.IsZero():
		return "none"
	}
	return "client_secret_basic"
}

// post sends a body and returns status and answer. The answer must be JSON.
func (f *Flows) post(ctx context.Context, endpoint string, header http.Header, body string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return 0, nil, &TokenError{Endpoint: shownEndpoint(endpoint), Reason: "its URL is not usable"}
	}
	req.Header = header
	req.Header.Set("Accept", "application/json")
	resp, err := f.opts.Transport.RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", shownEndpoint(endpoint), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	unusable := func(reason string) (int, []byte, error) {
		return 0, nil, &TokenError{Endpoint: shownEndpoint(endpoint), Status: resp.StatusCode, Reason: reason}
	}
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("reading the answer of %s: %w", shownEndpoint(endpoint), err)
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
	return resp.StatusCode, answer, nil
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

func parseToken(endpoint string, status int, body []byte) (*tokenAnswer, error) {
	var a struct {
		AccessToken  string         `json:"access_token"`
		TokenType    string         `json:"token_type"`
		ExpiresIn    jsontext.Value `json:"expires_in"`
		RefreshToken string         `json:"refresh_token"`
		Scope        string         `json:"scope"`
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
	case !strings.EqualFold(a.TokenType, "Bearer"):
		return nil, unusable("the token type is not Bearer")
	case a.RefreshToken != "" && !usableToken(a.RefreshToken):
		return nil, unusable("the refresh token has characters that are not allowed")
	}
	answer := &tokenAnswer{
		accessToken: secret.New(a.AccessToken), refreshToken: secret.New(a.RefreshToken),
		tokenType: "Bearer", lifetime: seconds(a.ExpiresIn),
	}
	for s := range strings.FieldsSeq(a.Scope) {
		if challenge.IsScope(s) && !slices.Contains(answer.scopes, s) && len(answer.scopes) < maxScopes {
			answer.scopes = append(answer.scopes, s)
		}
	}
	return answer, nil
}

// usableToken: visible ASCII without spaces (RFC 6750 §2.1 is narrower; servers are not), bounded.
func usableToken(s string) bool {
	if s == "" || len(s) > 32<<10 {
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
