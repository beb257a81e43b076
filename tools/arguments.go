package tools

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/render"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// arguments of webfetch, validated.
type arguments struct {
	URL        string        `json:"url"`
	Format     render.Format `json:"format"`
	StartIndex int           `json:"start_index"` // characters
	MaxLength  int           `json:"max_length"`  // characters
	Timeout    int           `json:"timeout"`     // seconds
	Wait       int           `json:"wait"`        // seconds

	url *url.URL
}

var inputSchema = json.RawMessage(`{
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "format": "uri", "description": "http or https URL of the page"},
    "format": {"type": "string", "enum": ["markdown", "text", "html", "raw"], "default": "markdown", "description": "how the page is returned"},
    "start_index": {"type": "integer", "minimum": 0, "maximum": 2147483647, "default": 0, "description": "first character to return; next_start_index of the answer before"},
    "max_length": {"type": "integer", "minimum": 1, "maximum": 400000, "default": 40000, "description": "characters to return at most"},
    "timeout": {"type": "integer", "minimum": 1, "maximum": 120, "default": 30, "description": "seconds for fetching"},
    "wait": {"type": "integer", "minimum": 0, "maximum": 240, "default": 0, "description": "seconds to wait for the user to finish a sign-in"}
  }
}`)

// argumentError says what is wrong with the arguments of a call.
type argumentError struct{ reason, hint string }

func (e *argumentError) Error() string { return e.reason }

// Code is the stable machine code of this error.
func (e *argumentError) Code() string { return "invalid_arguments" }

// Hint says what to do.
func (e *argumentError) Hint() string { return e.hint }

var argumentNames = []string{"url", "format", "start_index", "max_length", "timeout", "wait"}

// parseArguments checks every argument; what is not known is refused by name, never dropped.
func parseArguments(input any) (arguments, error) {
	args := arguments{Format: render.Markdown, MaxLength: 40000, Timeout: 30}
	data, err := argumentBytes(input)
	if err != nil {
		return args, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &members); err != nil {
		return args, &argumentError{"the arguments are not a JSON object", "call webfetch with an object such as {\"url\": \"https://…\"}"}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(argumentNames, name) {
			return args, &argumentError{fmt.Sprintf("webfetch has no argument %s", sanitize.Quote(name)), "its arguments are " + strings.Join(argumentNames, ", ")}
		}
	}
	texts := []struct {
		name string
		to   *string
	}{{"url", &args.URL}, {"format", (*string)(&args.Format)}}
	for _, m := range texts {
		if v, ok := members[m.name]; ok && (string(v) == "null" || json.Unmarshal(v, m.to) != nil) {
			return args, &argumentError{m.name + " is not a string", "give " + m.name + " as a JSON string"}
		}
	}
	numbers := []struct {
		name     string
		to       *int
		min, max int
	}{{"start_index", &args.StartIndex, 0, math.MaxInt32}, {"max_length", &args.MaxLength, 1, 400000}, {"timeout", &args.Timeout, 1, 120}, {"wait", &args.Wait, 0, 240}}
	for _, m := range numbers {
		if v, ok := members[m.name]; ok {
			if err := integer(v, m.to, m.min, m.max); err != nil {
				return args, &argumentError{m.name + " " + err.Error(), "leave " + m.name + " out to get its default"}
			}
		}
	}
	if !slices.Contains([]render.Format{render.Markdown, render.Text, render.HTML, render.Raw}, args.Format) {
		return args, &argumentError{"format " + sanitize.Quote(string(args.Format)) + " is not known", "use markdown, text, html or raw"}
	}
	if args.URL == "" {
		return args, &argumentError{"url is missing", "give the page's URL, such as https://host.example/page"}
	}
	u, err := fetch.ParseURL(args.URL)
	if err != nil {
		return args, err
	}
	args.url = u
	return args, nil
}

func argumentBytes(input any) ([]byte, error) {
	switch v := input.(type) {
	case nil:
		return []byte("{}"), nil
	case json.RawMessage:
		return v, nil
	}
	return json.Marshal(input)
}

// integer accepts 5 and 5.0, which some models write.
func integer(v json.RawMessage, to *int, min, max int) error {
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f != math.Trunc(f) {
		return errors.New("is not a whole number")
	}
	if f < float64(min) || f > float64(max) {
		return fmt.Errorf("is not between %d and %d", min, max)
	}
	*to = int(f)
	return nil
}
