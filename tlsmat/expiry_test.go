package tlsmat

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestPoints(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		want     []time.Duration
	}{
		{"an hour", hour, []time.Duration{6 * time.Minute}},
		{"a day", oneDay, []time.Duration{144 * time.Minute}},
		{"a week", 7 * oneDay, []time.Duration{16*hour + 48*time.Minute}},
		{"two weeks", 14 * oneDay, []time.Duration{7 * oneDay, 33*hour + 36*time.Minute}},
		{"47 days", 47 * oneDay, []time.Duration{7 * oneDay, 112*hour + 48*time.Minute}},
		{"70 days", 70 * oneDay, []time.Duration{30 * oneDay, 7 * oneDay}},
		{"90 days", 90 * oneDay, []time.Duration{30 * oneDay, 9 * oneDay, 7 * oneDay}},
		{"a year", 365 * oneDay, []time.Duration{30 * oneDay, 7 * oneDay}},
		{"ten years", 3650 * oneDay, []time.Duration{30 * oneDay, 7 * oneDay}},
	} {
		if diff := cmp.Diff(tt.want, points(tt.lifetime)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestStagesOfExpiry(t *testing.T) {
	type point struct {
		left time.Duration
		name string
	}
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		points   []point
	}{
		{"90 days", 90 * oneDay, []point{
			{90 * oneDay, ""}, {31 * oneDay, ""}, {30 * oneDay, "720h0m0s"}, {10 * oneDay, "720h0m0s"},
			{9 * oneDay, "216h0m0s"}, {7 * oneDay, "168h0m0s"}, {time.Minute, "168h0m0s"}, {-time.Second, "expired"}}},
		{"24 hours", oneDay, []point{
			{oneDay, ""}, {3 * time.Hour, ""}, {2 * time.Hour, "2h24m0s"}, {-time.Second, "expired"}}},
	} {
		end := time.Now().Add(tt.lifetime).Truncate(time.Second).UTC()
		p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "a", Client: true, NotBefore: end.Add(-tt.lifetime), NotAfter: end})
		m := load(t, p)
		if got, ok := m.Expiry(); !ok || !got.Equal(end) {
			t.Errorf("%s: Expiry = %v, %v, want %v", tt.name, got, ok, end)
		}
		for _, at := range tt.points {
			s := m.expiryStage(end.Add(-at.left))
			if s.name != at.name || (s.says == "") != (at.name == "") || s.fails != (at.name == "expired") {
				t.Errorf("%s, %v left: %q, want %q (%s)", tt.name, at.left, s.name, at.name, s.says)
			}
		}
	}
}

func TestAnIntermediateThatEndsFirst(t *testing.T) {
	now := time.Now()
	root := newAuthority(t, "Root", func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) }) // sent, but of no interest
	issuing := root.intermediate(t, "Issuing", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-100*oneDay), now.Add(3*oneDay) })
	client := issuing.server(t, func(c *x509.Certificate) {
		c.NotAfter, c.ExtKeyUsage = now.Add(300*oneDay), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "all.pem", encode("PRIVATE KEY", key), encode("CERTIFICATE", client.Leaf.Raw), issuing.pem(), root.pem())
	m := loadEntry(t, Entry{Cert: file})
	if got, _ := m.Expiry(); !got.Equal(issuing.cert.NotAfter) {
		t.Errorf("Expiry = %v, want the intermediate's %v", got, issuing.cert.NotAfter)
	}
	if c := check(t, m, "dates"); !c.OK || !c.Warn || !strings.Contains(c.Result, `the intermediate certificate "CN=Issuing" expires on`) {
		t.Errorf("%+v", c)
	}
}

func TestNoExpiryWithoutCertificate(t *testing.T) {
	var none *Material
	for _, m := range []*Material{none, load(t, nil, tlstest.NewCA("CA").PEM())} {
		if _, ok := m.Expiry(); ok || m.expiryStage(time.Now().Add(1000*oneDay)).name != "" {
			t.Error("nothing expires")
		}
	}
}
