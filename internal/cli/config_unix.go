//go:build !windows

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

// giveTo makes a file's owner and group those of another. Who is not root owns
// what he makes, and keeps the group if he is in it.
func giveTo(path string, like fs.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	if like.IsDir() && os.Geteuid() != 0 {
		return nil // a new file of ours in a folder that others share
	}
	return os.Lchown(path, int(want.Uid), int(want.Gid))
}
