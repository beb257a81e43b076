package tlsmat

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// produced reports whether a message was made from c: its text, with anything in the places of what
// was filled in, its code and its remedy.
func produced(c catalogue.Cause, field, code, says, remedy string) bool {
	fits := func(pattern, text string) bool {
		var re strings.Builder
		last := 0
		for _, at := range placeholder.FindAllStringIndex(pattern, -1) {
			re.WriteString(regexp.QuoteMeta(pattern[last:at[0]]) + "(?s:.*)")
			last = at[1]
		}
		re.WriteString(regexp.QuoteMeta(pattern[last:]))
		return regexp.MustCompile(`^`+re.String()+`$`).MatchString(text) && !placeholder.MatchString(text)
	}
	return code == strings.ReplaceAll(c.Code, "{field}", field) && fits(c.Says, says) && fits(c.Remedy, remedy)
}

func TestCauses(t *testing.T) {
	known := map[string]bool{}
	for _, c := range append(Causes(), ServerCauses()...) {
		if c.ID == "" || known[c.ID] {
			t.Errorf("the ID %q is empty or not unique", c.ID)
		}
		known[c.ID] = true
		if !strings.HasPrefix(c.Code, "tls.") || c.Says == "" || c.Remedy == "" || strings.HasSuffix(c.Says, ".") || strings.HasSuffix(c.Remedy, ".") {
			t.Errorf("%+v: a code, a sentence or a remedy is missing, or a full stop is too much", c)
		}
	}
	for id := range declaredCauses(t) {
		if !known[id] {
			t.Errorf("%s is not among Causes() or ServerCauses()", id)
		}
	}
	if len(known) < 60 {
		t.Errorf("only %d causes", len(known))
	}
}

// declaredCauses are the IDs of all literals of type Cause here and in keyfile.
func declaredCauses(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../keyfile/*.go")
	if err != nil || more == nil {
		t.Fatalf("%v, %d files", err, len(more))
	}
	files = append(files, more...)
	ids := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) == 0 {
				return true
			}
			if of, ok := lit.Type.(*ast.SelectorExpr); !ok || of.Sel.Name != "Cause" {
				return true
			}
			first := lit.Elts[0]
			if kv, ok := first.(*ast.KeyValueExpr); ok {
				first = kv.Value
			}
			if id, ok := first.(*ast.BasicLit); ok {
				plain, err := strconv.Unquote(id.Value)
				if err != nil {
					t.Fatal(err)
				}
				ids[plain] = true
			}
			return true
		})
	}
	if len(ids) == 0 {
		t.Fatal("no cause is declared")
	}
	return ids
}

// cause is the one with that ID.
func cause(t *testing.T, id string) catalogue.Cause {
	t.Helper()
	for _, c := range Causes() {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no cause %s", id)
	return catalogue.Cause{}
}
