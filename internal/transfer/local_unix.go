//go:build unix

package transfer

import (
	"os"
	"syscall"
)

// noFollow keeps an open from following a link that somebody has put there.
const noFollow = syscall.O_NOFOLLOW

// fromSystem adds what only the system's own structure tells.
func (i *info) fromSystem(fi os.FileInfo) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	i.access = accessTime(st)
	i.sparse = fi.Mode().IsRegular() && st.Blocks*512 < st.Size // POSIX leaves the unit open; all of ours have 512
}
