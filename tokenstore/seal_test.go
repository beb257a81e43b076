package tokenstore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// sealKey returns a key that is always the same for n.
func sealKey(t testing.TB, n byte) SealKey {
	t.Helper()
	key, err := NewSealKey(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sealWith(t testing.TB, s Store, keys ...SealKey) Store {
	t.Helper()
	sealed, err := Seal(s, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// stored returns what is in the store below.
func stored(t *testing.T, s Store, k Key) map[string]string {
	t.Helper()
	value, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]string
	if err := json.Unmarshal(value, &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func TestSealedForm(t *testing.T) {
	below := NewMemory()
	s := sealWith(t, below, sealKey(t, 1))
	k := sampleToken().Key()
	seen := map[string]bool{}
	for range 50 {
		if err := PutToken(t.Context(), s, sampleToken()); err != nil {
			t.Fatal(err)
		}
		members := stored(t, below, k)
		nonce, err := base64.RawURLEncoding.DecodeString(members["nonce"])
		if len(members) != 3 || members["kid"] != sealKey(t, 1).ID() || err != nil || len(nonce) != 12 {
			t.Fatalf("stored: %v, want kid, nonce of 12 bytes and ct", members)
		}
		plain, err := s.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		ct, err := base64.RawURLEncoding.DecodeString(members["ct"])
		if err != nil || len(ct) != len(plain)+16 {
			t.Errorf("ct has %d bytes, %v; want %d", len(ct), err, len(plain)+16)
		}
		seen[members["nonce"]] = true
	}
	if len(seen) != 50 {
		t.Errorf("50 writes had %d nonces", len(seen))
	}
}

// TestSealedFormStays: what one release sealed, the next ones open.
func TestSealedFormStays(t *testing.T) {
	k := Key{KindToken, "local", "https://a.example", ""}
	below := NewMemory()
	sealed := `{"kid":"GlZa9jcYO4ap","nonce":"CEPq524AIjVI0lH8","ct":"izhfPnnqENNIZFL2UvDd5WxfSoHB4bQ"}`
	if err := below.Put(t.Context(), k, []byte(sealed)); err != nil {
		t.Fatal(err)
	}
	if got, err := sealWith(t, below, sealKey(t, 1)).Get(t.Context(), k); err != nil || string(got) != `{"n":1}` {
		t.Errorf("Get = %s, %v", got, err)
	}
	want := "mcp-authfetch record v1" +
		"\x00\x00\x00\x00\x00\x00\x00\x05token" + "\x00\x00\x00\x00\x00\x00\x00\x05local" +
		"\x00\x00\x00\x00\x00\x00\x00\x11https://a.example" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	if got := string(additionalData(k)); got != want {
		t.Errorf("additional data %q, want %q", got, want)
	}
}

// TestSealOpensOnlyWhatItIs changes, moves and replaces sealed values.
func TestSealOpensOnlyWhatItIs(t *testing.T) {
	k := Key{KindToken, "local", "https://a.example", "https://as.example"}
	flip := func(member string, at int) func(map[string]string) {
		return func(m map[string]string) {
			b, err := base64.RawURLEncoding.DecodeString(m[member])
			if err != nil {
				t.Fatal(err)
			}
			b[(at+len(b))%len(b)] ^= 1
			m[member] = base64.RawURLEncoding.EncodeToString(b)
		}
	}
	for _, tt := range []struct {
		name   string
		to     Key // where the value goes; zero: it stays
		change func(map[string]string)
		reason string
	}{
		{name: "moved to another kind", to: Key{KindApproval, k.Principal, k.Resource, k.Issuer}, reason: "seal is broken"},
		{name: "moved to another principal", to: Key{k.Kind, "other", k.Resource, k.Issuer}, reason: "seal is broken"},
		{name: "moved to another resource", to: Key{k.Kind, k.Principal, "https://b.example", k.Issuer}, reason: "seal is broken"},
		{name: "moved to another issuer", to: Key{k.Kind, k.Principal, k.Resource, "https://b.example"}, reason: "seal is broken"},
		{name: "moved to a key of the same letters", to: Key{k.Kind, k.Principal, k.Resource + "h", "ttps://as.example"}, reason: "seal is broken"},
		{name: "moved across an empty part", to: Key{k.Kind, k.Principal, "", k.Resource + k.Issuer}, reason: "seal is broken"},
		{name: "nonce changed", change: flip("nonce", 0), reason: "seal is broken"},
		{name: "first byte changed", change: flip("ct", 0), reason: "seal is broken"},
		{name: "tag changed", change: flip("ct", -1), reason: "seal is broken"},
		{name: "tag cut", change: func(m map[string]string) { m["ct"] = m["ct"][:40] }, reason: "seal is broken"},
		{name: "said to be of the other key", change: func(m map[string]string) { m["kid"] = sealKey(t, 2).ID() }, reason: "seal is broken"},
		{name: "unknown key", change: func(m map[string]string) { m["kid"] = sealKey(t, 9).ID() }, reason: "a key that is not here"},
		{name: "no key", change: func(m map[string]string) { delete(m, "kid") }, reason: "a key that is not here"},
		{name: "nonce too short", change: func(m map[string]string) { m["nonce"] = m["nonce"][:12] }, reason: "is not sealed"},
		{name: "no nonce", change: func(m map[string]string) { delete(m, "nonce") }, reason: "is not sealed"},
		{name: "no text", change: func(m map[string]string) { delete(m, "ct") }, reason: "is not sealed"},
		{name: "a member more", change: func(m map[string]string) { m["alg"] = "none" }, reason: "is not sealed"},
		{name: "plain", change: func(m map[string]string) { clear(m); m["access_token"] = canary }, reason: "is not sealed"},
		{name: "empty", change: func(m map[string]string) { clear(m) }, reason: "is not sealed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			below := NewMemory()
			s := sealWith(t, below, sealKey(t, 1), sealKey(t, 2))
			good := Key{k.Kind, k.Principal, "https://good.example", k.Issuer}
			for _, key := range []Key{k, good} {
				if err := s.Put(ctx, key, []byte(`{"secret":"`+canary+`"}`)); err != nil {
					t.Fatal(err)
				}
			}
			members := stored(t, below, k)
			if tt.change != nil {
				tt.change(members)
			}
			to := k
			if tt.to != (Key{}) {
				to = tt.to
			}
			spoilt, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			if err := below.Put(ctx, to, spoilt); err != nil {
				t.Fatal(err)
			}

			got, err := s.Get(ctx, to)
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok || got != nil || !errors.Is(err, ErrNotFound) || damaged.Key != to || !strings.Contains(damaged.Reason, tt.reason) {
				t.Fatalf("Get = %s, %v, want a DamagedError with %q", got, err, tt.reason)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows the value: %v", err)
			}
			entries, err := s.List(ctx, to.Kind, to.Principal)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Key == to {
					t.Errorf("List has it, as %s", e.Value)
				}
			}
			if got, err := s.Get(ctx, good); err != nil || string(got) != `{"secret":"`+canary+`"}` {
				t.Errorf("the other record: %s, %v", got, err)
			}
			if after, err := below.Get(ctx, to); err != nil || len(after) != len(spoilt) {
				t.Errorf("reading changed it: %s, %v", after, err)
			}
			if err := s.Put(ctx, to, []byte(`{"n":1}`)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(ctx, to); err != nil || string(got) != `{"n":1}` {
				t.Errorf("after storing it anew, Get = %s, %v", got, err)
			}
		})
	}
}

func TestSealKeysRotate(t *testing.T) {
	ctx := t.Context()
	below := NewMemory()
	old := sealWith(t, below, sealKey(t, 1))
	if err := PutToken(ctx, old, sampleToken()); err != nil {
		t.Fatal(err)
	}
	k := sampleToken().Key()
	before := stored(t, below, k)

	both := sealWith(t, below, sealKey(t, 2), sealKey(t, 1))
	got, err := GetToken(ctx, both, k)
	if diff := cmp.Diff(sampleToken(), got, same); err != nil || diff != "" {
		t.Errorf("sealed with the second key: %v (-want +got):\n%s", err, diff)
	}
	if tokens, err := Tokens(ctx, both, "local"); err != nil || len(tokens) != 1 {
		t.Errorf("Tokens = %v, %v", tokens, err)
	}
	if diff := cmp.Diff(before, stored(t, below, k)); diff != "" {
		t.Errorf("reading sealed it anew (-want +got):\n%s", diff)
	}
	if err := PutToken(ctx, both, got); err != nil {
		t.Fatal(err)
	}
	if kid := stored(t, below, k)["kid"]; kid != sealKey(t, 2).ID() {
		t.Errorf("after Put it is sealed with %s, want the first key %s", kid, sealKey(t, 2).ID())
	}
	if _, err := GetToken(ctx, sealWith(t, below, sealKey(t, 2)), k); err != nil {
		t.Errorf("without the old key: %v", err)
	}
	_, err = GetToken(ctx, old, k)
	if _, ok := errors.AsType[*DamagedError](err); !ok {
		t.Errorf("with the old key alone: %v, want a DamagedError", err)
	}
}

// TestSealedSize: the bound is on what is sealed, not on what sealing makes of it.
func TestSealedSize(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		k := TokenKey("local", "https://a.example", "")
		largest := `{"a":"` + strings.Repeat("x", maxValue-len(`{"a":""}`)) + `"}`
		if err := s.Put(t.Context(), k, []byte(largest)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), k); err != nil || string(got) != largest {
			t.Errorf("Get: %d bytes, %v", len(got), err)
		}
	})
	// What only looks sealed may be as large as what is sealed, no larger.
	text := strings.Repeat("A", maxEnvelope)
	nonce := strings.Repeat("A", 16)
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"as large as can be", `{"kid":"AAAAAAAAAAAA","nonce":"` + nonce + `","ct":"` + text[:maxEnvelope-57] + `"}`, true},
		{"larger", `{"kid":"AAAAAAAAAAAA","nonce":"` + nonce + `","ct":"` + text[:maxEnvelope-53] + `"}`, false},
		{"another member", `{"kid":"AAAAAAAAAAAA","nonce":"` + nonce + `","ct":"` + text[:maxEnvelope-80] + `","a":1}`, false},
	} {
		err := NewMemory().Put(t.Context(), TokenKey("local", "https://a.example", ""), []byte(tt.value))
		if (err == nil) != tt.ok {
			t.Errorf("%s (%d bytes): %v", tt.name, len(tt.value)-maxEnvelope, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	if s, err := Seal(NewMemory()); err == nil || s != nil {
		t.Errorf("without keys: %v, %v", s, err)
	}
	if s, err := Seal(NewMemory(), sealKey(t, 1), SealKey{}); err == nil || s != nil {
		t.Errorf("with an empty key: %v, %v", s, err)
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := NewSealKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}

func TestSealKeyIsNotPrinted(t *testing.T) {
	raw := []byte("0123canary-b81d-a-key-of-32bytes")
	key, err := NewSealKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := NewSealKey(raw); err != nil || again.ID() != key.ID() || key.ID() == sealKey(t, 1).ID() || len(key.ID()) != 12 {
		t.Errorf("ID() = %q, want the same for the same key and another for another", key.ID())
	}
	type holder struct {
		Key   SealKey
		inner SealKey
		P     *SealKey
	}
	var out bytes.Buffer
	for _, v := range []any{key, &key, []SealKey{key}, holder{key, key, &key}, &holder{key, key, &key}, sealWith(t, NewMemory(), key)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", v)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != secret.Redacted {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	printed := strings.ToLower(out.String())
	for _, form := range []string{
		string(raw[:8]), hex.EncodeToString(raw)[:16], base64.StdEncoding.EncodeToString(raw)[:12],
		strings.Trim(fmt.Sprint(raw[:6]), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", raw[:6]), "[]byte{"), "}"),
	} {
		if strings.Contains(printed, strings.ToLower(form)) {
			t.Errorf("the output contains the key as %q", form)
		}
	}
	if !strings.Contains(out.String(), secret.Redacted) {
		t.Error("the output does not say that something was redacted")
	}
}

// TestSealedFileHoldsNoSecret searches every byte below the directory.
func TestSealedFileHoldsNoSecret(t *testing.T) {
	ctx := t.Context()
	plainDir, dir := storeDir(t), storeDir(t)
	for _, s := range []Store{openFile(t, plainDir), sealWith(t, openFile(t, dir), sealKey(t, 1))} {
		if err := errors.Join(PutToken(ctx, s, sampleToken()), PutClient(ctx, s, sampleClient()), PutProofKey(ctx, s, sampleProofKey()), PutApproval(ctx, s, sampleApproval())); err != nil {
			t.Fatal(err)
		}
		unlock, err := LockToken(ctx, s, sampleToken().Key())
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	}
	if found := filesWith(t, plainDir, canary); len(found) != 1 {
		t.Errorf("unsealed, %q have the secrets; want one, or the search is in vain", found)
	}
	if found := filesWith(t, dir, canary); len(found) != 0 {
		t.Errorf("%q have a secret in the clear", found)
	}
	if found := filesWith(t, dir, sealKey(t, 1).ID()); len(found) != 1 {
		t.Errorf("%q have sealed values, want one", found)
	}
}

// filesWith returns the files below dir that hold text, as it is or encoded.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		forms := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text)))}
		for shift := range 3 { // base64 of a text that begins anywhere in three bytes
			encoded := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
			forms = append(forms, []byte(encoded[4:len(encoded)-4]))
		}
		for _, form := range forms {
			if bytes.Contains(b, form) {
				found = append(found, path)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
