// Package oauthtest is a fake authorization server and protected resource that record what they
// received, and a person who signs in; for tests and the demo.
//
// The fakes are strict: what RFC 6749 and those that extend it (7009, 7523, 7591, 7592, 7636, 8628,
// 8693, 8705, 8707, 9126, 9449) let a server refuse, they refuse, so that a client that gets
// through has proven something. To see how a client bears a bad
// server, change documents, replies and redirects with the Edit options, or replace an endpoint
// with Handle.
package oauthtest
