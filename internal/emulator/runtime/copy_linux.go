package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// copyMode says how the files of a copied tree relate to the original's.
type copyMode bool

const (
	shareInodes copyMode = true  // hard links: cheap, for trees that are never written to
	ownInodes   copyMode = false // the content is copied
)

// copyTree copies a tree of files that nobody changes meanwhile, into a directory that exists.
func copyTree(ctx context.Context, from, to string, mode copyMode) error {
	links := map[uint64]string{} // inode -> first copy, so that hard links stay hard links
	var dirs []string            // in the order in which they were found
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		if d.IsDir() {
			dirs = append(dirs, name)
			return copyDir(name, target)
		}
		if mode == shareInodes {
			err := os.Link(name, target) //nolint:gosec // nobody else changes these trees
			if !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EXDEV) {
				return err
			}
		}
		return copyEntry(name, target, links)
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := copyTimes(dirs[i], filepath.Join(to, strings.TrimPrefix(dirs[i], from))); err != nil {
			return err
		}
	}
	return nil
}

func copyDir(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return copyMetadata(from, to)
}

func copyEntry(from, to string, links map[uint64]string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	if first := links[st.Ino]; first != "" {
		return os.Link(first, to)
	}
	if st.Nlink > 1 {
		links[st.Ino] = to
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = copyFile(from, to)
	case unix.S_IFLNK:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.Symlink(target, to)
		}
	default:
		err = unix.Mknod(to, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return fmt.Errorf("copying %s to %s: %w", from, to, err)
	}
	return errors.Join(copyMetadata(from, to), copyTimes(from, to))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer discardClose(in)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyMetadata copies owner, mode and extended attributes.
func copyMetadata(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	return copyXattrs(from, to)
}

func copyXattrs(from, to string) error {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(from, names)
	if err != nil || n == 0 {
		return nil
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for attr := range strings.SplitSeq(strings.Trim(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(from, attr, value)
		if err != nil {
			continue // trusted.* of a file system below
		}
		err = unix.Lsetxattr(to, attr, value[:n], 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("setting %s of %s: %w", attr, to, err)
		}
	}
	return nil
}

func copyTimes(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}
