package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mcp-authfetch/mcp-authfetch"

// command is the one package that knows the process: flags, environment, standard streams.
const command = "cmd/mcp-authfetch"

// forTests marks packages that exist for tests, and for the demo of the command.
const forTests = -1

// table says on which floor a package is and why it exists. A package imports from lower floors only.
var table = map[string]struct {
	floor  int
	reason string
}{
	"catalogue": {0, "the form of what is said about certificates, keys and TLS"},
	"origin":    {0, "the canonical form of a web origin, in which every decision about credentials is made"},
	"principal": {0, "whose credentials a piece of work may use"},
	"sanitize":  {0, "makes remote text safe to show"},
	"secret":    {0, "text that must never be printed"},

	"challenge":  {1, "parses WWW-Authenticate"},
	"config":     {1, "one file and the environment, loaded, checked, explained"},
	"dpop":       {1, "proves that the sender of a token holds its key"},
	"keyfile":    {1, "reads certificates and private keys from files"},
	"netguard":   {1, "decides which addresses may be dialled"},
	"pkcs11key":  {1, "a private key inside a PKCS #11 token"},
	"render":     {1, "turns bytes and a media type into what a model can read"},
	"signer":     {1, "a private key that lives in another process"},
	"tokenstore": {1, "keeps tokens, client registrations and approvals"},
	"workload":   {1, "identities from the SPIFFE Workload API"},

	"action":    {2, "what a person must do before work can go on"},
	"discovery": {2, "finds and validates RFC 9728 and RFC 8414 documents"},
	"tlsmat":    {2, "client certificates, keys and roots"},

	"login":    {3, "runs one grant against one authorization server"},
	"tlsfault": {3, "explains TLS failures"},

	"outbound": {4, "the transport for each origin, guarded and with its certificate"},

	"auth":  {5, "which credential a request carries, and what happens when it is challenged"},
	"fetch": {5, "gets one URL within bounds"},

	"tools": {6, "the MCP tools"},

	"server": {7, "serves MCP over stdio and streamable HTTP"},

	"conformance": {8, "a program that drives auth.Transport for the MCP conformance suite"},
	command:       {8, "parses flags and config, builds every part once, speaks to the human at a terminal"},

	"e2e":                {forTests, "tests of the built program against real servers"},
	"internal/layering":  {forTests, "holds this table"},
	"internal/oauthtest": {forTests, "a resource and authorization server that records what it received"},
	"internal/tlstest":   {forTests, "a throw-away certificate authority"},
}

// refused are names that say nothing about what a package holds.
var refused = []string{"util", "utils", "common", "helpers", "types", "models", "errors", "logger", "clock", "middleware", "pkg", "di", "mocks"}

func TestHouse(t *testing.T) {
	root := moduleRoot(t)
	packages := list(t, root)
	if len(packages) == 0 {
		t.Fatal("no packages found")
	}
	for _, problem := range check(packages) {
		t.Error(problem)
	}
	// A package whose every file is for another platform is not in the list of this one. Walking
	// also tells the test cache which directories the result depends on.
	for _, dir := range directories(t, root) {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return p.path == dir }) {
			t.Errorf("%s: has Go files but is not listed; does it build on this platform?", dir)
		}
	}
}

// pkg is what the rules are about.
type pkg struct {
	path  string // below the module, "" for its root
	name  string
	doc   string
	files []file // non-test, for every platform
}

// check returns what is wrong, sorted.
func check(packages []pkg) []string {
	var problems []string
	for _, p := range packages {
		complain := func(format string, args ...any) {
			problems = append(problems, p.path+": "+fmt.Sprintf(format, args...))
		}
		for _, element := range strings.Split(p.path, "/") {
			if slices.Contains(refused, element) {
				complain("the name %q says nothing about what is inside", element)
			}
		}
		opening := "Package " + p.name + " "
		if p.name == "main" {
			opening = "Command "
		}
		if !strings.HasPrefix(p.doc, opening) {
			complain("the doc comment must begin with %q, not with %.30q", opening, p.doc)
		}
		if _, ok := table[p.path]; !ok {
			complain("not in the table; give it a floor and a reason")
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				if reason := forbidden(p.path, imported); reason != "" {
					complain("%s imports %s: %s", f.name, imported, reason)
				}
			}
			for _, problem := range f.check(p.path) {
				complain("%s", problem)
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// forbidden says why from must not import to, or "".
func forbidden(from, to string) string {
	below, ours := strings.CutPrefix(to, module+"/")
	if to == module {
		below, ours = "", true
	}
	if !ours {
		if !inCommand(from) && (to == "flag" || to == "github.com/spf13/pflag" || to == "github.com/spf13/cobra") {
			return "only the command knows flags"
		}
		return ""
	}
	importer, target := table[from], table[below]
	switch {
	case importer.reason == "" || target.reason == "":
		return "one of them is not in the table"
	case importer.floor == forTests:
		return "a package for tests stands alone"
	case target.floor == forTests && from == command && below != "internal/layering":
		return ""
	case target.floor == forTests:
		return "it is for tests"
	case target.floor >= importer.floor:
		return fmt.Sprintf("floor %d must not import from floor %d", importer.floor, target.floor)
	}
	return ""
}

// inCommand reports whether path is of a program, which knows the process that it runs in.
func inCommand(path string) bool {
	return path == "cmd" || strings.HasPrefix(path, "cmd/") || path == "conformance"
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	mod := strings.TrimSpace(string(output(t, "", "go", "env", "GOMOD")))
	if filepath.Base(mod) != "go.mod" {
		t.Fatalf("go env GOMOD: %q is not a go.mod", mod)
	}
	return filepath.Dir(mod)
}

// list asks the go command for the packages and parses their non-test files. The imports come from
// the files, so that those for other platforms count too.
func list(t *testing.T, root string) []pkg {
	t.Helper()
	var packages []pkg
	dec := json.NewDecoder(bytes.NewReader(output(t, root, "go", "list", "-find", "-json=ImportPath,Dir,Name,Doc,GoFiles,CgoFiles,IgnoredGoFiles", "./...")))
	for {
		var listed struct {
			ImportPath, Dir, Name, Doc        string
			GoFiles, CgoFiles, IgnoredGoFiles []string
		}
		err := dec.Decode(&listed)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		p := pkg{path: strings.TrimPrefix(strings.TrimPrefix(listed.ImportPath, module), "/"), name: listed.Name, doc: listed.Doc}
		for _, name := range slices.Concat(listed.GoFiles, listed.CgoFiles, listed.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(filepath.Join(listed.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := parse(name, source)
			if err != nil {
				t.Fatal(err)
			}
			p.files = append(p.files, f)
		}
		packages = append(packages, p)
	}
}

// directories returns every directory below root that holds Go files of the module.
func directories(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ".go":
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			if dir == "." {
				dir = ""
			}
			found = append(found, filepath.ToSlash(dir))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func output(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}
