package oauthtest

import "embed"

//go:embed site/*.html
var site embed.FS

// documentation is the built-in site.
func documentation() map[string]Page {
	pages := map[string]Page{}
	for path, file := range map[string]string{"/": "site/index.html", "/docs/handbook": "site/handbook.html"} {
		body, err := site.ReadFile(file)
		if err != nil {
			panic(err) // it was embedded above
		}
		pages[path] = Page{Body: body}
	}
	return pages
}
