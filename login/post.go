package login

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const (
	maxAnswer   = 64 << 10         // of a token, registration or device authorization endpoint
	postTimeout = 10 * time.Second // of one request to them
)

// call is where a request to an authorization server goes, and for whom.
type call struct {
	principal  principal.ID
	issuer     string // audience of client assertions (RFC 7523 §3)
	endpoint   string
	key        *dpop.Key // to prove with each request; nil: none
	algorithms []string  // that the server takes of client assertions; nil: not known
	configured bool      // the client is one of the configuration
}

// tokenType is what the answer to a request with or without a proof must be (RFC 9449 §5). Less
// would be a downgrade: a token that others can use, too.
func (c call) tokenType() string {
	if c.key != nil {
		return "DPoP"
	}
	return "Bearer"
}

// refusal is err, or says that it is the configuration which has to change.
func (c call) refusal(err error) error {
	if c.configured && isUnknownClient(err) {
		return &ClientRefusedError{Issuer: c.issuer, Err: err}
	}
	return err
}

// reply is an answer of an authorization server. Of an unusable one only the header is set.
type reply struct {
	status int
	header http.Header
	body   []byte
	sent   []secret.Text // what the request held that no error may repeat
}

// fail reads an error answer to c.
func (c call) fail(r reply) error {
	return c.refusal(parseError(c.endpoint, r.status, r.body, r.sent...))
}

// sendForm sends a form to an endpoint that authenticates the client (RFC 6749 §2.3). Where the
// server wants its nonce in the proof the request is sent once more; that it was refused for this
// has used up nothing in the form (RFC 9449 §8).
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
		r, err := f.send(ctx, to, header, values.Encode())
		r.sent = confidential(c, values, header)
		another := to.key != nil && f.noteNonce(to, r.header, nonce)
		if err == nil && first && another && wantsNonce(r) {
			continue
		}
		return r, err
	}
}

// concealed are the parameters whose values never stand in an error.
var concealed = []string{"code", "code_verifier", "refresh_token", "device_code", "assertion", "subject_token", "actor_token", "client_secret", "client_assertion", "token", "state"}

// confidential is what a request holds that no error may repeat: some servers echo it.
func confidential(c Credentials, values url.Values, header http.Header) []secret.Text {
	all := []secret.Text{c.Secret, secret.New(header.Get("Authorization")), secret.New(header.Get("DPoP"))}
	for _, name := range concealed {
		all = append(all, secret.New(values.Get(name)))
	}
	return all
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

// maySend asks whether a request may be sent, as the rules are now: metadata was read, and a token
// obtained, a while ago.
func (f *Flows) maySend(ctx context.Context, to call) error {
	return f.opts.MaySend(principal.With(ctx, to.principal), to.issuer, to.endpoint)
}

// send sends a body. The answer must be JSON. Redirects are never followed: the body holds codes,
// verifiers and secrets (RFC 9700 §4.12).
func (f *Flows) send(ctx context.Context, to call, header http.Header, body string) (reply, error) {
	ctx, cancel := context.WithTimeout(principal.With(ctx, to.principal), postTimeout)
	defer cancel()
	if err := f.maySend(ctx, to); err != nil {
		return reply{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.endpoint, strings.NewReader(body))
	if err != nil {
		return reply{}, unusableURL(to.endpoint)
	}
	req.Header = header
	req.Header.Set("Accept", "application/json")
	resp, err := f.opts.Transport.RoundTrip(req)
	if err != nil {
		return reply{}, fmt.Errorf("asking %s: %w", shownEndpoint(to.endpoint), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	unusable := func(reason string) (reply, error) {
		return reply{header: resp.Header}, &TokenError{
			Endpoint: shownEndpoint(to.endpoint), Status: resp.StatusCode, Reason: reason, retryAfter: retryAfter(resp.Header),
		}
	}
	switch {
	case err != nil:
		return reply{header: resp.Header}, fmt.Errorf("reading the answer of %s: %w", shownEndpoint(to.endpoint), err)
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
	return reply{status: resp.StatusCode, header: resp.Header, body: answer}, nil
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
