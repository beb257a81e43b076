package render

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// classify decides what the bytes are from what they are declared to be and how they look. The
// declaration decides among the textual types; images and binaries must look like it.
func classify(body []byte, contentType string) (Kind, string, map[string]string) {
	media, params := parseMediaType(contentType)
	if len(body) == 0 {
		return KindText, media, params
	}
	wide := strings.HasPrefix(strings.ToLower(params["charset"]), "utf-16")
	text := looksText(body) || wide && textual(media)
	if image := sniffImage(body); image != "" && !(text && textual(media)) {
		if len(body) > MaxImage {
			return KindBinary, image, nil
		}
		return KindImage, image, nil
	}
	sniffed, _, _ := strings.Cut(http.DetectContentType(body), ";")
	switch {
	case media == "" && text:
		if !textual(sniffed) {
			sniffed = "text/plain"
		}
		return KindText, sniffed, params
	case media == "":
		return KindBinary, binaryType(sniffed), nil
	case textual(media) && (text || binaryType(sniffed) == "application/octet-stream" && mostlyText(body)):
		return KindText, media, params
	case textual(media):
		return KindBinary, binaryType(sniffed), nil
	case text && (strings.HasPrefix(media, "image/") || media == "application/octet-stream"):
		// Mislabelled text is shown as it is: it never asked to be taken for a page.
		return KindText, "text/plain", params
	case strings.HasPrefix(media, "image/") && supportedImage(media):
		return KindBinary, binaryType(sniffed), nil
	}
	return KindBinary, media, nil
}

// parseMediaType returns the type in lower case, or "" where none can be made out (RFC 9110 §8.3.1).
func parseMediaType(contentType string) (string, map[string]string) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media, _, _ = strings.Cut(contentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
		params = looseCharset(contentType)
	}
	major, minor, ok := strings.Cut(media, "/")
	if !ok || !token(major) || !token(minor) || len(media) > 127 {
		return "", params
	}
	return media, params
}

// looseCharset finds the charset in a header whose parameters are malformed.
func looseCharset(contentType string) map[string]string {
	_, rest, ok := strings.Cut(strings.ToLower(contentType), "charset=")
	if !ok {
		return nil
	}
	rest = strings.TrimLeft(rest, ` "'`)
	if i := strings.IndexAny(rest, " \t;,\"'"); i >= 0 {
		rest = rest[:i]
	}
	return map[string]string{"charset": rest}
}

// token reports whether s is a restricted name (RFC 6838 §4.2).
func token(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&-^_.+", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

func isHTML(media string) bool { return media == "text/html" || media == "application/xhtml+xml" }

func isXML(media string) bool {
	return strings.HasSuffix(media, "+xml") || media == "text/xml" || media == "application/xml"
}

// textual reports whether a declared type is one that people read as text.
func textual(media string) bool {
	major, minor, _ := strings.Cut(media, "/")
	if major == "text" || major == "message" || isXML(media) {
		return true
	}
	if major != "application" {
		return false
	}
	if strings.HasSuffix(minor, "+json") || strings.HasSuffix(minor, "+yaml") {
		return true
	}
	switch strings.TrimPrefix(minor, "x-") {
	case "json", "json5", "jsonc", "ndjson", "jsonl", "jsonlines", "json-seq", "javascript", "ecmascript", "typescript",
		"yaml", "toml", "csv", "markdown", "graphql", "sql", "sh", "csh", "perl", "python", "ruby", "httpd-php",
		"tex", "latex", "troff", "texinfo", "subrip", "mbox", "pem-file", "www-form-urlencoded", "n-triples", "trig", "sparql-query":
		return true
	}
	return false
}

// sniffImage recognises the image types that models take, by their first bytes.
func sniffImage(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(body, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(body, []byte("GIF87a")), bytes.HasPrefix(body, []byte("GIF89a")):
		return "image/gif"
	case len(body) >= 14 && string(body[:4]) == "RIFF" && string(body[8:14]) == "WEBPVP":
		return "image/webp"
	}
	return ""
}

func supportedImage(media string) bool {
	return media == "image/png" || media == "image/jpeg" || media == "image/jpg" || media == "image/gif" || media == "image/webp"
}

// looksText: a UTF-16 byte order mark, or none of the bytes that the WHATWG MIME Sniffing
// standard (§3) calls binary among the first 4 KiB, no NUL at all, and no PDF, whose first lines may
// be ASCII.
func looksText(body []byte) bool {
	if bomEncoding(body) != "" {
		return true
	}
	return binaryBytes(body) == 0 && bytes.IndexByte(body, 0) < 0 && !bytes.HasPrefix(body, []byte("%PDF-"))
}

// mostlyText: what is declared as text may have a stray control character.
func mostlyText(body []byte) bool {
	return binaryBytes(body) <= min(len(body), sniffLength)/20
}

const sniffLength = 4 << 10

func binaryBytes(body []byte) (n int) {
	for _, c := range body[:min(len(body), sniffLength)] {
		if c <= 0x08 || c == 0x0b || c >= 0x0e && c <= 0x1a || c >= 0x1c && c <= 0x1f {
			n++
		}
	}
	return n
}

// binaryType is the sniffed type of something that is not text.
func binaryType(sniffed string) string {
	if strings.HasPrefix(sniffed, "text/") {
		return "application/octet-stream"
	}
	return sniffed
}

func note(media string, size int) string {
	if strings.HasPrefix(media, "image/") && supportedImage(media) && size > MaxImage {
		return fmt.Sprintf("This is an image (%s) of %s, above the limit of %s: download it yourself or ask for a smaller version.", media, humanSize(size), humanSize(MaxImage))
	}
	return fmt.Sprintf("This is a binary file (%s, %s): download it yourself, this tool returns text and images only.", media, humanSize(size))
}

func humanSize(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
