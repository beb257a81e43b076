package render

import (
	"strings"
	"testing"
)

func TestCharset(t *testing.T) {
	late := strings.Repeat("<!-- filler -->", 150) // 2250 bytes
	for _, tt := range []struct {
		name, header, body, text, charset string
	}{
		{"utf-8 mark", "text/plain; charset=windows-1252", "\xef\xbb\xbfé", "é", "utf-8"},
		{"utf-16le mark", "text/plain; charset=utf-8", "\xff\xfeh\x00i\x00", "hi", "utf-16le"},
		{"utf-16be mark", "text/plain", "\xfe\xff\x00h\x00i", "hi", "utf-16be"},
		{"utf-16 lone surrogate", "text/plain", "\xff\xfeh\x00\x00\xd8i\x00", "h\ufffdi", "utf-16le"},
		{"utf-16 header", "text/plain; charset=utf-16", "h\x00i\x00", "hi", "utf-16le"},
		{"header", "text/plain; charset=Shift_JIS", "\x93\xfa\x96\x7b", "日本", "shift_jis"},
		{"header before meta", "text/html; charset=koi8-r", "<meta charset=utf-8>\xd0\xd2\xc9", "при", "koi8-r"},
		{"header in quotes", `text/plain; charset="euc-kr"`, "\xc7\xd1", "한", "euc-kr"},
		{"header malformed", "text/plain; charset=gbk; =", "\xd6\xd0", "中", "gbk"},
		{"latin-1 is windows-1252", "text/plain; charset=iso-8859-1", "\x80", "€", "windows-1252"},
		{"meta", "text/html", "<meta charset='euc-jp'>\xc6\xfc", "日", "euc-jp"},
		{"meta http-equiv", "text/html", `<meta http-equiv=Content-Type content="text/html; charset=big5">` + "\xa4\xa4", "中", "big5"},
		{"meta late", "text/html", late + "<meta charset=windows-1251>\xef", "п", "windows-1251"},
		{"meta too late", "text/html", late + late + "<meta charset=windows-1251>\xef", "ï", "windows-1252"},
		{"meta in a comment", "text/html", "<!-- <meta charset=koi8-r> -->é", "é", "utf-8"},
		{"meta utf-16 is a lie", "text/html", "<meta charset=utf-16>é", "é", "utf-8"},
		{"meta in plain text", "text/plain", "<meta charset=koi8-r>é", "<meta charset=koi8-r>é", "utf-8"},
		{"xml declaration", "application/xml", `<?xml version="1.0" encoding="iso-8859-2"?>` + "\xb1", `<?xml version="1.0" encoding="iso-8859-2"?>ą`, "iso-8859-2"},
		{"utf-8 found late", "text/html", strings.Repeat("a", 5000) + "é", strings.Repeat("a", 5000) + "é", "utf-8"},
		{"nothing known", "text/plain", "caf\xe9 \x93x\x94", "café “x”", "windows-1252"},
		{"unknown header", "text/html; charset=klingon", "<meta charset=koi8-r>\xd0", "п", "koi8-r"},
		{"utf-7 is refused", "text/html; charset=utf-7", "+ADw-script+AD4-", "+ADw-script+AD4-", "utf-8"},
		{"replacement is refused", "text/plain; charset=iso-2022-kr", "abc", "abc", "utf-8"},
		{"broken utf-8", "text/plain; charset=utf-8", "a\xffb", "a\ufffdb", "utf-8"},
		{"controls of the upper half", "text/plain; charset=iso-8859-5", "a\x9bb\x85", "a\ufffdb\ufffd", "iso-8859-5"},
		{"escape sequences", "text/plain; charset=utf-8", "a\u009b31mb", "a31mb", "utf-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := Render(Input{Body: []byte(tt.body), ContentType: tt.header, Format: Text})
			if err != nil {
				t.Fatal(err)
			}
			if doc.Text != tt.text || doc.Charset != tt.charset {
				t.Errorf("got %.80q in %s, want %.80q in %s", doc.Text, doc.Charset, tt.text, tt.charset)
			}
		})
	}
}
