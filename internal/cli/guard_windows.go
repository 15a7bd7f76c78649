package cli

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// apart starts a process without our console, whose closing and whose Ctrl-C
// then do not reach it.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
