//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// openHandler opens what redirections name. The standard streams are those of
// the command, which need not be the process's; and a device that the image
// lacks is made up.
func (s *Shell) openHandler(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	switch path {
	case "/dev/stdin", "/dev/fd/0":
		return duplicate(hc.Stdin, path)
	case "/dev/stdout", "/dev/fd/1":
		return duplicate(hc.Stdout, path)
	case "/dev/stderr", "/dev/fd/2":
		return duplicate(hc.Stderr, path)
	}
	named := path
	if path == "" {
		return nil, s.openError(named, unix.ENOENT)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(hc.Dir, path)
	}
	f, err := os.OpenFile(path, flag&^os.O_CREATE|createFlag(path, flag), creating(perm))
	if err != nil && path == "/dev/null" {
		return null{}, nil
	}
	if err != nil {
		return nil, s.openError(named, err)
	}
	return f, nil
}

// openError says it as shells do: NAME: FILE: No such file or directory. The
// interpreter wants this type.
func (s *Shell) openError(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = plainError{errno}
	}
	return &os.PathError{Op: s.name + ":", Path: path, Err: err}
}

// A plainError is an error with a capital letter.
type plainError struct{ syscall.Errno }

func (e plainError) Error() string { return capital(e.Errno.Error()) }

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// createFlag keeps /dev from being filled with files.
func createFlag(path string, flag int) int {
	if path == "/dev/null" {
		return 0
	}
	return flag & os.O_CREATE
}

// creating is the mode of a new file: as other shells have it, before the umask.
func creating(perm os.FileMode) os.FileMode {
	if perm == 0o644 {
		return 0o666
	}
	return perm
}

// duplicate is another name for a stream, to be closed by itself.
func duplicate(stream any, path string) (io.ReadWriteCloser, error) {
	file, ok := stream.(*os.File)
	if !ok || file == nil {
		if w, ok := stream.(io.Writer); ok {
			return unclosed{Writer: w}, nil
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: unix.EBADF}
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// unclosed is a stream that somebody else closes.
type unclosed struct {
	closed
	io.Writer
}

func (unclosed) Close() error { return nil }

// null is /dev/null where there is none.
type null struct{ closed }

func (null) Write(p []byte) (int, error) { return len(p), nil }
func (null) Close() error                { return nil }
