package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// duplicate is dup2, which not every Linux has as a system call.
func duplicate(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }

// widen gives a pipe room for more than the usual 64 KiB, so that an SSH client
// and we take turns less often. What is no pipe stays as it is, and so do the
// pipes of a user who has very many.
func widen(pipe *os.File) {
	_, _ = unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, pipeBuffer)
}
