package cli

import "golang.org/x/sys/unix"

// duplicate is dup2.
func duplicate(from, to int) error { return unix.Dup2(from, to) }
