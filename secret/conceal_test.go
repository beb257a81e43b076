package secret

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func TestConceal(t *testing.T) {
	const odd = "a b+c/d?e>f~\xfe"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:hunter22/7"))
	for _, tt := range []struct {
		name     string
		secrets  []string
		in, want string
	}{
		{"none", nil, "text", "text"},
		{"plain", []string{"canary"}, "a canary, canary", "a [redacted], [redacted]"},
		{"four bytes", []string{"abcd"}, "xabcdx", "x[redacted]x"},
		{"three bytes", []string{"abc"}, "xabcx YWJj", "xabcx YWJj"},
		{"empty", []string{""}, "text", "text"},
		{"of a form", []string{odd}, "k=" + url.QueryEscape(odd) + "&", "k=[redacted]&"},
		{"of a path", []string{odd}, "/" + url.PathEscape(odd) + "/x", "/[redacted]/x"},
		{"base64", []string{odd}, "<" + base64.StdEncoding.EncodeToString([]byte(odd)) + ">", "<[redacted]>"},
		{"base64 without padding", []string{odd}, "<" + base64.RawStdEncoding.EncodeToString([]byte(odd)) + ">", "<[redacted]>"},
		{"base64url", []string{odd}, "<" + base64.URLEncoding.EncodeToString([]byte(odd)) + ">", "<[redacted]>"},
		{"base64url without padding", []string{odd}, "<" + base64.RawURLEncoding.EncodeToString([]byte(odd)) + ">", "<[redacted]>"},
		{"one that begins with another", []string{"client-1", "client-1-TOPSECRET"}, "client-1-TOPSECRET client-1", "[redacted] [redacted]"},
		{"one that stands in the replacement", []string{"canary", "redact"}, "canary redact", "[redacted] [redacted]"},
		{"twice", []string{"canary", "canary"}, "canary", "[redacted]"},
		{"credentials", []string{"Bearer canary+token"}, "canary+token canary%2Btoken Bearer canary+token Bearer", "[redacted] [redacted] [redacted] Bearer"},
		{"Basic", []string{basic}, basic + " " + basic[6:] + " user:hunter22/7 hunter22/7 user", "[redacted] [redacted] [redacted] [redacted] user"},
		{"short credentials", []string{"Token public"}, "public Token public", "public [redacted]"},
		{"words that are no credentials", []string{"a=1; b=longer-than-eight"}, "b=longer-than-eight", "b=longer-than-eight"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var secrets []Text
			for _, s := range tt.secrets {
				secrets = append(secrets, New(s))
			}
			if got := Conceal(tt.in, secrets...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A text that nearly repeats a long secret everywhere takes no longer than another.
func BenchmarkConcealNearMisses(b *testing.B) {
	s := New(strings.Repeat("a", 32000) + "/b")
	text := strings.Repeat("a", 10<<20) + s.Reveal() + strings.ReplaceAll(s.Reveal(), "/", "%2F")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Conceal(text, s)
	}
}
