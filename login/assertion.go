package login

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Grants and token types by their URIs (RFC 7523 §2.1, RFC 8693 §2.1 and §3,
// draft-ietf-oauth-identity-assertion-authz-grant).
const (
	jwtBearerGrant     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenExchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

	accessTokenType       = "urn:ietf:params:oauth:token-type:access_token"
	jwtTokenType          = "urn:ietf:params:oauth:token-type:jwt"
	idTokenType           = "urn:ietf:params:oauth:token-type:id_token"
	identityAssertionType = "urn:ietf:params:oauth:token-type:id-jag"
)

const maxSubjectToken = 64 << 10

// checkSubject reports why the token that req starts from cannot be used.
func checkSubject(req Request) error {
	issuer := req.Server.Issuer
	switch s := req.Subject; {
	case s.Token == nil:
		return &ClientError{Issuer: issuer, Reason: "the " + req.Grant + " grant needs a token to start from", Remedy: "name the token's source in the site's oauth settings"}
	case !req.Trusted:
		// Whoever gets the token may use it: a page must not choose who that is.
		return &ClientError{Issuer: issuer, Reason: "the configuration does not name it, and the " + req.Grant + " grant would give it a token of ours",
			Remedy: "if the issuer is right, name it in the site's oauth.issuer"}
	case s.At != "" && req.Grant != JWTBearer:
		return &UnsupportedError{Issuer: issuer, What: "an assertion of an identity provider with the " + req.Grant + " grant", Remedy: `set the site's oauth.grant to "jwt_bearer"`}
	case s.At != "" && s.AtEndpoint == "":
		return &UnsupportedError{Issuer: s.At, What: "a token endpoint", Remedy: "check the identity provider in the site's oauth settings"}
	}
	return nil
}

// silentForm is the token request of a grant that needs no person.
func (f *Flows) silentForm(ctx context.Context, g *grant) (map[string]string, error) {
	if g.Grant == ClientCredentials {
		return f.tokenForm(g.Request, "client_credentials"), nil
	}
	subject, err := subjectToken(ctx, g.Request)
	if err != nil {
		return nil, err
	}
	if g.Grant == TokenExchange {
		form := f.tokenForm(g.Request, tokenExchangeGrant)
		form["subject_token"], form["subject_token_type"] = subject.Reveal(), g.Subject.tokenType()
		form["requested_token_type"] = accessTokenType
		return form, nil
	}
	if g.Subject.At != "" {
		if subject, err = f.identityAssertion(ctx, g.Request, subject); err != nil {
			return nil, err
		}
	}
	form := f.tokenForm(g.Request, jwtBearerGrant)
	form["assertion"] = subject.Reveal()
	return form, nil
}

// identityAssertion exchanges the subject token at the identity provider for an assertion that is
// meant for the authorization server (draft-ietf-oauth-identity-assertion-authz-grant §4.3).
func (f *Flows) identityAssertion(ctx context.Context, req Request, subject secret.Text) (secret.Text, error) {
	s := req.Subject
	form := map[string]string{
		"grant_type": tokenExchangeGrant, "requested_token_type": identityAssertionType,
		"subject_token": subject.Reveal(), "subject_token_type": s.tokenType(),
		"audience": req.Server.Issuer, "resource": req.Resource,
	}
	if len(req.Scopes) > 0 {
		form["scope"] = strings.Join(req.Scopes, " ")
	}
	to := call{principal: req.Principal, issuer: s.At, endpoint: s.AtEndpoint, configured: s.Client.ID != ""}
	r, err := f.sendForm(ctx, to, s.Client, form)
	if err != nil {
		return secret.Text{}, err
	}
	assertion, err := parseAssertion(s.AtEndpoint, r.status, r.body, r.sent...)
	return assertion, to.refusal(err)
}

// parseAssertion reads the answer of a token exchange that yields an assertion. Its token_type is
// of no interest: the assertion is no access token ("N_A", RFC 8693 §2.2.1).
func parseAssertion(endpoint string, status int, body []byte, sent ...secret.Text) (secret.Text, error) {
	var a struct {
		Assertion  string `json:"access_token"`
		IssuedType string `json:"issued_token_type"`
		Error      string `json:"error"`
	}
	if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK || a.Error != "" {
		return secret.Text{}, parseError(endpoint, status, body, sent...)
	}
	unusable := func(reason string) (secret.Text, error) {
		return secret.Text{}, &TokenError{Endpoint: shownEndpoint(endpoint), Status: status, Reason: reason}
	}
	switch {
	case !isVisible(a.Assertion):
		return unusable("the assertion is missing or unusable")
	case a.IssuedType != identityAssertionType:
		return unusable("the issued_token_type is not " + identityAssertionType)
	}
	return secret.New(a.Assertion), nil
}

func (s Subject) tokenType() string {
	if s.Type == "" {
		return idTokenType
	}
	return s.Type
}

// subjectToken reads what the grant starts from. The error shows nothing of it.
func subjectToken(ctx context.Context, req Request) (secret.Text, error) {
	t, err := req.Subject.Token(ctx)
	if err != nil {
		return secret.Text{}, &SubjectError{Origin: req.Origin, Err: err}
	}
	text := strings.TrimSpace(t.Reveal()) // files end with a line break
	if len(text) > maxSubjectToken || !isVisible(text) {
		return secret.Text{}, &ClientError{Issuer: req.Server.Issuer, Reason: fmt.Sprintf("the token to start from is empty, longer than %d KiB or not one word of ASCII", maxSubjectToken>>10),
			Remedy: "check what the token's source in the site's oauth settings holds"}
	}
	return secret.New(text), nil
}

// SubjectError: the token that a grant starts from cannot be read.
type SubjectError struct {
	Origin origin.Origin
	Err    error // shows nothing of it
}

func (e *SubjectError) Error() string {
	return "the token to start from cannot be read: " + e.Err.Error()
}
func (e *SubjectError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *SubjectError) Code() string { return "oauth.subject_token" }

// Hint says what to do.
func (e *SubjectError) Hint() string {
	return "check sites." + sanitize.Quote(e.Origin.String()) + ".oauth.subject_token in the config, and whatever renews the token"
}

// checkIssuedType refuses what a token exchange gave in place of an access token.
func checkIssuedType(endpoint string, a *tokenAnswer) error {
	switch a.issuedType {
	case "", accessTokenType, jwtTokenType:
		return nil
	}
	return &TokenError{Endpoint: shownEndpoint(endpoint), Status: http.StatusOK, Reason: "the issued_token_type is not that of an access token"}
}
