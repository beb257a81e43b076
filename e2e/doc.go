// Package e2e tests the built binary: against a real authorization server, the npm package oidc-provider, and against hostile ones.
package e2e
