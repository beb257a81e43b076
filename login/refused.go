package login

import "github.com/mcp-authfetch/mcp-authfetch/action"

// ClientRefusedError: an authorization server does not take the client that the configuration names.
// Signing in again would fare no better, and nothing that was stored is lost.
type ClientRefusedError struct {
	Issuer string
	Err    error // what it answered
}

func (e *ClientRefusedError) Error() string {
	return action.ShowIssuer(e.Issuer) + " does not accept the configured client: " + e.Err.Error()
}
func (e *ClientRefusedError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *ClientRefusedError) Code() string { return "oauth.invalid_client" }

// Hint says what to do.
func (e *ClientRefusedError) Hint() string {
	return "check client_id, client_secret, private_key and token_endpoint_auth_method under " + issuerKey(e.Issuer, "") + " in the config"
}
