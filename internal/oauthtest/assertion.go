package oauthtest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearerGrant  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	exchangeGrant   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
)

var assertionAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

// clientAssertion is the JWT of private_key_jwt (RFC 7523 §3).
type clientAssertion struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	ID        string          `json:"jti"`
	Expires   float64         `json:"exp"`
	IssuedAt  float64         `json:"iat"`
	NotBefore float64         `json:"nbf"`
}

// parseAssertion reads an assertion whose signature is not checked yet.
func parseAssertion(form url.Values) (*jose.JSONWebSignature, clientAssertion, *refusal) {
	var claims clientAssertion
	if form.Get("client_assertion_type") != assertionType {
		return nil, claims, refuse("invalid_client", "client_assertion_type is not that of a JWT")
	}
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), assertionAlgorithms)
	if err != nil {
		return nil, claims, refuse("invalid_client", "client_assertion is not a JWS of an offered algorithm")
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return nil, claims, refuse("invalid_client", "the claims of client_assertion cannot be read")
	}
	return jws, claims, nil
}

func (i *Issuer) checkAssertion(c *client, form url.Values) *refusal {
	jws, claims, f := parseAssertion(form)
	if f != nil {
		return f
	}
	bad := func(why string) *refusal { return refuse("invalid_client", "client_assertion: %s", why) }
	if _, err := jws.Verify(c.key); err != nil {
		return bad("the signature is wrong")
	}
	if claims.Issuer != c.id || claims.Subject != c.id {
		return bad("iss and sub must be the client_id")
	}
	// An audience that could be another server's lets that one use the assertion here.
	var list []string
	if err := json.Unmarshal(claims.Audience, &list); err != nil {
		list = make([]string, 1)
		_ = json.Unmarshal(claims.Audience, &list[0]) // an error leaves "", which is nobody
	}
	if len(list) != 1 || list[0] != i.URL {
		return bad("aud must be the issuer, and it alone")
	}
	now, leeway := time.Now(), time.Minute
	expires := time.Unix(int64(claims.Expires), 0)
	switch {
	case !now.Before(expires):
		return bad("exp is missing or past")
	case expires.After(now.Add(time.Hour)):
		return bad("exp is too far away")
	case time.Unix(int64(claims.IssuedAt), 0).After(now.Add(leeway)), time.Unix(int64(claims.NotBefore), 0).After(now.Add(leeway)):
		return bad("it is not valid yet")
	case claims.ID == "":
		return bad("jti is missing")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.assertions[claims.ID] {
		return bad("jti was seen before")
	}
	i.assertions[claims.ID] = true
	return nil
}

// redeemAssertion is RFC 7523 §2.1; it yields no refresh token (RFC 7521 §4.1).
func (i *Issuer) redeemAssertion(q *tokenRequest) (map[string]any, *refusal) {
	assertion := q.form.Get("assertion")
	if assertion == "" {
		return nil, refuse("invalid_request", "assertion is missing")
	}
	who, err := i.options.Assertions(assertion)
	if err != nil {
		return nil, refuse("invalid_grant", "the assertion is not accepted: %v", err)
	}
	return i.issueFor(q, who)
}

// redeemExchange is RFC 8693 §2.1.
func (i *Issuer) redeemExchange(q *tokenRequest) (map[string]any, *refusal) {
	for _, name := range []string{"subject_token", "subject_token_type"} {
		if q.form.Get(name) == "" {
			return nil, refuse("invalid_request", "%s is missing", name)
		}
	}
	if q.form.Has("actor_token") != q.form.Has("actor_token_type") {
		return nil, refuse("invalid_request", "actor_token and actor_token_type go together")
	}
	for _, name := range []string{"subject_token_type", "requested_token_type", "actor_token_type"} {
		if value := q.form.Get(name); value != "" && !strings.Contains(value, ":") {
			return nil, refuse("invalid_request", "%s is not a URI", name)
		}
	}
	token, kind, err := i.options.Exchange(q.form)
	if err != nil {
		return nil, refuse("invalid_request", "the subject token is not accepted: %v", err)
	}
	kind = cmp.Or(kind, accessTokenType)
	if token == "" {
		reply, f := i.issueFor(q, subject)
		if f == nil {
			reply["issued_token_type"] = kind
		}
		return reply, f
	}
	reply := map[string]any{"access_token": token, "issued_token_type": kind, "token_type": "N_A", "expires_in": 300}
	if kind == accessTokenType {
		reply["token_type"] = "Bearer"
	}
	return reply, nil
}

// issueFor issues without a person; i.mu is not held.
func (i *Issuer) issueFor(q *tokenRequest, who string) (map[string]any, *refusal) {
	if len(q.audience) == 0 {
		return nil, refuse("invalid_target", "resource is missing")
	}
	wanted, f := scopes(q.form)
	if f != nil {
		return nil, f
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issue(q, &grant{client: q.client, subject: who, scopes: wanted, resources: q.audience}, wanted, false), nil
}
