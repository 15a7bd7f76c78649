package runtime

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the symbolic links that lead to one directory, as the kernel does (path_resolution(7)).
const maxLinks = 40

// A tree is a directory that holds a root file system. Paths in it are resolved as a
// process sees them whose root it is: absolute links and ".." stay inside. (os.Root
// refuses absolute links, which images are full of.)
type tree struct {
	dir *os.File
}

func openTree(dir string) (*tree, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &tree{f}, nil
}

func (t *tree) Close() error { return t.dir.Close() }

// open opens a path of the tree.
func (t *tree) open(name string, flags int) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(t.dir.Fd()), inTree(name), how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN):
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// inTree makes a path relative to the root.
func inTree(name string) string {
	return orDefault(strings.TrimPrefix(path.Clean("/"+name), "/"), ".")
}

// readFile reads a text file of the tree. It is an image's: it may be a pipe, or huge.
func (t *tree) readFile(name string) (string, error) {
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", err
	}
	defer discardClose(f)
	const limit = 4 << 20
	text, err := io.ReadAll(io.LimitReader(f, limit))
	return string(text), err
}

// parent opens the directory that holds the path, made if need be, and returns the last element.
func (t *tree) parent(name string) (*os.File, string, error) {
	dir, base := path.Split(path.Clean("/" + name))
	f, err := t.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		if err := t.mkdirAll(dir, maxLinks); err != nil {
			return nil, "", err
		}
		f, err = t.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	}
	return f, base, err
}

// mkdirAll makes a directory and those that lead to it, also where a dangling link leads.
func (t *tree) mkdirAll(name string, links int) error {
	name = path.Clean("/" + name)
	if name == "/" {
		return nil
	}
	if links == 0 {
		return &fs.PathError{Op: "mkdir", Path: name, Err: unix.ELOOP}
	}
	dir, base := path.Split(name)
	if err := t.mkdirAll(dir, links); err != nil {
		return err
	}
	parent, err := t.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer discardClose(parent)
	err = unix.Mkdirat(int(parent.Fd()), base, 0o755)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	target, err := readlinkat(parent, base)
	if err != nil || target == "" {
		return err
	}
	if !path.IsAbs(target) {
		target = path.Join(dir, target)
	}
	return t.mkdirAll(target, links-1)
}

// readlinkat returns the target of a link, and "" for what is no link.
func readlinkat(dir *os.File, base string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), base, buf)
	if errors.Is(err, unix.EINVAL) {
		return "", nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: base, Err: err}
	}
	return string(buf[:n]), nil
}

// under names an entry of an open directory for calls that take a path. It follows no
// link before the last element.
func under(dir *os.File, base string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), base)
}

// removeAll removes an entry of an open directory with all that is in it.
func removeAll(dir *os.File, base string) error { return os.RemoveAll(under(dir, base)) }
