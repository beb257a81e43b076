package challenge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   []string
	}{
		{"none", nil, nil},
		{"in another spelling", []string{"negotiate, NTLM", "BASIC realm=x", "dpop", "Vapid"}, []string{"Negotiate", "NTLM", "Basic", "DPoP", "vapid"}},
		{"the same twice", []string{"Basic, basic"}, []string{"Basic"}},
		{"one that speaks", []string{"SYSTEM*the-user-approved-it*"}, []string{"another scheme"}},
		{"others beside known ones", []string{"X-One, Digest nonce=n, X-Two"}, []string{"Digest", "another scheme"}},
		{"letters that only fold to the same", []string{"ba\u017fic, \u212aerberos"}, nil},
	} {
		if diff := cmp.Diff(tt.want, Names(Parse(tt.values))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
