package tlsmat

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// slowKey takes its time to sign.
type slowKey struct {
	crypto.Signer
	takes time.Duration
	err   error
}

func (k slowKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	time.Sleep(k.takes)
	if k.err != nil {
		return nil, k.err
	}
	return k.Signer.Sign(rand, digest, opts)
}

// A person may have to touch a token. Who waits can see that, and need not wait for ever.
func TestSlowKey(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	refused := errors.New("nobody touched it")
	for version, number := range versions {
		for _, tt := range []struct {
			name    string
			takes   time.Duration
			refused error
			limit   time.Duration // of the handshake
			sent    bool
			signs   bool // to the end, as far as is known
			err     error
		}{
			{"in time", 25 * time.Second, nil, time.Minute, true, false, nil},
			{"too late", 25 * time.Second, nil, 10 * time.Second, false, true, context.DeadlineExceeded},
			{"refused", 25 * time.Second, refused, time.Minute, false, false, refused},
		} {
			t.Run(version+", "+tt.name, func(t *testing.T) {
				m := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM())
				m.cert.PrivateKey = slowKey{m.cert.PrivateKey.(crypto.Signer), tt.takes, tt.refused}
				config := servers.ServerConfig("site.test")
				config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, number // it is the year 2000 in the bubble
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					defer func() { _ = ours.Close() }()
					go func() {
						_ = tls.Server(theirs, config).Handshake()
						_, _ = io.Copy(io.Discard, theirs)
					}()
					ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
					defer cancel()
					seen, begun := &Seen{}, time.Now()
					client := m.TLSConfig("site.test")
					client.InsecureSkipVerify, client.VerifyConnection = true, nil
					go func() {
						time.Sleep(5 * time.Second)
						if now, took := seen.Signing(); !now || took != 5*time.Second || seen.Sent() {
							t.Errorf("on the way: signing %v for %v, sent %v", now, took, seen.Sent())
						}
					}()
					err := tls.Client(ours, client).HandshakeContext(WithSeen(ctx, seen))
					if tt.err == nil && err != nil || tt.err == context.DeadlineExceeded && err != tt.err || tt.err == refused && seen.SignError() != refused {
						t.Errorf("error %v, want %v", err, tt.err)
					}
					if after := time.Since(begun); after != min(tt.takes, tt.limit) {
						t.Errorf("it took %v", after)
					}
					if now, took := seen.Signing(); now != tt.signs || took != min(tt.takes, tt.limit) || seen.Sent() != tt.sent {
						t.Errorf("signing %v for %v, sent %v", now, took, seen.Sent())
					}
					time.Sleep(time.Minute) // for the key that nobody waits for
				})
			})
		}
	}
}

func TestKeyElsewhere(t *testing.T) {
	ca := tlstest.NewCA("CA")
	fromFile := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	in := func(field string) *Material { return &Material{cert: fromFile.cert, certFrom: certPlace{field: field}} }
	for _, tt := range []struct {
		name string
		m    *Material
		want bool
	}{
		{"nothing", nil, false},
		{"roots", load(t, nil, ca.PEM()), false},
		{"file", fromFile, false},
		{"signer", in("signer"), true},
		{"signer with the chain in a file", in("cert"), true},
		{"token", in("key"), true},
		{"Workload API, which gives the key", in("spiffe"), false},
	} {
		if got := tt.m.KeyElsewhere(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
