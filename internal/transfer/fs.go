package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// FS is the files of one side: Local, or a *Remote.
type FS interface {
	show(path string) string // for people
	join(dir, name string) string
	split(path string) (dir, name string)
	clean(path string) string
	validName(name string) bool // it names something in its directory, and nothing else

	stat(path string) (info, error)
	lstat(path string) (info, error)
	realPath(path string) (string, error)
	readDir(ctx context.Context, path string) ([]info, error)
	readLink(path string) (string, error)

	open(path string) (file, error)
	// create makes a file that does not exist, as open as perm at most. made is
	// what it got, and want what perm is less the side's umask.
	create(path string, perm fs.FileMode) (f file, made, want fs.FileMode, err error)
	reopen(path string) (file, error)  // to write on, never through a link
	rewrite(path string) (file, error) // empties what exists, through a link too
	mkdir(path string, perm fs.FileMode) (made, want fs.FileMode, err error)
	symlink(target, path string) error
	rename(from, to string) error // replaces a file
	remove(path string) error
	chmod(path string, mode fs.FileMode) error
	chtimes(path string, access, modified time.Time) error

	// lost is why the side is gone altogether, if it is.
	lost() error
}

// file is an open file of a side.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	info() (info, error)
	truncate(size int64) error
	chmod(mode fs.FileMode) error
}

// info is what is known of a file.
type info struct {
	name             string
	mode             fs.FileMode
	size             int64
	access, modified time.Time
	sparse           bool // it has holes for certain
}

func (i info) perm() fs.FileMode { return i.mode.Perm() }

// permOf is what of a mode is copied.
func permOf(mode fs.FileMode) fs.FileMode {
	if mode.IsDir() {
		return mode & (fs.ModePerm | fs.ModeSticky)
	}
	return mode & fs.ModePerm
}

// plain drops the path of an error about a path that is named anyway.
func plain(err error) error {
	var (
		path *fs.PathError
		link *os.LinkError
	)
	switch {
	case errors.As(err, &path) && error(path) == err: //nolint:errorlint // only the outermost
		return path.Err
	case errors.As(err, &link) && error(link) == err: //nolint:errorlint // only the outermost
		return link.Err
	}
	return err
}
