// Package workload gets X.509 identities from the SPIFFE Workload API, in builds with the tag spiffe.
package workload
