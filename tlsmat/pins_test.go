package tlsmat

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPins(t *testing.T) {
	root := newAuthority(t, "Root")
	issuing := root.intermediate(t, "Issuing")
	stranger := newAuthority(t, "Stranger")
	server := issuing.server(t)
	server.Certificate = append(server.Certificate, stranger.cert.Raw) // sent, but in no verified chain
	ca := write(t, "ca.pem", root.pem())
	for _, tt := range []struct {
		name string
		pins []string
		ok   bool
	}{
		{"of the server", []string{Pin(server.Leaf)}, true},
		{"of its intermediate", []string{Pin(issuing.cert)}, true},
		{"of its root", []string{Pin(root.cert)}, true},
		{"one of several", []string{Pin(stranger.cert), Pin(server.Leaf)}, true},
		{"of what is only sent", []string{Pin(stranger.cert)}, false},
		{"none", nil, true},
		{"an empty list", []string{}, true},
	} {
		for name, version := range versions {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				m := loadEntry(t, Entry{CA: []string{ca}, CAOnly: true, Pins: tt.pins})
				addr, got := present(t, version, server)
				err := dial(t, addr, m.TLSConfig("127.0.0.1"))
				s := <-got
				if tt.ok {
					if err != nil || s.err != nil {
						t.Errorf("client %v, server %v", err, s.err)
					}
					return
				}
				var pin *PinError
				if !errors.As(err, &pin) {
					t.Fatalf("error %v, want a PinError", err)
				}
				if version == tls.VersionTLS12 && s.err == nil {
					t.Error("the server got through")
				}
				if diff := cmp.Diff(&PinError{refusal: pin.refusal, Want: tt.pins, Got: Pin(server.Leaf)}, pin, cmp.AllowUnexported(PinError{}, refusal{})); diff != "" {
					t.Error(diff)
				}
				if pin.Code() != "tls.pin_mismatch" || !strings.Contains(pin.Hint(), "mtls.corp.pins") || !strings.Contains(pin.Error(), Pin(server.Leaf)) {
					t.Errorf("%s: %v; %s", pin.Code(), pin, pin.Hint())
				}
			})
		}
	}
}

// What is checked here is checked for resumed sessions too, where no certificate is sent.
func TestPinsHoldForResumedSessions(t *testing.T) {
	root := newAuthority(t, "Root")
	server := root.server(t)
	ca := write(t, "ca.pem", root.pem())
	right := loadEntry(t, Entry{CA: []string{ca}, CAOnly: true, Pins: []string{Pin(server.Leaf)}})
	wrong := loadEntry(t, Entry{CA: []string{ca}, CAOnly: true, Pins: []string{Pin(newAuthority(t, "Other").cert)}})
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			addr, got := present(t, version, server)
			resume(t, addr, got, right, wrong, func(err error) bool {
				var pin *PinError
				return errors.As(err, &pin)
			})
		})
	}
}

// resume starts a session with one material, resumes it with the same, and then, which nobody must
// do, with another that refuses the server.
func resume(t *testing.T, addr string, got <-chan served, right, wrong *Material, refused func(error) bool) {
	t.Helper()
	cache := tls.NewLRUClientSessionCache(0)
	var resumed []bool
	for i, m := range []*Material{right, right, wrong} {
		config := m.TLSConfig("127.0.0.1")
		config.ClientSessionCache = cache
		err := dial(t, addr, config)
		s := <-got
		resumed = append(resumed, s.state.DidResume)
		if i < 2 && (err != nil || s.err != nil) {
			t.Errorf("handshake %d: client %v, server %v", i, err, s.err)
		}
		if i == 2 && !refused(err) {
			t.Errorf("resumed all the same: %v", err)
		}
	}
	if diff := cmp.Diff([]bool{false, true, true}, resumed); diff != "" {
		t.Error(diff)
	}
}

func TestPinsAreCheckedWhenLoaded(t *testing.T) {
	root := newAuthority(t, "Root")
	ca := write(t, "ca.pem", root.pem())
	good := Pin(root.cert)
	for _, tt := range []struct{ name, pin string }{
		{"one slash", strings.Replace(good, "//", "/", 1)},
		{"no prefix", strings.TrimPrefix(good, pinPrefix)},
		{"too short", pinPrefix + "AAAA"},
		{"hexadecimal", pinPrefix + spki(root.cert)},
		{"unpadded", strings.TrimSuffix(good, "=")},
		{"two in one", good + ";" + good},
		{"unsafe to print", "\x1b[31m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := loadErr(t, Entry{Name: "corp", CA: []string{ca}, Pins: []string{good, tt.pin}})
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Code() != "tls.pins" || !strings.HasPrefix(err.Error(), "mtls.corp.pins: entry 2 ") || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%s: %q", err.Code(), err)
			}
		})
	}
}

// The form is that of curl's --pinnedpubkey.
func TestPinIsWhatOpenSSLMakes(t *testing.T) {
	root := newAuthority(t, "Root")
	dir := t.TempDir()
	cert := write(t, "root.pem", root.pem())
	openssl(t, "x509", "-in", cert, "-noout", "-pubkey", "-out", dir+"/public.pem")
	openssl(t, "pkey", "-pubin", "-in", dir+"/public.pem", "-outform", "der", "-out", dir+"/public.der")
	openssl(t, "dgst", "-sha256", "-binary", "-out", dir+"/digest", dir+"/public.der")
	openssl(t, "base64", "-in", dir+"/digest", "-out", dir+"/pin")
	if got, want := Pin(root.cert), pinPrefix+strings.TrimSpace(readAll(t, dir+"/pin")); got != want {
		t.Errorf("Pin = %s, openssl %s", got, want)
	}
}

// Authorities that certify each other make several chains; the pinned key may be in any of them.
func TestPinInTheSecondChain(t *testing.T) {
	old, young := newAuthority(t, "Old"), newAuthority(t, "Young")
	crossed := &authority{cert: sign(t, authorityTemplate("Young", nil), young.key.Public(), old), key: young.key, above: []*authority{old}}
	m := loadEntry(t, Entry{CA: []string{write(t, "ca.pem", old.pem(), young.pem())}, CAOnly: true, Pins: []string{Pin(old.cert)}})
	addr, got := present(t, tls.VersionTLS13, crossed.server(t))
	if err := dial(t, addr, m.TLSConfig("127.0.0.1")); err != nil {
		t.Error(err)
	}
	<-got
}
