package cli

import "golang.org/x/sys/unix"

// duplicate is dup2, which not every Linux has as a system call.
func duplicate(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }
