package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestTextIsNeverPrinted(t *testing.T) {
	const canary = "canary-7f3a"
	type holder struct {
		Token Text
		inner Text
		P     *Text
	}
	s := New(canary)
	h := holder{Token: s, inner: s, P: &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		if verb == "%T %v" {
			fmt.Fprintf(&out, verb, s, s)
			continue
		}
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []Text{s})
		fmt.Fprintf(&out, verb+"\n", map[string]Text{"k": s})
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("m", "secret", s, "holder", h)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "secret", s, "holder", h)

	hexed := fmt.Sprintf("%x", canary)
	for _, form := range []string{canary, hexed, strings.ToUpper(hexed)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("output contains the secret as %q:\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), Redacted) {
		t.Errorf("output does not say %s", Redacted)
	}
	if got := s.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"", "", true}} {
		if got := New(tt.a).Equal(tt.b); got != tt.want {
			t.Errorf("New(%q).Equal(%q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
	if !(Text{}).IsZero() || New("x").IsZero() {
		t.Error("IsZero is wrong")
	}
}
