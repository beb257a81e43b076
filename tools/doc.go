// Package tools holds the MCP tools (Model Context Protocol, tools/call): their input, their
// output, and how each outcome is told to a model.
package tools
