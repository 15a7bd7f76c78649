//go:build unix

package tty

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func open(t *testing.T) (*Terminal, *os.File) {
	t.Helper()
	keyboard, term, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close(); term.Close() })
	tt, ok := Open(term, term)
	if !ok {
		t.Fatal("a pseudo-terminal is no terminal")
	}
	return tt, keyboard
}

func termios(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	got, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	if err != nil {
		t.Fatal(err)
	}
	return *got
}

func isRaw(t *testing.T, term *Terminal) bool {
	t.Helper()
	return termios(t, term.in).Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

func TestOpenNeedsTwoTerminals(t *testing.T) {
	term, _ := open(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, pair := range [][2]*os.File{{r, term.out}, {term.in, w}, {r, w}, {nil, term.out}, {term.in, nil}} {
		if _, ok := Open(pair[0], pair[1]); ok {
			t.Errorf("Open(%v, %v) found a terminal", pair[0], pair[1])
		}
	}
}

func TestRawIsRestored(t *testing.T) {
	term, _ := open(t)
	before := termios(t, term.in)
	sentinel := errors.New("inside")
	for _, tt := range []struct {
		name string
		f    func() error
		want error
	}{
		{"return", func() error { return nil }, nil},
		{"error", func() error { return sentinel }, sentinel},
		{"panic", func() error { panic(sentinel) }, sentinel},
		{"restored by a signal path", func() error { return term.Restore() }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err, _ = p.(error)
					}
				}()
				return term.Raw(func() error {
					if !isRaw(t, term) {
						t.Error("the terminal is not raw")
					}
					return tt.f()
				})
			}()
			if !errors.Is(got, tt.want) {
				t.Errorf("Raw returned %v, want %v", got, tt.want)
			}
			if termios(t, term.in) != before {
				t.Error("the terminal was not restored")
			}
		})
	}
	if err := term.Restore(); err != nil {
		t.Errorf("Restore without Raw: %v", err)
	}
}

func TestRawTwiceIsRefused(t *testing.T) {
	term, _ := open(t)
	err := term.Raw(func() error { return term.Raw(func() error { return nil }) })
	if err == nil {
		t.Error("nested Raw was accepted")
	}
}

func TestRawAgainAfterContinue(t *testing.T) {
	term, _ := open(t)
	before := termios(t, term.in)
	err := term.Raw(func() error {
		cooked := before
		if err := unix.IoctlSetTermios(int(term.in.Fd()), setTermios, &cooked); err != nil {
			return err
		}
		term.reenter()
		if !isRaw(t, term) {
			t.Error("still cooked after SIGCONT")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if term.reenter(); isRaw(t, term) {
		t.Error("raw outside of Raw")
	}
}

func TestSizes(t *testing.T) {
	term, keyboard := open(t)
	set := func(cols, rows, x, y uint16) Size {
		if err := pty.Setsize(keyboard, &pty.Winsize{Cols: cols, Rows: rows, X: x, Y: y}); err != nil {
			t.Fatal(err)
		}
		return Size{Cols: int(cols), Rows: int(rows), Width: int(x), Height: int(y)}
	}
	first := set(80, 24, 0, 0)
	ctx, cancel := context.WithCancel(t.Context())
	sizes := term.Sizes(ctx)
	if got := <-sizes; got != first {
		t.Errorf("first size %v, want %v", got, first)
	}
	for _, want := range []Size{set(132, 43, 1056, 860), set(132, 43, 1056, 861), set(20, 5, 0, 0)} {
		set(uint16(want.Cols), uint16(want.Rows), uint16(want.Width), uint16(want.Height))
		// The signal goes to the terminal's foreground processes, which we are not.
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
			t.Fatal(err)
		}
		if got := <-sizes; got != want {
			t.Errorf("changed to %v, want %v", got, want)
		}
	}
	cancel()
	for range sizes { // ends when the channel is closed
	}
}

func TestModes(t *testing.T) {
	term, _ := open(t)
	set := func(f func(*unix.Termios)) {
		now := termios(t, term.in)
		f(&now)
		if err := unix.IoctlSetTermios(int(term.in.Fd()), setTermios, &now); err != nil {
			t.Fatal(err)
		}
	}
	set(func(m *unix.Termios) {
		m.Cc[unix.VINTR] = 3
		m.Cc[unix.VERASE] = 0x7f
		m.Cc[unix.VEOL] = disabled
		m.Iflag |= unix.ICRNL | unix.IUTF8
		m.Iflag &^= unix.IXOFF
		m.Lflag |= unix.ISIG | unix.ICANON | unix.ECHO
		m.Lflag &^= unix.ECHONL
	})
	want := map[uint8]uint32{1: 3, 3: 0x7f, 6: 255, 36: 1, 40: 0, 42: 1, 50: 1, 51: 1, 53: 1, 56: 0, 90: 0, 91: 1}
	check := func() error {
		got := term.Modes()
		for opcode, v := range want {
			if got[opcode] != v {
				t.Errorf("mode %d is %d, want %d", opcode, got[opcode], v)
			}
		}
		if got[128] == 0 || got[129] == 0 {
			t.Errorf("speeds are %d and %d", got[128], got[129])
		}
		return nil
	}
	_ = check()
	if err := term.Raw(check); err != nil { // as they were, not as they are
		t.Fatal(err)
	}
}

func TestInputEndsWhenClosed(t *testing.T) {
	term, keyboard := open(t)
	err := term.Raw(func() error {
		in, err := term.Input()
		if err != nil {
			return err
		}
		typed := "é\x1a\x03\x00\r"
		if _, err := io.WriteString(keyboard, typed); err != nil {
			return err
		}
		got := make([]byte, len(typed))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != typed {
			t.Errorf("read %q, %v; want %q", got, err, typed)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := in.Read(make([]byte, 1))
			ended <- err
		}()
		if err := in.Close(); err != nil {
			return err
		}
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the pending read ended with %v", err)
		}
		if _, err := io.WriteString(keyboard, "next"); err != nil {
			return err
		}
		if n, err := in.Read(got); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("a later read got %d bytes, %v", n, err)
		}
		rest := make([]byte, 4)
		if _, err := io.ReadFull(term.in, rest); err != nil || string(rest) != "next" {
			t.Errorf("the next program read %q, %v", rest, err)
		}
		return in.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}
