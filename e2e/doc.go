// Package e2e tests the built binary against a real authorization server, the npm package oidc-provider.
package e2e
