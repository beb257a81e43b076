package login

import (
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// Check reports why the login that req describes cannot begin, as far as that is known without
// asking anybody.
func (f *Flows) Check(req Request) error {
	if err := f.checkGrant(req); err != nil {
		return err
	}
	if err := checkMethod(req.Server, req.Client); err != nil {
		return err
	}
	_, err := f.terms(req, req.Client)
	return err
}

func (f *Flows) checkGrant(req Request) error {
	s := req.Server
	switch {
	case Silent(req.Grant):
		return checkSilent(req)
	case req.Grant == DeviceCode && s.DeviceAuthorizationEndpoint == "":
		return &UnsupportedError{Issuer: s.Issuer, What: "the device code grant", Remedy: `set the site's oauth.grant to "authorization_code"`}
	case f.byDevice(req) && req.stepsUp():
		return &UnsupportedError{Issuer: s.Issuer, What: "a device code login that says how the person has to sign in, which " + req.Origin.String() + " demands",
			Remedy: `set the site's oauth.grant to "authorization_code", if the issuer offers that`}
	case f.byDevice(req):
		return f.canGetClient(req)
	case s.AuthorizationEndpoint == "":
		return &UnsupportedError{Issuer: s.Issuer, What: "an authorization endpoint", Remedy: "configure a grant that the server offers"}
	case s.RequirePushedAuthorizationRequests && s.PushedAuthorizationRequestEndpoint == "":
		return &UnsupportedError{Issuer: s.Issuer, What: "an endpoint for pushed authorization requests, although it requires them", Remedy: "ask its operator"}
	}
	if err := f.checkPKCE(req); err != nil {
		return err
	}
	if err := checkAuthorizationEndpoint(req); err != nil {
		return err
	}
	if req.Client.ID != "" { // one of our own registration is registered with the port of the moment
		if _, err := f.RedirectURI(s.Issuer, f.opts.Desk.Port()); err != nil {
			return err
		}
	}
	return f.canGetClient(req)
}

func checkSilent(req Request) error {
	switch {
	case req.stepsUp():
		return &UnsupportedError{Issuer: req.Server.Issuer, What: "the " + req.Grant + " grant with a person, whose sign-in " + req.Origin.String() + " demands",
			Remedy: `set the site's oauth.grant to "authorization_code"`}
	case req.Grant != ClientCredentials:
		return checkSubject(req)
	case req.Client.ID == "":
		return &ClientError{Issuer: req.Server.Issuer, Reason: "the client_credentials grant needs a client registered beforehand",
			Remedy: "register a client there that may use this grant, then set " + issuerKey(req.Server.Issuer, "client_id") + " and, beside it, client_secret or private_key in the config"}
	}
	return nil
}

// checkPKCE refuses a server that does not say it supports S256 (MCP authorization, RFC 9700
// §2.1.1). Some that do support it do not say so; S256 is sent always.
func (f *Flows) checkPKCE(req Request) error {
	issuer := req.Server.Issuer
	if slices.Contains(req.Server.CodeChallengeMethodsSupported, "S256") || f.Settings(issuer).PKCE == "unadvertised" {
		return nil
	}
	return &UnsupportedError{Issuer: issuer, What: "PKCE with S256 (code_challenge_methods_supported)",
		Remedy: "ask its operator to announce PKCE; if it works without being announced, set " + issuerKey(issuer, "pkce") + `: "unadvertised" in the config`}
}

// checkAuthorizationEndpoint refuses a server that nobody configured when it sends people to sign in
// on another site than its own: they would give that site's code to this server (RFC 9700 §4.4).
func checkAuthorizationEndpoint(req Request) error {
	if req.Trusted {
		return nil
	}
	at, err := origin.OfURL(req.Server.AuthorizationEndpoint)
	if err != nil {
		return err
	}
	own, err := origin.OfURL(req.Server.Issuer)
	if err != nil {
		return err
	}
	if at.Site() == own.Site() {
		return nil
	}
	return &UnsupportedError{Issuer: req.Server.Issuer, What: "a sign-in page on its own site: it leads to " + at.String(),
		Remedy: "if that is right, name the issuer in the site's oauth.issuer"}
}
