package outbound

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// TestRenewedWhileAdmitted: the material changes between the moment a request is let in and the
// moment it is sent, which resolving a name or asking a person can make long. It goes with the new
// one, on the connection of those who came later.
func TestRenewedWhileAdmitted(t *testing.T) {
	site := newSite(t, true, askForCertificate())
	current, next := clientMaterial(t, "first"), clientMaterial(t, "second")
	var tr *Transport
	renewed := false
	tr = newTransport(t, Options{
		Material: func(origin.Origin) *tlsmat.Material { return current },
		Rules: func(ctx context.Context, _ origin.Origin) (netguard.Rules, error) {
			if !renewed {
				renewed, current = true, next
				do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL+"/later", ""))
			}
			return netguard.Rules{Loopback: true}, nil
		},
	})
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL+"/earlier", ""))
	var got []string
	for _, r := range site.all() {
		got = append(got, r.URI+" "+r.cn)
	}
	if d := cmp.Diff([]string{"/later second", "/earlier second"}, got); d != "" {
		t.Errorf("the server saw (-want +got):\n%s", d)
	}
	if n := site.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestProxyChanged: another proxy, or another certificate for it, is another way, for which the
// connections of the former one are not used.
func TestProxyChanged(t *testing.T) {
	site := newSite(t, false, askForCertificate())
	a, b := newTestProxy(t), newSecureProxy(t, nil)
	way := map[string]*Proxy{"a": a.proxy(t, nil)(origin.Origin{}), "b": b.proxy(t, nil)(origin.Origin{})}
	m, proxyMaterial := clientMaterial(t, "client"), clientMaterial(t, "proxy client 1")
	way["b"].Material = func() *tlsmat.Material { return proxyMaterial }
	current := "a"
	tr := newTransport(t, Options{Rules: loopback, Proxy: func(origin.Origin) *Proxy { return way[current] },
		Material: func(origin.Origin) *tlsmat.Material { return m }})
	get := func() { do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, "")) }

	get()
	current = "b"
	get()
	waitFor(t, "the connection through the former proxy to close", func() bool { return site.open() == 1 })
	get()
	proxyMaterial = clientMaterial(t, "proxy client 2")
	get()
	get()
	waitFor(t, "the connection with the former certificate to close", func() bool { return site.open() == 1 })
	if got := len(a.received()); got != 1 {
		t.Errorf("the first proxy made %d tunnels, want 1", got)
	}
	if d := cmp.Diff([]string{"proxy client 1", "proxy client 2"}, b.certificates()); d != "" {
		t.Errorf("the second proxy saw the certificates (-want +got):\n%s", d)
	}
	if n := len(tr.pool.entries); n != 1 {
		t.Errorf("%d transports, want 1", n)
	}
}

// TestProxyChangedWhileAdmitted: a request that was let in for the former proxy goes by it, and
// leaves the transport of the new way alone.
func TestProxyChangedWhileAdmitted(t *testing.T) {
	site := newSite(t, false, askForCertificate())
	a, b := newTestProxy(t), newTestProxy(t)
	former, current := a.proxy(t, nil)(origin.Origin{}), b.proxy(t, nil)(origin.Origin{})
	m := clientMaterial(t, "client")
	answers := []*Proxy{current}
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m },
		Proxy: func(origin.Origin) *Proxy {
			p := answers[0]
			if len(answers) > 1 {
				answers = answers[1:]
			}
			return p
		}})
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
	answers = []*Proxy{former, current} // when it is admitted, and when it is sent
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
	if got := len(a.received()); got != 1 {
		t.Errorf("the former proxy made %d tunnels, want 1", got)
	}
	if got := len(b.received()); got != 1 {
		t.Errorf("the current proxy made %d tunnels, want 1", got)
	}
	waitFor(t, "the connection through the former proxy to close", func() bool { return site.open() == 1 })
}

// TestDrain: of a transport that was replaced, connections without a stream end at once, and each
// stream ends its own.
func TestDrain(t *testing.T) {
	hold := map[string]chan struct{}{"/a": make(chan struct{}), "/b": make(chan struct{})}
	site := newSite(t, false, askForCertificate())
	site.handle = func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		if c := hold[r.URL.Path]; c != nil {
			<-c
		}
		_, _ = io.WriteString(w, "ok")
	}
	m := clientMaterial(t, "first")
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	open := func(path string) *http.Response {
		resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL+path, ""))
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	a, b, idle := open("/a"), open("/b"), open("/idle")
	_, _ = io.Copy(io.Discard, idle.Body)
	idle.Body.Close()
	if n := site.open(); n != 3 {
		t.Fatalf("%d connections, want 3", n)
	}
	m = clientMaterial(t, "second")
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
	waitFor(t, "the idle connection to close", func() bool { return site.open() == 3 }) // two streams and the new one
	for i, resp := range []*http.Response{a, b} {
		close(hold[resp.Request.URL.Path])
		if got, err := io.ReadAll(resp.Body); string(got) != "ok" {
			t.Errorf("stream %d: %q, %v", i, got, err)
		}
		resp.Body.Close()
		waitFor(t, "the connection of a stream that ended to close", func() bool { return site.open() == 2-i })
	}
}
