package layering

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The rules are only worth something if they can be broken.
func TestCheckComplains(t *testing.T) {
	of := func(path, source string) pkg {
		name := path[strings.LastIndex(path, "/")+1:]
		doc := "Package " + name + " is here."
		if inCommand(path) {
			name, doc = "main", "Command "+name+" is here."
		}
		f, err := parse("x.go", []byte("package "+name+"\n"+source))
		if err != nil {
			t.Fatal(err)
		}
		return pkg{path: path, name: name, doc: doc, files: []file{f}}
	}
	ours := func(path string) string { return `import _ "` + module + "/" + path + `"` }

	tests := map[string]struct {
		pkg  pkg
		want []string // beginnings
	}{
		"downward":                {of("auth", ours("login")), nil},
		"far downward":            {of("server", ours("origin")), nil},
		"the standard library":    {of("origin", `import "net/url"; var _ url.URL`), nil},
		"upward":                  {of("login", ours("auth")), []string{"login: x.go imports " + module + "/auth: floor 3 must not import from floor 5"}},
		"sideways":                {of("fetch", ours("auth")), []string{"fetch: x.go imports " + module + "/auth: floor 5 must not import from floor 5"}},
		"unknown package":         {of("surprise", ""), []string{"surprise: not in the table"}},
		"import of unknown":       {of("auth", ours("surprise")), []string{"auth: x.go imports " + module + "/surprise: one of them is not in the table"}},
		"import of the root":      {of("auth", `import _ "`+module+`"`), []string{"auth: x.go imports " + module + ": one of them is not in the table"}},
		"like the module":         {of("auth", `import _ "`+module+`-else/x"`), nil},
		"refused name":            {of("util", ""), []string{"util: not in the table", "util: the name \"util\""}},
		"refused name, nested":    {of("internal/helpers/x", ""), []string{"internal/helpers/x: not in the table", "internal/helpers/x: the name \"helpers\""}},
		"tests' package":          {of("auth", ours("internal/oauthtest")), []string{"auth: x.go imports " + module + "/internal/oauthtest: it is for tests"}},
		"tests' package, command": {of(command, ours("internal/oauthtest")), nil},
		"this package, command":   {of(command, ours("internal/layering")), []string{command + ": x.go imports " + module + "/internal/layering: it is for tests"}},
		"tests' package upwards":  {of("internal/oauthtest", ours("origin")), []string{"internal/oauthtest: x.go imports " + module + "/origin: a package for tests stands alone"}},
		"tests' packages":         {of("internal/tlstest", ours("internal/oauthtest")), []string{"internal/tlstest: x.go imports " + module + "/internal/oauthtest: a package for tests stands alone"}},

		"no doc":             {pkg{path: "auth", name: "auth"}, []string{"auth: the doc comment must begin with \"Package auth \""}},
		"doc of another":     {pkg{path: "auth", name: "auth", doc: "Package authorize is."}, []string{"auth: the doc comment"}},
		"doc of a command":   {pkg{path: command, name: "main", doc: "Package main is."}, []string{command + ": the doc comment must begin with \"Command \""}},
		"doc of the command": {pkg{path: command, name: "main", doc: "Command mcp-authfetch is."}, nil},

		"stdout":           {of("tools", "import \"os\"\nvar _ = os.Stdout"), []string{"tools: x.go:3: os.Stdout is for the command"}},
		"stdin":            {of("tools", "import \"os\"\nvar _ = os.Stdin"), []string{"tools: x.go:3: os.Stdin is for the command"}},
		"arguments":        {of("tools", "import \"os\"\nvar _ = os.Args"), []string{"tools: x.go:3: os.Args is for the command"}},
		"environment":      {of("config", "import \"os\"\nvar _ = os.Getenv(`X`)"), []string{"config: x.go:3: os.Getenv is for the command"}},
		"environment, too": {of("config", "import \"os\"\nvar _, _ = os.LookupEnv(`X`)"), []string{"config: x.go:3: os.LookupEnv is for the command"}},
		"passed on":        {of("config", "import \"os\"\nvar _ = f(os.LookupEnv)"), []string{"config: x.go:3: os.LookupEnv is for the command"}},
		"renamed":          {of("config", "import sys \"os\"\nvar _ = sys.Getenv(`X`)"), []string{"config: x.go:3: os.Getenv is for the command"}},
		"dotted":           {of("config", "import . \"os\"\nvar _ = Getenv(`X`)"), []string{"config: x.go:2: dot import of os"}},
		"printing":         {of("auth", "import \"fmt\"\nfunc f() { fmt.Println() }"), []string{"auth: x.go:3: fmt.Println is for the command"}},
		"logging":          {of("auth", "import \"log\"\nfunc f() { log.Printf(``) }"), []string{"auth: x.go:3: log.Printf is for the command"}},
		"log/slog":         {of("auth", "import log \"log/slog\"\nfunc f() { log.Info(``) }"), nil},
		"flags":            {of("config", `import "flag"; var _ = flag.Args`), []string{"config: x.go imports flag: only the command knows flags"}},
		"cobra":            {of("server", `import _ "github.com/spf13/cobra"`), []string{"server: x.go imports github.com/spf13/cobra: only the command"}},
		"the command may":  {of(command, "import (\"flag\"; \"fmt\"; \"os\")\nfunc f() { fmt.Println(os.Args, os.Stdout, os.Getenv(`X`), flag.Args()) }"), nil},
		"os, otherwise":    {of("tokenstore", "import \"os\"\nvar _, _ = os.ReadFile(`X`)"), nil},

		"init":              {of("auth", "func init() {}"), []string{"auth: x.go:2: func init"}},
		"init, command":     {of(command, "func init() {}"), []string{command + ": x.go:2: func init"}},
		"method init":       {of("auth", "type t int; func (t) init() {}"), nil},
		"default client":    {of(command, "import \"net/http\"\nvar _ = http.DefaultClient"), []string{command + ": x.go:3: net/http.DefaultClient"}},
		"its transport":     {of("outbound", "import \"net/http\"\nvar _ = http.DefaultTransport"), []string{"outbound: x.go:3: net/http.DefaultTransport"}},
		"http.Get":          {of("outbound", "import \"net/http\"\nvar _, _ = http.Get(``)"), []string{"outbound: x.go:3: net/http.Get"}},
		"http.MethodGet":    {of("outbound", "import \"net/http\"\nvar _ = http.MethodGet"), nil},
		"reading":           {of("auth", "var _ = h.Get(`www-authenticate`)"), []string{"auth: x.go:2: only package challenge"}},
		"reading all":       {of("auth", "var _ = h.Values(\"WWW-Authenticate\")"), []string{"auth: x.go:2: only package challenge"}},
		"reading the map":   {of("auth", "var _ = h[\"Www-Authenticate\"]"), []string{"auth: x.go:2: only package challenge"}},
		"under a name":      {of("auth", "const x = \"WWW-Authenticate\""), []string{"auth: x.go:2: only package challenge"}},
		"in a variable":     {of("auth", "func f() { x := \"WWW-Authenticate\"; _ = x }"), []string{"auth: x.go:2: only package challenge"}},
		"handing on":        {of("auth", "import \""+module+"/challenge\"\nvar _ = challenge.Parse(h.Values(\"WWW-Authenticate\"))"), nil},
		"handing elsewhere": {of("auth", "var _ = challenge.Parse(h.Values(\"WWW-Authenticate\"))"), []string{"auth: x.go:2: only package challenge"}},
		"setting":           {of("server", "func f() { h.Set(\"WWW-Authenticate\", ``) }"), nil},
		"reading, allowed":  {of("challenge", "var _ = h.Values(\"WWW-Authenticate\")"), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := check([]pkg{test.pkg})
			for i := range got {
				if i < len(test.want) && strings.HasPrefix(got[i], test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	for path, entry := range table {
		if entry.reason == "" || entry.floor < forTests || entry.floor > 8 {
			t.Errorf("%s: floor %d, reason %q", path, entry.floor, entry.reason)
		}
		if (entry.floor == forTests) != (strings.HasPrefix(path, "internal/") || path == "e2e") {
			t.Errorf("%s: packages for tests, and no others, are internal or e2e", path)
		}
		if (entry.floor == 8) != inCommand(path) {
			t.Errorf("%s: programs, and nothing else, are on the top floor", path)
		}
	}
}
