package pkcs11key

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	type attributes = map[string]string
	for _, tt := range []struct {
		name, in    string
		path, query attributes
	}{
		{"empty", "pkcs11:", attributes{}, attributes{}},
		{"scheme in capitals", "PKCS11:token=a", attributes{"token": "a"}, attributes{}},
		{"query alone", "pkcs11:?module-path=/m.so", attributes{}, attributes{"module-path": "/m.so"}},
		{"empty query", "pkcs11:token=a?", attributes{"token": "a"}, attributes{}},
		{"empty value", "pkcs11:serial=;object=k", attributes{"serial": "", "object": "k"}, attributes{}},
		{
			"every attribute of the path",
			"pkcs11:token=t;manufacturer=m;serial=s;model=o;library-manufacturer=lm;library-version=3;library-description=ld;slot-manufacturer=sm;slot-description=sd;slot-id=007;object=k;id=%01;type=private",
			attributes{
				"token": "t", "manufacturer": "m", "serial": "s", "model": "o", "library-manufacturer": "lm", "library-version": "3.0", "library-description": "ld",
				"slot-manufacturer": "sm", "slot-description": "sd", "slot-id": "7", "object": "k", "id": "\x01", "type": "private",
			}, attributes{},
		},
		{
			"every attribute of the query", "pkcs11:?module-path=/usr/lib/m.so&module-name=m&pin-source=file:/etc/pin",
			attributes{}, attributes{"module-path": "/usr/lib/m.so", "module-name": "m", "pin-source": "file:/etc/pin"},
		},
		{"percent-encoded", "pkcs11:token=The%20token%2c%20100%25%3B;id=%00%ff%FE", attributes{"token": "The token, 100%;", "id": "\x00\xff\xfe"}, attributes{}},
		{"id as text", "pkcs11:id=abc", attributes{"id": "abc"}, attributes{}},
		{"plus is a plus", "pkcs11:token=a+b", attributes{"token": "a+b"}, attributes{}},
		{"reserved in the path", "pkcs11:token=:[]@!$'()*+,=&", attributes{"token": ":[]@!$'()*+,=&"}, attributes{}},
		{"reserved in the query", "pkcs11:?module-path=/a:[]@!$'()*+,=/?|", attributes{}, attributes{"module-path": "/a:[]@!$'()*+,=/?|"}},
		{"UTF-8", "pkcs11:token=%c3%a9", attributes{"token": "é"}, attributes{}},
		{"version of two numbers", "pkcs11:library-version=2.040", attributes{"library-version": "2.40"}, attributes{}},
		{"unknown in the query", "pkcs11:?x-vendor=1&module-path=/m&x-vendor=2", attributes{}, attributes{"module-path": "/m"}},
		{"a name that begins alike", "pkcs11:object=pin-value", attributes{"object": "pin-value"}, attributes{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.path, u.path); diff != "" {
				t.Errorf("path (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.query, u.query); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"another scheme", "https://corp.example", `does not begin with "pkcs11:"`},
		{"nothing", "", `does not begin with "pkcs11:"`},
		{"long", "pkcs11:token=" + strings.Repeat("a", 4096), "is longer than 4096 bytes"},
		{"unknown in the path", "pkcs11:tokem=a", `has the attribute "tokem", which is not known`},
		{"vendor attribute in the path", "pkcs11:token=a;x-corp=CANARY", `has the attribute "x-corp", which is not known`},
		{"another case", "pkcs11:Token=a", `has the attribute "Token", which is not known`},
		{"name with an escape", "pkcs11:\x1b[31m=a", "has an attribute whose name is not of letters, digits, - and _"},
		{"no name", "pkcs11:=CANARY", "has an attribute whose name is not of letters, digits, - and _"},
		{"no value", "pkcs11:CANARY", "has an attribute without a value"},
		{"no value in the query", "pkcs11:?CANARY", "has an attribute without a value"},
		{"semicolon at the end", "pkcs11:token=a;", "has an empty attribute; is there one separator too many?"},
		{"two ampersands", "pkcs11:?module-path=/m&&x=1", "has an empty attribute; is there one separator too many?"},
		{"twice", "pkcs11:token=a;token=a", "has token twice"},
		{"twice in the query", "pkcs11:?module-path=/a&module-path=/b", "has module-path twice"},
		{"query before the ?", "pkcs11:token=a;module-path=m", "has module-path before the ?, where it does not belong"},
		{"path after the ?", "pkcs11:?module-path=/m&token=a", "has token after the ?, where it does not belong"},
		{"percent alone", "pkcs11:token=CANARY%", "has in token a % without two hexadecimal digits"},
		{"percent with one digit", "pkcs11:token=%2", "has in token a % without two hexadecimal digits"},
		{"percent without digits", "pkcs11:id=%zz", "has in id a % without two hexadecimal digits"},
		{"percent in an unknown one", "pkcs11:?x-a=%", "has in an attribute a % without two hexadecimal digits"},
		{"blank", "pkcs11:token=my token", "has in token a character that must be percent-encoded, as a space must be written %20"},
		{"slash in the path", "pkcs11:token=a/b", "has in token a character that must be percent-encoded, as a space must be written %20"},
		{"fragment", "pkcs11:token=a#b", "has in token a character that must be percent-encoded, as a space must be written %20"},
		{"bytes that are not ASCII", "pkcs11:token=\xc3\xa9", "has in token a character that must be percent-encoded, as a space must be written %20"},
		{"not UTF-8", "pkcs11:token=%ff", "has in token what is not UTF-8"},
		{"certificate", "pkcs11:type=cert", "names a certificate (type=cert), but must name the private key, by which its certificates are found: leave type out"},
		{"public key", "pkcs11:type=public", "has type=public, but must name a private key: leave type out"},
		{"unknown type", "pkcs11:type=CANARY", "has a type that RFC 7512 does not know"},
		{"slot in letters", "pkcs11:slot-id=CANARY", "has a slot-id that is not a number"},
		{"negative slot", "pkcs11:slot-id=-1", "has a slot-id that is not a number"},
		{"version with a letter", "pkcs11:library-version=2.x", "has a library-version that is not of one or two numbers"},
		{"version beyond a byte", "pkcs11:library-version=256", "has a library-version that is not of one or two numbers"},
		{"version of three", "pkcs11:library-version=1.2.3", "has a library-version that is not of one or two numbers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.in)
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("error is %T (%v), want *Error", err, err)
			}
			if diff := cmp.Diff("the pkcs11: URI "+tt.want, got.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Code() != "tls.pkcs11_uri" || got.Hint() == "" {
				t.Errorf("code %q, hint %q", got.Code(), got.Hint())
			}
		})
	}
}

// A PIN in a URI is refused before anything else is said, wherever it stands, and not repeated.
func TestNoPINInURI(t *testing.T) {
	const pin = "73CANARY91"
	for _, in := range []string{
		"pkcs11:?pin-value=" + pin,
		"pkcs11:token=a?module-path=/m&pin-value=" + pin,
		"pkcs11:token=a;pin-value=" + pin,
		"pkcs11:pin-value=" + pin + ";token=a",
		"pkcs11:pin-value=" + pin + ";" + pin + "=1",
		"pkcs11:unknown=1;token=a?pin-value=12&" + pin + "=34",
		"pkcs11:token=a?module-path=/m?pin-value=" + pin,
		"pkcs11:token=a?x-pin-value=" + pin,
		"pkcs11:token=a? PIN-Value =" + pin,
		"pkcs11:token=a#pin-value=" + pin,
	} {
		t.Run(in, func(t *testing.T) {
			_, err := parse(in)
			var got *Error
			if !errors.As(err, &got) || got.Cause != pinInURI {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(got.Hint(), "passphrase") {
				t.Errorf("hint %q does not name passphrase", got.Hint())
			}
			for _, printed := range []string{fmt.Sprintf("%v %+v %#v %q", err, err, err, err), got.Hint(), Redact(in)} {
				if strings.Contains(printed, "CANARY") {
					t.Errorf("the PIN is in %q", printed)
				}
			}
		})
	}
}

func TestFits(t *testing.T) {
	token := map[string]string{"token": "one", "serial": "a1", "model": "", "slot-id": "7", "library-version": "2.6"}
	for _, tt := range []struct {
		in   string
		want bool
	}{
		{"pkcs11:", true},
		{"pkcs11:token=one;serial=a1", true},
		{"pkcs11:token=one;serial=b2", false},
		{"pkcs11:token=On%65", false},
		{"pkcs11:token=on%65", true},
		{"pkcs11:model=", true},
		{"pkcs11:serial=", false},
		{"pkcs11:slot-id=07", true},
		{"pkcs11:slot-id=8", false},
		{"pkcs11:library-version=2.6", true},
		{"pkcs11:library-version=2", false},
		{"pkcs11:manufacturer=x", false},
		{"pkcs11:object=not-of-a-token", true},
	} {
		u, err := parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.fits(token); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.in, got, tt.want)
		}
	}
	for _, tt := range []struct {
		in   string
		want bool
	}{
		{"pkcs11:token=anything", true},
		{"pkcs11:object=web;id=%01", true},
		{"pkcs11:object=web;id=%02", false},
		{"pkcs11:object=Web", false},
		{"pkcs11:object=", false},
		{"pkcs11:id=%01%00", false},
	} {
		u, err := parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.fitsKey("web", "\x01"); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"pkcs11:token=my%20token;id=%01ab?module-path=/m.so&pin-source=file:/pin", "pkcs11:token=my%20token;id=%01%61%62"},
		{"pkcs11:token=a;foo=CANARY;object=k?x=CANARY", "pkcs11:token=a;object=k"},
		{"pkcs11:CANARY;token=%", "pkcs11:"},
		{"/etc/CANARY", "pkcs11:…"},
		{"pkcs11:token=a?pin-value=CANARY", "pkcs11:…"},
		{"pkcs11:token=%1b[31m", "pkcs11:token=%1b%5b31m"},
	} {
		if got := Redact(tt.in); got != tt.want {
			t.Errorf("Redact(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"pkcs11:token=The%20token;id=%01%ff;object=k;type=private?module-path=/usr/lib/m.so&pin-source=file:/etc/pin",
		"pkcs11:library-version=2;slot-id=7?x-a=1&x-a=2", "pkcs11:pin-value=1?pin-value=2", "PKCS11:;?&=%", "pkcs11:token=%e9\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		shown := Redact(in)
		if strings.ContainsFunc(shown, func(r rune) bool { return r < 0x20 || r == 0x7f || r > 0x7f && r != '…' }) {
			t.Errorf("Redact(%q) = %q", in, shown)
		}
		u, err := parse(in)
		if err != nil {
			var told *Error
			if !errors.As(err, &told) || told.Code() != "tls.pkcs11_uri" || told.Hint() == "" || strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("parse(%q): %#v", in, err)
			}
			return
		}
		if hasPIN(in[len(scheme):]) {
			t.Errorf("parse(%q) accepts a PIN", in)
		}
		if strings.HasSuffix(u.String(), "…") {
			return // cut for a message
		}
		// What is shown means the same token and key.
		again, err := parse(u.String())
		if err != nil {
			t.Fatalf("parse(%q), of %q: %v", u.String(), in, err)
		}
		if diff := cmp.Diff(u.path, again.path); diff != "" {
			t.Errorf("%q, written as %q (-in +out):\n%s", in, u.String(), diff)
		}
	})
}
