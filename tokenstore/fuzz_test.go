package tokenstore

import (
	"errors"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// FuzzLoad: whatever the file holds, it is refused or survives being written.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"version":1,"entries":[]}`, `{"version":2}`, `{"version":1,"entries":[null,{},"x"],"more":{}}`,
		`{"version":1,"entries":[{"kind":"token","principal":"local","resource":"r","issuer":"i","value":{"access_token":"a","expiry":"2030-01-02T03:04:05Z"}}]}`,
		`{"version":1,"entries":[{"kind":"client","principal":"local","resource":"","issuer":"i","value":{"principal":"local","issuer":"i","client_id":"c"}},
		{"kind":"client","principal":"local","resource":"","issuer":"i","value":7}]}`,
		`{"version":1,"entries":[{"kind":"k","principal":"p","resource":"\u0000","issuer":"\ud83d\ude00","value":{"n":1e999}}]}`,
		`{"version":1,"entries":[{"0":"\ud800\udC00"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decode(data)
		if err != nil {
			if _, newer := errors.AsType[*VersionError](err); !newer && !isDamaged(err) {
				t.Fatalf("decode: %T", err)
			}
			return
		}
		k := TokenKey("local", "https://fuzz.example", "https://as.example")
		if err := doc.put(k, []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		encoded, err := doc.encode()
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		again, err := decode(encoded)
		if err != nil {
			t.Fatalf("decode of what encode wrote: %v", err)
		}
		if got, ok := again.find(k); !ok || string(got) != `{"n":1}` {
			t.Errorf("the record put in is now %s", got)
		}
		if diff := cmp.Diff(content(doc), content(again)); diff != "" {
			t.Errorf("written and read again (-want +got):\n%s", diff)
		}
		for _, r := range doc.records {
			_, tokenErr := parse[Token](r.key, r.value)
			_, clientErr := parse[Client](r.key, r.value)
			_, approvalErr := parse[Approval](r.key, r.value)
			_, proofErr := parse[ProofKey](r.key, r.value)
			for _, err := range []error{tokenErr, clientErr, approvalErr, proofErr} {
				if _, ok := errors.AsType[*DamagedError](err); err != nil && !ok {
					t.Errorf("parse: %T", err)
				}
			}
		}
		doc.remove(k)
		if _, ok := doc.find(k); ok {
			t.Error("a removed record is still there")
		}
	})
}

type entry struct {
	Key   Key
	Value string
}

// content is what a document says, however it writes it.
func content(d *document) (entries []entry) {
	for _, r := range d.records {
		entries = append(entries, entry{r.key, plain(r.value)})
	}
	for _, raw := range d.odd {
		entries = append(entries, entry{Value: plain(raw)})
	}
	return entries
}

// plain writes a value without white space and needless escapes.
func plain(value []byte) string {
	v := jsontext.Value(value).Clone()
	if err := v.Format(); err != nil {
		return err.Error()
	}
	return string(v)
}

// FuzzOpen: what was not sealed for its key does not open, and nothing makes opening fail otherwise.
func FuzzOpen(f *testing.F) {
	k := TokenKey("local", "https://fuzz.example", "https://as.example")
	genuine, err := sealKey(f, 1).seal(k, []byte(`{"n":1}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(genuine), ``, `{}`, `null`, `{"access_token":"a"}`, `{"kid":"","nonce":"","ct":""}`, `{"kid":"a","kid":"b"}`,
		`{"kid":"AAAAAAAAAAAA","nonce":"AAAAAAAAAAAAAAAA","ct":"AAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kid":"` + sealKey(f, 1).ID() + `","nonce":"AAAAAAAAAAAAAAAA","ct":"AAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kid":"` + sealKey(f, 1).ID() + `","nonce":"AAAA\nAAAA\r\nAAAAAAAA","ct":"AAAAAAAAAAAAAAAAAAAAAAA="}`,
	} {
		f.Add([]byte(seed))
	}
	s := &sealed{NewMemory(), []SealKey{sealKey(f, 1), sealKey(f, 2)}}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := s.open(k, data)
		if err == nil {
			// Only white space, escapes and the order of members can differ from the one that was sealed.
			if string(plain) != `{"n":1}` {
				t.Errorf("%q opened to %q", data, plain)
			}
			return
		}
		if _, ok := errors.AsType[*DamagedError](err); !ok || plain != nil {
			t.Errorf("open: %q, %T", plain, err)
		}
	})
}
