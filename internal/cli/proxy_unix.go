//go:build linux || darwin

package cli

import (
	"errors"
	"os"
	"syscall"
)

// toNowhere closes what a file of ours leads to, and keeps its number from being
// used for anything else: the runtime writes to standard error by that.
func toNowhere(f *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(duplicate(int(null.Fd()), int(f.Fd())), null.Close())
}

// endWriting ends the writing side of a socket; what is none stays as it is.
func endWriting(f *os.File) { _ = syscall.Shutdown(int(f.Fd()), syscall.SHUT_WR) }
