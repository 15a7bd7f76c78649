package transfer

import (
	"os"
	"syscall"
	"time"
)

// noFollow does not exist here: links need a privilege to be made.
const noFollow = 0

// fromSystem adds what only the system's own structure tells.
func (i *info) fromSystem(fi os.FileInfo) {
	if d, ok := fi.Sys().(*syscall.Win32FileAttributeData); ok {
		i.access = time.Unix(0, d.LastAccessTime.Nanoseconds())
	}
}
