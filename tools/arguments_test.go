package tools

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestArguments(t *testing.T) {
	schema := compiledSchema(t)
	long := "https://docs.example/" + strings.Repeat("a", 2048)
	tests := map[string]struct {
		input string
		want  string // code and message; "" is accepted
		loose bool   // the schema cannot say why this is refused
	}{
		"url alone":          {`{"url":"https://docs.example/"}`, "", false},
		"everything":         {`{"url":"https://docs.example/","format":"text","start_index":7,"max_length":9,"timeout":1,"wait":240}`, "", false},
		"largest":            {`{"url":"https://docs.example/","start_index":2147483647,"max_length":400000,"timeout":120}`, "", false},
		"5.0":                {`{"url":"https://docs.example/","wait":5.0,"timeout":5e0,"start_index":0.0}`, "", false},
		"none":               {`{}`, "invalid_arguments: url is missing", false},
		"empty url":          {`{"url":""}`, "invalid_arguments: url is missing", true},
		"url null":           {`{"url":null}`, "invalid_arguments: url is not a string", false},
		"url number":         {`{"url":5}`, "invalid_arguments: url is not a string", false},
		"url array":          {`{"url":["https://docs.example/"]}`, "invalid_arguments: url is not a string", false},
		"format null":        {`{"url":"https://docs.example/","format":null}`, "invalid_arguments: format is not a string", false},
		"format unknown":     {`{"url":"https://docs.example/","format":"pdf"}`, `invalid_arguments: format "pdf" is not known`, false},
		"format in capitals": {`{"url":"https://docs.example/","format":"HTML"}`, `invalid_arguments: format "HTML" is not known`, false},
		"format empty":       {`{"url":"https://docs.example/","format":""}`, `invalid_arguments: format "" is not known`, false},
		"hostile format":     {`{"url":"https://docs.example/","format":"a\n\u001b[31m\"b"}`, `invalid_arguments: format "a [31m'b" is not known`, false},
		"unknown":            {`{"url":"https://docs.example/","headers":{}}`, `invalid_arguments: webfetch has no argument "headers"`, false},
		"two unknown":        {`{"url":"https://docs.example/","z":1,"approve":true}`, `invalid_arguments: webfetch has no argument "approve"`, false},
		"hostile name":       {`{"url":"https://docs.example/","a\nb\u202e":1}`, `invalid_arguments: webfetch has no argument "a b"`, false},
		"capital URL":        {`{"URL":"https://docs.example/"}`, `invalid_arguments: webfetch has no argument "URL"`, false},
		"5.5":                {`{"url":"https://docs.example/","wait":5.5}`, "invalid_arguments: wait is not a whole number", false},
		"number as string":   {`{"url":"https://docs.example/","wait":"5"}`, "invalid_arguments: wait is not a whole number", false},
		"number null":        {`{"url":"https://docs.example/","timeout":null}`, "invalid_arguments: timeout is not a whole number", false},
		"number true":        {`{"url":"https://docs.example/","timeout":true}`, "invalid_arguments: timeout is not a whole number", false},
		"number array":       {`{"url":"https://docs.example/","timeout":[5]}`, "invalid_arguments: timeout is not a whole number", false},
		"negative start":     {`{"url":"https://docs.example/","start_index":-1}`, "invalid_arguments: start_index is not between 0 and 2147483647", false},
		"huge start":         {`{"url":"https://docs.example/","start_index":1e300}`, "invalid_arguments: start_index is not between 0 and 2147483647", false},
		"max_length 0":       {`{"url":"https://docs.example/","max_length":0}`, "invalid_arguments: max_length is not between 1 and 400000", false},
		"max_length 400001":  {`{"url":"https://docs.example/","max_length":400001}`, "invalid_arguments: max_length is not between 1 and 400000", false},
		"timeout 0":          {`{"url":"https://docs.example/","timeout":0}`, "invalid_arguments: timeout is not between 1 and 120", false},
		"timeout 121":        {`{"url":"https://docs.example/","timeout":121}`, "invalid_arguments: timeout is not between 1 and 120", false},
		"wait -1":            {`{"url":"https://docs.example/","wait":-1}`, "invalid_arguments: wait is not between 0 and 240", false},
		"wait 241":           {`{"url":"https://docs.example/","wait":241}`, "invalid_arguments: wait is not between 0 and 240", false},
		"array":              {`["https://docs.example/"]`, "invalid_arguments: the arguments are not a JSON object", false},
		"string":             {`"https://docs.example/"`, "invalid_arguments: the arguments are not a JSON object", false},
		"ftp":                {`{"url":"ftp://docs.example/"}`, "invalid_url", true},
		"javascript":         {`{"url":"javascript:alert(1)"}`, "invalid_url", true},
		"file":               {`{"url":"file:///etc/passwd"}`, "invalid_url", true},
		"relative":           {`{"url":"/docs"}`, "invalid_url", true},
		"no host":            {`{"url":"http://:80/"}`, "invalid_url", true},
		"user name":          {`{"url":"https://u:p@docs.example/"}`, "invalid_url", true},
		"line break":         {`{"url":"https://docs.example/\nX"}`, "invalid_url", true},
		"zone":               {`{"url":"http://[::1%25lo]/"}`, "invalid_url", true},
		"long":               {`{"url":"` + long + `"}`, "invalid_url", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var input any
			if err := json.Unmarshal([]byte(test.input), &input); err != nil {
				t.Fatal(err)
			}
			for _, in := range []any{input, json.RawMessage(test.input)} {
				_, err := parseArguments(in)
				got := ""
				if err != nil {
					var coded interface{ Code() string }
					var hinted interface{ Hint() string }
					if !errors.As(err, &coded) || !errors.As(err, &hinted) || hinted.Hint() == "" {
						t.Fatalf("%v has no code or no hint", err)
					}
					got = coded.Code() + ": " + err.Error()
				}
				if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
			if refused := schema.Validate(input) != nil; refused != (test.want != "") && !test.loose {
				t.Errorf("the schema refuses: %v, we refuse: %v", refused, test.want != "")
			}
		})
	}
}

