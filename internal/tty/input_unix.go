//go:build unix

package tty

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// input reads a terminal until it is closed. It waits for the terminal and
// for a pipe that Close writes to, because a read(2) of a terminal cannot be
// interrupted and would swallow what is typed later.
type input struct {
	file        *os.File
	wake, wakeW *os.File
	close       sync.Once
}

func newInput(f *os.File) (*input, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &input{file: f, wake: r, wakeW: w}, nil
}

func (i *input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		fd := int(i.file.Fd())
		ready, err := waitReadable(fd, int(i.wake.Fd()))
		if err != nil {
			return 0, err
		}
		if !ready {
			return 0, io.EOF
		}
		n, err := unix.Read(fd, p)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, &os.PathError{Op: "read", Path: i.file.Name(), Err: err}
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Close ends the pending Read and all later ones. The pipe's reading end
// stays open, hung up, for as long as a Read may look at it.
func (i *input) Close() (err error) {
	i.close.Do(func() { err = i.wakeW.Close() })
	return err
}
