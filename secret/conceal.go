package secret

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// What is shorter stands in any text by chance; of a secret's parts, more does.
const minConcealed, minPart = 4, 8

// Conceal replaces secrets in a text of somebody we told them by [Redacted]: each as it is,
// percent-encoded (of a query or a path, or of a form) and in base64. One that is a scheme with
// credentials, as in an Authorization header (RFC 9110 §11.4), is also looked for without the
// scheme, and one of Basic decoded (RFC 7617 §2). Secrets of less than four bytes are left alone.
//
// It is for those who repeat what they were sent without thinking. Whoever wants to give a secret
// away can always write it in another way.
func Conceal(text string, secrets ...Text) string {
	var found []string
	for _, s := range secrets {
		for _, form := range forms(s.Reveal()) {
			if strings.Contains(text, form) && !slices.Contains(found, form) {
				found = append(found, form)
			}
		}
	}
	if len(found) == 0 {
		return text
	}
	// One may begin with another: the longest goes first. One pass each, which takes linear time for
	// whatever text; a strings.Replacer of several does not.
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, form := range found {
		text = strings.ReplaceAll(text, form, mark)
	}
	return strings.ReplaceAll(text, mark, Redacted)
}

// mark stands for [Redacted] until the end, for no secret is as short as to be found in it.
const mark = "\x00\x1b\x00"

// forms are those that a secret may be repeated in.
func forms(plain string) (all []string) {
	if len(plain) < minConcealed {
		return nil
	}
	for _, s := range append(parts(plain), plain) {
		all = append(all, s, url.QueryEscape(s), url.PathEscape(s))
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			all = append(all, e.EncodeToString([]byte(s)))
		}
	}
	return all
}

// parts are what is secret by itself in a scheme with credentials.
func parts(plain string) []string {
	scheme, credentials, ok := strings.Cut(plain, " ")
	if !ok || strings.ContainsAny(scheme, ",;=/") {
		return nil
	}
	found := []string{credentials}
	if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
		_, password, _ := strings.Cut(string(pair), ":")
		found = append(found, string(pair), password)
	}
	return slices.DeleteFunc(found, func(s string) bool { return len(s) < minPart })
}
