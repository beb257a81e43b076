package login

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

const maxScopes = 256 // kept of what a token response says was granted

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

// postToken sends a token request with the client's authentication.
func (f *Flows) postToken(ctx context.Context, to call, c Credentials, form map[string]string) (*tokenAnswer, error) {
	r, err := f.sendForm(ctx, to, c, form)
	if err != nil {
		return nil, err
	}
	answer, err := parseToken(to.endpoint, r.status, r.body, to.tokenType(), r.sent...)
	if failed, ok := errors.AsType[*TokenError](err); ok {
		failed.retryAfter = retryAfter(r.header)
	}
	return answer, to.refusal(err)
}

// parseError reads an error response (RFC 6749 §5.2); some servers send it with status 200. Nothing
// of what was sent is repeated from it.
func parseError(endpoint string, status int, body []byte, sent ...secret.Text) *TokenError {
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
	// Twice: a cut in between would leave a part, and what sanitizing takes out may join parts.
	e.Description = secret.Conceal(sanitize.Text(secret.Conceal(a.Description, sent...)), sent...)
	if !slices.Contains(knownErrors, a.Error) && secret.Conceal(a.Error, sent...) != a.Error {
		e.Reason = "the error code repeats what was sent"
		return e
	}
	e.ErrorCode = a.Error
	return e
}

// knownErrors are no secrets, whatever was sent (the OAuth Extensions Error registry, as far as it
// concerns the endpoints that we ask).
var knownErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target",
	"authorization_pending", "slow_down", "access_denied", "expired_token", "server_error", "temporarily_unavailable", "unsupported_token_type",
	"invalid_redirect_uri", "invalid_client_metadata", "invalid_dpop_proof", "use_dpop_nonce", "unmet_authentication_requirements",
}

// parseToken reads a token response; the token must be of the type that was asked for.
func parseToken(endpoint string, status int, body []byte, tokenType string, sent ...secret.Text) (*tokenAnswer, error) {
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
		return nil, parseError(endpoint, status, body, sent...)
	}
	unusable := func(reason string) *TokenError {
		return &TokenError{Endpoint: shownEndpoint(endpoint), Status: status, Reason: reason}
	}
	switch {
	case !usableToken(a.AccessToken):
		return nil, unusable("the access token is missing or has characters that a header cannot carry")
	case !strings.EqualFold(a.TokenType, tokenType):
		e := unusable("the token type is not " + tokenType)
		e.wrongType = true
		return nil, e
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
