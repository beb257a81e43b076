package outbound

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// startRaw serves TLS connections by hand. It counts them, and asks for a certificate.
func startRaw(t *testing.T, protocol string, serve func(*tls.Conn)) (url string, connections *atomic.Int32) {
	t.Helper()
	config := &tls.Config{
		Certificates: []tls.Certificate{testCA().Issue(tlstest.Leaf{CN: "server", Hosts: []string{"127.0.0.1"}}).Cert},
		ClientAuth:   tls.RequestClientCert, NextProtos: []string{protocol},
	}
	connections = new(atomic.Int32)
	l := listen(t, func(c net.Conn) {
		connections.Add(1)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			serve(s)
		}
	})
	return "https://" + l.Addr().String() + "/", connections
}

// An HTTP/2 server that is always about to go away has every request made again on a connection of its
// own; each would be a handshake with our certificate.
func TestOneRequestMakesFewConnections(t *testing.T) {
	settings, goAway := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}, []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for name, stays := range map[string]bool{"and stays": true, "and closes": false} {
		t.Run(name, func(t *testing.T) {
			url, connections := startRaw(t, "h2", func(c *tls.Conn) {
				_, _ = c.Write(append(settings, goAway...))
				if stays {
					_ = c.SetDeadline(time.Now().Add(time.Second))
					_, _ = io.Copy(io.Discard, c)
				}
				_ = c.Close()
			})
			m := clientMaterial(t, "client")
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
			if err := fetch(tr, newRequest(t, "alice", http.MethodGet, url, "")); err == nil {
				t.Error("no error")
			}
			if n := connections.Load(); n > maxDials+1 { // one more for the question why
				t.Errorf("one request made %d connections", n)
			}
		})
	}
}

// Requests that waited for a connection while the certificate was renewed go out with the new one.
func TestQueuedRequestsUseWhatIsCurrent(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	begin := make(chan struct{})
	url, connections := startRaw(t, "http/1.1", func(c *tls.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return
		}
		<-begin
		mu.Lock()
		seen[c.ConnectionState().PeerCertificates[0].Subject.CommonName]++
		mu.Unlock()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
	})
	var current atomic.Pointer[tlsmat.Material]
	current.Store(clientMaterial(t, "old"))
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return current.Load() }})
	const requests, slots = 40, 16
	var all sync.WaitGroup
	for i := range requests {
		body := ""
		if i%2 == 0 {
			body = "form" // which is sent again with the request
		}
		all.Go(func() {
			if err := fetch(tr, newRequest(t, "alice", http.MethodPost, url, body)); err != nil {
				t.Error(err)
			}
		})
	}
	for connections.Load() < slots {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // the others are in the queue
	current.Store(clientMaterial(t, "new"))
	close(begin)
	all.Wait()
	if seen["old"] != slots || seen["new"] != requests-slots {
		t.Errorf("seen were %v, want %d with the old certificate and the rest with the new one", seen, slots)
	}
}

// However many people ask, a server that hangs up is asked why once.
func TestOneProbeForAll(t *testing.T) {
	url, connections := startRaw(t, "http/1.1", func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_ = c.NetConn().(*net.TCPConn).SetLinger(0)
		_ = c.NetConn().Close()
	})
	m := clientMaterial(t, "client")
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	const people = 30
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			if err := fetch(tr, newRequest(t, principal.ID(fmt.Sprint("person ", i)), http.MethodPost, url, "")); err == nil {
				t.Error("no error")
			}
		})
	}
	all.Wait()
	if n := connections.Load(); n > people+people/3 { // a probe counts for a second; a slow machine needs a few
		t.Errorf("%d requests made %d connections", people, n)
	}
}
