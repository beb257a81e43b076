//go:build !unix

package signer

import "os/exec"

func ownGroup(*exec.Cmd) {}

// killGroup kills the process alone: its children see their standard input end.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
