// Package layering holds the import table.
package layering
