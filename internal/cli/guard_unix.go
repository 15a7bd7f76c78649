//go:build unix

package cli

import "syscall"

// apart starts a process in a session of its own: a terminal that is closed, a
// Ctrl-C and a shell that ends its jobs do not reach it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
