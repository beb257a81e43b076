package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// file is a parsed source file.
type file struct {
	name string
	fset *token.FileSet
	ast  *ast.File
}

func parse(name string, source []byte) (file, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	return file{name, fset, f}, err
}

// processOnly are what ties code to the process it runs in: below the command such things are parameters.
var processOnly = map[string][]string{
	"os":  {"Args", "Environ", "ExpandEnv", "Getenv", "LookupEnv", "Stdin", "Stdout"},
	"fmt": {"Print", "Printf", "Println"},
	"log": {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
}

// nowhere are what no package uses: a client without bounds that everything in the process shares.
var nowhere = map[string][]string{
	"net/http": {"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
}

// imports returns the paths the file imports.
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// check returns what is wrong in a file of the package at the path in.
func (f file) check(in string) []string {
	var problems []string
	complain := func(n ast.Node, format string, args ...any) {
		position := f.fset.Position(n.Pos())
		problems = append(problems, fmt.Sprintf("%s:%d: ", position.Filename, position.Line)+fmt.Sprintf(format, args...))
	}
	names := map[string]string{} // as the file calls it → import path
	for i, imported := range f.imports() {
		spec := f.ast.Imports[i]
		switch {
		case spec.Name == nil:
			names[path.Base(imported)] = imported
		case spec.Name.Name == "." && (processOnly[imported] != nil || nowhere[imported] != nil):
			complain(spec, "dot import of %s hides what is used of it", imported)
		default:
			names[spec.Name.Name] = imported
		}
	}
	handedOn := map[ast.Node]bool{} // straight to package challenge
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Parse" {
				if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] == module+"/challenge" {
					for _, arg := range n.Args {
						handedOn[arg] = true
					}
				}
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				complain(n, "func init runs unasked; call it from where it is needed")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			imported := names[x.Name]
			if slices.Contains(processOnly[imported], n.Sel.Name) && !inCommand(in) {
				complain(n, "%s.%s is for the command alone", imported, n.Sel.Name)
			}
			if slices.Contains(nowhere[imported], n.Sel.Name) {
				complain(n, "%s.%s has no bounds and belongs to everybody", imported, n.Sel.Name)
			}
		}
		if in != "challenge" && !handedOn[n] && readsChallenge(n) {
			complain(n, "only package challenge reads WWW-Authenticate; give it the values")
		}
		return true
	})
	return problems
}

// readsChallenge reports whether n takes the header out of a map or a http.Header, or gives its
// name another name. Setting and deleting it is not reading.
func readsChallenge(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		return ok && (sel.Sel.Name == "Get" || sel.Sel.Name == "Values") && len(n.Args) > 0 && isChallengeHeader(n.Args[0])
	case *ast.IndexExpr:
		return isChallengeHeader(n.Index)
	case *ast.ValueSpec:
		return slices.ContainsFunc(n.Values, isChallengeHeader)
	case *ast.AssignStmt:
		return slices.ContainsFunc(n.Rhs, isChallengeHeader)
	}
	return false
}

func isChallengeHeader(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	s, err := strconv.Unquote(lit.Value)
	return err == nil && strings.EqualFold(s, "WWW-Authenticate")
}
