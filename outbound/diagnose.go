package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// diagnoseWait is how long [Transport.Diagnose] waits for a server to refuse what it was shown.
const diagnoseWait = time.Second

// Report is how far [Transport.Diagnose] came.
type Report struct {
	// Proxy is the proxy on the way and the setting that names it, such as "the proxy
	// 192.0.2.1:3128 (network.proxy)"; "": there is none.
	Proxy string
	// Steps are those that were made, in order. Only the last can have failed.
	Steps []Step
}

// Err is why the last step failed, nil when none did.
func (r *Report) Err() error {
	if len(r.Steps) == 0 {
		return nil
	}
	return r.Steps[len(r.Steps)-1].Err
}

// Step is one step towards an origin. Its texts are single lines fit to print.
type Step struct {
	// Name is "tcp", "proxy tls" (the handshake with an https proxy), "proxy" (the tunnel through
	// it, for https origins) or "tls".
	Name string
	// Says is what was reached or agreed on: an address and port, a TLS version. "" where the step failed
	// before there was anything.
	Says string
	// Handshake is what a TLS step showed, also one that failed; nil for other steps.
	Handshake *Handshake
	// Err is why the step failed, explained, with Code and Hint; nil: it did not.
	Err error
}

// Facts are the lines to show below the step.
func (s Step) Facts() []string {
	if s.Handshake == nil {
		return nil
	}
	return s.Handshake.Facts()
}

// Diagnose goes towards an origin as a request would, on connections of its own, up to the TLS
// handshake or the first step that fails. No TLS session is resumed, no request is sent, and a
// second is left to a server that refuses the certificate after the handshake, as TLS 1.3 has it.
func (t *Transport) Diagnose(ctx context.Context, to origin.Origin) *Report {
	r := &Report{}
	rules, err := t.rules(ctx, to)
	if err != nil {
		r.add("tcp", "", nil, err)
		return r
	}
	k := key{who: principal.From(ctx), to: to, proxy: t.proxy(to), rules: rules}
	k.material, k.proxyMaterial = t.materials(to, k.proxy)
	e := t.newEntry(k)
	if k.proxy == nil {
		if raw := r.tcp(ctx, to.HostPort(), func() (net.Conn, error) { return t.dialOrigin(ctx, e) }, e); raw != nil {
			t.diagnoseOrigin(ctx, r, e, raw)
		}
		return r
	}
	r.Proxy = sanitize.Line(k.proxy.String()+" ("+k.proxy.setting()+")", 300)
	if err := t.guard.Check(ctx, nil, to.Host(), to.Port(), rules); err != nil {
		r.add("tcp", "", nil, classify(ctx, &record{to: to}, err))
		return r
	}
	t.diagnoseProxy(ctx, r, e)
	return r
}

// diagnoseProxy takes the steps through a proxy.
func (t *Transport) diagnoseProxy(ctx context.Context, r *Report, e *entry) {
	dial := func() (net.Conn, error) { return t.dialProxyTCP(ctx, e.key.proxy) }
	raw := r.tcp(ctx, e.key.proxy.At.HostPort(), dial, e)
	if raw == nil {
		return
	}
	if e.proxy != nil {
		h, seen, err := t.examine(ctx, e.proxy, e.key.proxy.String(), raw, e.key.proxyMaterial)
		if err != nil {
			err = t.proxyTrouble(ctx, e, seen, err)
		}
		if r.add("proxy tls", h.Version, h, err); err != nil {
			return
		}
	} else {
		raw.Close()
	}
	if e.origin == nil {
		return
	}
	raw, err := t.tunnel(ctx, e)
	if r.add("proxy", "it connects to "+e.key.to.HostPort(), nil, err); err != nil {
		return
	}
	t.diagnoseOrigin(ctx, r, e, raw)
}

// proxyTrouble explains why the handshake with a proxy failed.
func (t *Transport) proxyTrouble(ctx context.Context, e *entry, seen *tlsmat.Seen, err error) error {
	if f := explainProxy(err, e, seen); f != nil && !stopped(err) {
		return f
	}
	return e.key.proxy.failed(ctx, err)
}

// tcp is the first step. It returns nil where it failed.
func (r *Report) tcp(ctx context.Context, target string, dial func() (net.Conn, error), e *entry) net.Conn {
	raw, err := dial()
	if err != nil {
		r.add("tcp", "", nil, classify(ctx, &record{to: e.key.to, entry: e}, err))
		return nil
	}
	says := "connected to " + target
	if at := raw.RemoteAddr().String(); at != target {
		says += " at " + at
	}
	r.add("tcp", says, nil, nil)
	return raw
}

// diagnoseOrigin is the handshake with an https origin; with an http origin there is nothing more to do.
func (t *Transport) diagnoseOrigin(ctx context.Context, r *Report, e *entry, raw net.Conn) {
	if e.origin == nil {
		raw.Close()
		return
	}
	h, seen, err := t.examine(ctx, e.origin, e.authority, raw, e.key.material)
	if err != nil {
		var f *tlsfault.Failure
		if !stopped(err) {
			f = explainOrigin(err, e, seen)
		}
		if err = classify(ctx, &record{to: e.key.to}, err); f != nil {
			err = f
		}
	}
	r.add("tls", h.Version, h, err)
}

func (r *Report) add(name, says string, h *Handshake, err error) {
	if err != nil && h == nil {
		says = ""
	}
	r.Steps = append(r.Steps, Step{Name: name, Says: sanitize.Line(says, 300), Handshake: h, Err: err})
}

// examine makes a full handshake with p, who is called whom, and describes it.
func (t *Transport) examine(ctx context.Context, p *peer, whom string, raw net.Conn, m *tlsmat.Material) (*Handshake, *tlsmat.Seen, error) {
	seen := new(tlsmat.Seen)
	var state tls.ConnectionState
	err := t.limits.keep(ctx, whom, seen, func(ctx context.Context) (err error) {
		state, err = p.listen(ctx, raw, seen, diagnoseWait)
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	})
	h := &Handshake{Asked: seen.Asked(), Authorities: seen.AcceptableCAs(), Configured: m.Leaf() != nil, Fits: seen.Fits(), Sent: seen.Sent(),
		ALPN: sanitize.Line(state.NegotiatedProtocol, 20)}
	if state.Version != 0 {
		h.Version = tls.VersionName(state.Version)
	}
	if state.CipherSuite != 0 {
		h.Cipher = tls.CipherSuiteName(state.CipherSuite)
	}
	chain := state.PeerCertificates
	var refused *tls.CertificateVerificationError
	if errors.As(err, &refused) {
		chain = refused.UnverifiedCertificates
	}
	for _, c := range chain {
		h.Chain = append(h.Chain, describeCertificate(c))
	}
	return h, seen, err
}
