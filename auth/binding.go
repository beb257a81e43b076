package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// useNonce is the error of a server that wants its nonce in the proof (RFC 9449 §9).
const useNonce = "use_dpop_nonce"

func isDPoP(tok *tokenstore.Token) bool {
	return tok != nil && strings.EqualFold(tok.TokenType, "DPoP")
}

// authorize puts tok into the request, with a proof where it is bound to a key (RFC 9449 §7.1).
func (t *Transport) authorize(w *work, out *http.Request, tok *tokenstore.Token, nonce string) (proof secret.Text, err error) {
	key, err := t.holder(out.Context(), w, tok)
	if err != nil {
		return secret.Text{}, err
	}
	if key == nil {
		out.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal())
		return secret.Text{}, nil
	}
	signed, err := key.Proof(method(out), out.URL, nonce, tok.AccessToken)
	if err != nil {
		return secret.Text{}, err
	}
	out.Header.Set("Authorization", "DPoP "+tok.AccessToken.Reveal())
	out.Header.Set("DPoP", signed)
	return secret.New(signed), nil
}

func method(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}

// holder returns the key that proves who may use tok, nil where it asks for no proofs. The error is
// a [*BindingError] where tok is bound to a key that is lost, or to a certificate that is not the one
// which its origin is shown (RFC 8705 §3).
func (t *Transport) holder(ctx context.Context, w *work, tok *tokenstore.Token) (*dpop.Key, error) {
	if want := tok.CertificateThumbprint; want != "" && want != t.thumbprint(w) {
		return nil, &BindingError{Origin: w.origin, Issuer: tok.Issuer, To: "client certificate"}
	}
	if !isDPoP(tok) {
		return nil, nil
	}
	key, err := t.opts.Login.ProofKey(ctx, w.principal, tok.Issuer)
	if err != nil {
		return nil, err
	}
	if key.Thumbprint() != tok.KeyThumbprint {
		return nil, &BindingError{Origin: w.origin, Issuer: tok.Issuer, To: "key"}
	}
	return key, nil
}

// isUsable reports whether we hold what tok is bound to.
func (t *Transport) isUsable(ctx context.Context, w *work, tok *tokenstore.Token) (bool, error) {
	_, err := t.holder(ctx, w, tok)
	var bound *BindingError
	if errors.As(err, &bound) {
		return false, nil
	}
	return err == nil, err
}

// thumbprint is that of the certificate which the origin is shown (RFC 8705 §3.1), "" without one.
func (t *Transport) thumbprint(w *work) string {
	return tlsmat.Thumbprint(t.opts.Certificate(w.origin))
}

// asksForNonce reports whether the server took no offence but at the nonce of the proof.
func asksForNonce(resp *http.Response, tok *tokenstore.Token) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	said, _ := oauth(challenge.Parse(resp.Header.Values("Www-Authenticate")), tok)
	return said.Is("DPoP") && said.Params["error"] == useNonce
}
