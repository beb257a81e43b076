package catalogue

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFill(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cause  Cause
		values []string
		want   Cause
	}{
		{"nothing to fill", Cause{"a", "tls.a", "it is over", "begin again"}, []string{"host", "x"}, Cause{"a", "tls.a", "it is over", "begin again"}},
		{"every text", Cause{"a.{field}", "tls.{field}_file", "{file} is empty", "write {file} again"}, []string{"field", "key", "file", "/k"},
			Cause{"a.{field}", "tls.key_file", "/k is empty", "write /k again"}},
		{"what is filled in is not filled again", Cause{Says: "{a} and {b}"}, []string{"a", "{b}", "b", "{a}"}, Cause{Says: "{b} and {a}"}},
		{"the first counts", Cause{Says: "{a}"}, []string{"a", "1", "a", "2"}, Cause{Says: "1"}},
		{"what nobody knows stays", Cause{Says: "{a}"}, nil, Cause{Says: "{a}"}},
		{"names are whole", Cause{Says: "{key_time}"}, []string{"key", "x"}, Cause{Says: "{key_time}"}},
	} {
		if diff := cmp.Diff(tt.want, tt.cause.Fill(tt.values...)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
