//go:build unix

package tty

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// state is what raw mode changes. A Unix terminal has one set of modes for
// both directions.
type state struct{ termios unix.Termios }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

func readState(in, _ *os.File) (*state, error) {
	t, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	if err != nil {
		return nil, err
	}
	return &state{termios: *t}, nil
}

func writeState(in, _ *os.File, s *state) error {
	t := s.termios
	return ignoringEINTR(func() error { return unix.IoctlSetTermios(int(in.Fd()), setTermios, &t) })
}

// makeRaw does what cfmakeraw(3) does.
func makeRaw(in, _ *os.File, s *state) error {
	t := s.termios
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB
	t.Cflag |= unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return ignoringEINTR(func() error { return unix.IoctlSetTermios(int(in.Fd()), setTermios, &t) })
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func readSize(out *os.File) (Size, error) {
	w, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return Size{}, err
	}
	return Size{Cols: int(w.Col), Rows: int(w.Row), Width: int(w.Xpixel), Height: int(w.Ypixel)}, nil
}

// resizes returns a channel that receives when the size may have changed.
func resizes() (changed <-chan os.Signal, stop func()) {
	// SIGCONT as well: a resize while stopped may not be reported.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH, syscall.SIGCONT)
	return c, func() { signal.Stop(c) }
}

// onContinue calls f whenever the process is continued after a stop.
func (t *Terminal) onContinue(f func()) (stop func()) {
	c := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(c, syscall.SIGCONT)
	go func() {
		for {
			select {
			case <-c:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}
