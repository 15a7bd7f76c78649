//go:build linux || darwin

package cli

import (
	"errors"
	"os"
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
