package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// widen gives a pipe room for more than the usual 64 KiB, so that a command and
// the agent take turns less often. The system has a limit for users who are not
// root; then the pipe stays as it is.
func widen(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // the pipe has just been made
		unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) //nolint:errcheck // see above
	})
}
