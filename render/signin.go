package render

import (
	"bytes"
	"mime"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// SignInSigns are what tells a page to sign in at from other pages.
type SignInSigns struct {
	Password bool   // a field for a password is visible
	Forwards bool   // a form or a refresh takes the browser on to an identity provider by itself
	About    string // title and headings, lower case, at most a few hundred bytes
	Letters  int    // visible letters and digits
}

// maxAbout bounds what is kept of titles and headings.
const maxAbout = 600

// FindSignIn looks for the signs of a sign-in in a page of HTML. Pages that mention no password and
// no identity provider, nearly all, cost one search through their bytes.
func FindSignIn(body []byte, contentType string) SignInSigns {
	media, params, _ := mime.ParseMediaType(contentType)
	if media != "text/html" && media != "application/xhtml+xml" && media != "" || !suspicious(body) {
		return SignInSigns{}
	}
	text, _ := decode(body, media, params["charset"])
	var s SignInSigns
	var about strings.Builder
	var unseenIn, hiddenIn, headingIn string // the element that is open
	depth := 0                               // of elements of the same name in the hidden one
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			s.About = strings.ToLower(about.String())
			return s
		case html.TextToken:
			if unseenIn != "" || hiddenIn != "" {
				continue
			}
			for _, r := range string(z.Text()) {
				if unicode.IsLetter(r) || unicode.IsDigit(r) {
					s.Letters++
				}
				if headingIn != "" && about.Len() < maxAbout {
					about.WriteRune(r)
				}
			}
		case html.EndTagToken:
			tag, _ := z.TagName()
			switch name := string(tag); {
			case name == unseenIn:
				unseenIn = ""
			case name == hiddenIn:
				if depth--; depth == 0 {
					hiddenIn = ""
				}
			case name == headingIn:
				headingIn = ""
				about.WriteByte(' ')
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			a := attributes(t.Attr)
			switch {
			case unseenIn != "":
			case hiddenIn != "":
				if t.Data == hiddenIn && kind == html.StartTagToken {
					depth++
				}
			case t.Data == "title" || t.Data == "h1" || t.Data == "h2":
				headingIn = t.Data
			case unseen[t.Data] && kind == html.StartTagToken:
				unseenIn = t.Data
			case t.Data == "input":
				s.Password = s.Password || strings.EqualFold(strings.TrimSpace(a.get("type")), "password") && !invisible(a)
				s.Forwards = s.Forwards || a.get("name") == "SAMLRequest"
			case t.Data == "meta":
				s.Forwards = s.Forwards || strings.EqualFold(a.get("http-equiv"), "refresh") && strings.Contains(a.get("content"), "SAMLRequest=")
			case invisible(a) && !voidElement[t.Data] && kind == html.StartTagToken:
				hiddenIn, depth = t.Data, 1
			}
		}
	}
}

var voidElement = set(`area base br col embed hr img input link meta source track wbr`)

// suspicious is quick: a page of the usual kind is searched, not read. "Type=PaSsWoRd" is nobody's spelling.
func suspicious(body []byte) bool {
	for _, sign := range []string{"password", "PASSWORD", "Password", "SAMLRequest"} {
		if bytes.Contains(body, []byte(sign)) {
			return true
		}
	}
	return bomEncoding(body) != "" // not ASCII, perhaps
}