func TestArgumentsWithoutAny(t *testing.T) {
	if _, err := parseArguments(nil); err == nil || err.Error() != "url is missing" {
		t.Errorf("got %v", err)
	}
}

func TestArgumentDefaults(t *testing.T) {
	got, err := parseArguments(map[string]any{"url": "HTTPS://Docs.Example:443/a#x"})
	if err != nil {
		t.Fatal(err)
	}
	if u := got.url.String(); u != "https://docs.example/a#x" {
		t.Errorf("url is %s", u)
	}
	got.url, got.URL = nil, ""
	want := arguments{Format: "markdown", StartIndex: 0, MaxLength: 40000, Timeout: 30, Wait: 0}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(arguments{})); d != "" {
		t.Error(d)
	}
	// What the schema says of the defaults must be true.
	var schema struct {
		Required   []string
		Properties map[string]struct{ Default any }
	}
	if err := json.Unmarshal(inputSchema, &schema); err != nil {
		t.Fatal(err)
	}
	defaults := map[string]any{}
	var names []string
	for name, p := range schema.Properties {
		names = append(names, name)
		if p.Default != nil {
			defaults[name] = p.Default
		}
	}
	slices.Sort(names)
	if d := cmp.Diff(slices.Sorted(slices.Values(argumentNames)), names); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"format": "markdown", "start_index": 0.0, "max_length": 40000.0, "timeout": 30.0, "wait": 0.0}, defaults); d != "" {
		t.Error(d)
	}
}

func TestRefusedArgumentsSendNothing(t *testing.T) {
	s := serving(200, "text/plain", "x")
	res := handle(t, newTool(s, Options{}), map[string]any{"url": "https://docs.example/", "issuer": "https://evil.example"})
	want := "ERROR invalid_arguments: webfetch has no argument \"issuer\".\nWhat to do: its arguments are url, format, start_index, max_length, timeout, wait."
	if got := textOf(t, res); got != want || !res.IsError {
		t.Errorf("got %q", got)
	}
	wantFacts := map[string]any{"status": "error", "error": map[string]any{
		"code": "invalid_arguments", "message": `webfetch has no argument "issuer"`,
		"hint": "its arguments are url, format, start_index, max_length, timeout, wait", "retryable": false,
	}}
	if d := cmp.Diff(wantFacts, factsOf(t, res)); d != "" {
		t.Error(d)
	}
	if got := s.requests(); len(got) > 0 {
		t.Errorf("the site received %v", got)
	}
}

// Nobody can approve anything, or choose whose login is used, by an argument.
func TestNoArgumentGrantsAnything(t *testing.T) {
	for _, name := range []string{"approve", "confirm", "scopes", "issuer", "client_id", "tenant", "user", "headers", "method", "cert", "allow_private"} {
		if _, err := parseArguments(map[string]any{"url": "https://docs.example/", name: true}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestTool(t *testing.T) {
	data, err := json.Marshal(newTool(nil, Options{}).Tool())
	if err != nil {
		t.Fatal(err)
	}
	var tool map[string]any
	if err := json.Unmarshal(data, &tool); err != nil {
		t.Fatal(err)
	}
	wantHints := map[string]any{
		"title": "Fetch a web page (with sign-in)", "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": true,
	}
	if d := cmp.Diff(wantHints, tool["annotations"]); d != "" {
		t.Error(d)
	}
	for _, absent := range []string{"outputSchema", "_meta"} {
		if _, ok := tool[absent]; ok {
			t.Errorf("the tool has %s", absent)
		}
	}
	if tool["name"] != "webfetch" || tool["title"] == "" {
		t.Errorf("name %v, title %v", tool["name"], tool["title"])
	}
	for _, text := range []string{tool["description"].(string), Instructions} {
		if !strings.Contains(text, "LOGIN REQUIRED") || len(text) > 500 {
			t.Errorf("%d characters: %s", len(text), text)
		}
	}
	schema := tool["inputSchema"].(map[string]any)
	if schema["additionalProperties"] != false {
		t.Error("additionalProperties is not false")
	}
	for name, p := range schema["properties"].(map[string]any) {
		if p.(map[string]any)["description"] == nil {
			t.Errorf("%s has no description", name)
		}
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(inputSchema)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("webfetch.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("webfetch.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
