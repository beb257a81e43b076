package config

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// document is the text of a file and what was found wrong with it.
type document struct {
	path     string
	data     []byte // without byte order mark
	problems []problem
	warnings []problem
}

// problem is an [Error] whose position is still an offset; only the problems that are shown pay
// for a line and column.
type problem struct {
	offset     int
	key        string
	reason     string
	suggestion string
	first      int // offset of the other place that it is about; 0 means none
}

func newDocument(path string, data []byte) *document {
	return &document{path: path, data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
}

func (d *document) add(p problem) { d.problems = append(d.problems, p) }

func (d *document) warn(n *node, text string) {
	d.warnings = append(d.warnings, problem{offset: n.offset, key: n.key, reason: text})
}

// fail reports a problem with the value of a setting.
func (d *document) fail(n *node, format string, args ...any) {
	d.add(problem{offset: n.offset, key: n.key, reason: fmt.Sprintf(format, args...)})
}

// position is where offset lies: line and column from 1, the column in characters.
func (d *document) position(offset int) (line, column int) {
	before := d.data[:min(offset, len(d.data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// at is the position as it stands in a sentence.
func (d *document) at(offset int) string {
	line, column := d.position(offset)
	return fmt.Sprintf("%d:%d", line, column)
}

// errors are the problems in the order of the file, then those of the environment.
func (d *document) errors(variables []*Error) Errors {
	var all Errors
	for _, p := range firstOf(d.problems) {
		e := &Error{Path: d.path, Key: p.key, Reason: p.reason, Suggestion: p.suggestion}
		e.Line, e.Column = d.position(p.offset)
		if p.first > 0 {
			e.Reason += ", first at " + d.at(p.first)
		}
		all = append(all, e)
	}
	all = append(all, variables...)
	return all[:min(len(all), maxErrors)]
}

func (d *document) warningLines() []string {
	var lines []string
	for _, p := range firstOf(d.warnings) {
		lines = append(lines, fmt.Sprintf("%s:%s: %s", d.path, d.at(p.offset), p.reason))
	}
	return lines
}

func firstOf(problems []problem) []problem {
	slices.SortStableFunc(problems, func(a, b problem) int { return a.offset - b.offset })
	return problems[:min(len(problems), maxErrors)]
}
