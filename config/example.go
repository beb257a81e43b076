package config

import (
	_ "embed"
	"slices"
)

//go:embed example.jsonc
var example []byte

// Example is a commented file to start from. It is valid as it stands and sets nothing: every
// setting is commented out.
func Example() []byte { return slices.Clone(example) }
