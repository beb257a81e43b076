package render

import (
	"bytes"
	"strings"
	"testing"
)

const (
	png  = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	jpeg = "\xff\xd8\xff\xe0\x00\x10JFIF"
	gif  = "GIF89a\x01\x00\x01\x00\x00"
	webp = "RIFF\x24\x00\x00\x00WEBPVP8 \x00"
	pdf  = "%PDF-1.7\n1 0 obj\n"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name, header, body string
		kind               Kind
		media              string
	}{
		{"html", "Text/HTML; charset=UTF-8", "<p>a", KindText, "text/html"},
		{"undeclared html", "", "<!DOCTYPE html><p>a", KindText, "text/html"},
		{"undeclared text", "", "a & b", KindText, "text/plain"},
		{"undeclared xml", "", "<?xml version='1.0'?><a/>", KindText, "text/xml"},
		{"undeclared png", "", png, KindImage, "image/png"},
		{"undeclared pdf", "", pdf, KindBinary, "application/pdf"},
		{"undeclared bytes", "", "\x00\x01\x02", KindBinary, "application/octet-stream"},
		{"png", "image/png", png, KindImage, "image/png"},
		{"jpeg", "image/jpeg", jpeg, KindImage, "image/jpeg"},
		{"gif", "image/gif", gif, KindImage, "image/gif"},
		{"webp", "image/webp", webp, KindImage, "image/webp"},
		{"jpeg called png", "image/png", jpeg, KindImage, "image/jpeg"},
		{"png called html", "text/html", png, KindImage, "image/png"},
		{"png called octets", "application/octet-stream", png, KindImage, "image/png"},
		{"text that begins like a gif", "text/plain", "GIF89a is a format", KindText, "text/plain"},
		{"html called png", "image/png", "<!DOCTYPE html><p>a", KindText, "text/plain"},
		{"octets that are text", "application/octet-stream", "<html>", KindText, "text/plain"},
		{"noise called png", "image/png", "\x00\x01\x02", KindBinary, "application/octet-stream"},
		{"avif", "image/avif", "\x00\x00\x00\x20ftypavif", KindBinary, "image/avif"},
		{"svg", "image/svg+xml", "<svg/>", KindText, "image/svg+xml"},
		{"json", "application/json", "{}", KindText, "application/json"},
		{"problem", "application/problem+json", "{}", KindText, "application/problem+json"},
		{"javascript", "application/javascript", "a", KindText, "application/javascript"},
		{"yaml", "application/x-yaml", "a: b", KindText, "application/x-yaml"},
		{"csv", "text/csv", "a,b", KindText, "text/csv"},
		{"plain is never html", "text/plain", "<!DOCTYPE html><p>a", KindText, "text/plain"},
		{"zip called text", "text/plain", "PK\x03\x04\x00", KindBinary, "application/zip"},
		{"a stray control character", "text/html", "<p>a long enough sentence with a bell \x07 in it", KindText, "text/html"},
		{"noise called text", "text/plain", "\x00\x01\x02abc", KindBinary, "application/octet-stream"},
		{"pdf called html", "text/html", pdf, KindBinary, "application/pdf"},
		{"zip", "application/zip", "PK\x03\x04", KindBinary, "application/zip"},
		{"video", "video/mp4", "\x00\x00\x00\x18ftypmp42", KindBinary, "video/mp4"},
		{"utf-16 text", "text/plain; charset=utf-16le", "a\x00b\x00", KindText, "text/plain"},
		{"utf-16 with mark", "", "\xff\xfea\x00", KindText, "text/plain"},
		{"malformed parameters", "text/html; charset", "<p>a", KindText, "text/html"},
		{"nonsense", "<script>; x", "a", KindText, "text/plain"},
		{"too large", "image/png", png + strings.Repeat("\x00", MaxImage), KindBinary, "image/png"},
		{"empty", "image/png", "", KindText, "image/png"},
		{"empty and undeclared", "", "", KindText, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := Render(Input{Body: []byte(tt.body), ContentType: tt.header})
			if err != nil {
				t.Fatal(err)
			}
			if doc.Kind != tt.kind || doc.MediaType != tt.media {
				t.Errorf("got kind %d, %q, want %d, %q", doc.Kind, doc.MediaType, tt.kind, tt.media)
			}
			if (doc.Note != "") != (doc.Kind == KindBinary) || doc.Kind != KindText && (doc.Text != "" || doc.Charset != "") {
				t.Errorf("kind %d with %+v", doc.Kind, doc)
			}
			if doc.Kind == KindImage && !bytes.Equal(doc.Image, []byte(tt.body)) {
				t.Errorf("the image is not what was received")
			}
		})
	}
}

func TestNote(t *testing.T) {
	for _, tt := range []struct {
		header, body, want string
	}{
		{"application/zip", strings.Repeat("\x00", 1536), "This is a binary file (application/zip, 1.5 KiB): download it yourself, this tool returns text and images only."},
		{"image/png", png + strings.Repeat("\x00", 6<<20), "This is an image (image/png) of 6.0 MiB, above the limit of 5.0 MiB: download it yourself or ask for a smaller version."},
		{"video/mp4", "\x00\x01\x02", "This is a binary file (video/mp4, 3 bytes): download it yourself, this tool returns text and images only."},
	} {
		doc, err := Render(Input{Body: []byte(tt.body), ContentType: tt.header})
		if err != nil || doc.Note != tt.want {
			t.Errorf("got %q, %v, want %q", doc.Note, err, tt.want)
		}
	}
}
