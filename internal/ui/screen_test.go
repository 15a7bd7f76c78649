//go:build unix

package ui

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// screen is a terminal and what a person sees on it.
type screen struct {
	t        *testing.T
	keyboard *os.File
	tty      *os.File
	vt       vt10x.Terminal
	drawn    chan struct{}
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(keyboard, &pty.Winsize{Cols: 60, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, keyboard: keyboard, tty: tty, vt: vt10x.New(vt10x.WithSize(60, 10)), drawn: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := keyboard.Read(buf)
			_, _ = s.vt.Write(buf[:n])
			select {
			case s.drawn <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-read
		_ = keyboard.Close()
	})
	return s
}

func (s *screen) text() string {
	var out []string
	for l := range strings.Lines(s.vt.String()) {
		out = append(out, strings.TrimRight(l, " \n"))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// until waits until the screen is as it should be.
func (s *screen) until(what string, ok func(text string) bool) {
	s.t.Helper()
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	for !ok(s.text()) {
		select {
		case <-s.drawn:
		case <-timeout.C:
			s.t.Fatalf("no %s on the screen:\n%s", what, s.text())
		}
	}
}

func (s *screen) untilContains(text string) {
	s.t.Helper()
	s.until(text, func(all string) bool { return strings.Contains(all, text) })
}

func (s *screen) untilIs(text string) {
	s.t.Helper()
	s.until(text, func(all string) bool { return all == text })
}

func (s *screen) lflag() uint64 {
	s.t.Helper()
	st, err := term.GetState(int(s.tty.Fd()))
	if err != nil || st == nil {
		s.t.Fatal(err)
	}
	m, err := unix.IoctlGetTermios(int(s.tty.Fd()), getTermios)
	if err != nil {
		s.t.Fatal(err)
	}
	return uint64(m.Lflag)
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, keys); err != nil {
		s.t.Fatal(err)
	}
}

func TestProgressOnScreen(t *testing.T) {
	s := newScreen(t)
	cooked := s.lflag()
	u := New(s.tty, s.tty, Options{})
	c := &clock{time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)}
	u.now = c.now // the view may take a while to start
	_, read := u.Progress("reading the service")
	read(nil)
	change, create := u.Progress("creating hello-ssh")
	change("RoutesReady")
	s.untilContains("✓ reading the service (0.00s)")
	s.untilContains("creating hello-ssh (0.00s) RoutesReady")
	if s.lflag() != cooked || s.lflag()&unix.ISIG == 0 {
		t.Error("progress changed the terminal's modes: Ctrl-C is no signal any more")
	}
	u.Notef("a note above the steps")
	s.until("note above the steps", func(text string) bool {
		return strings.HasPrefix(text, "a note above the steps\n✓ reading")
	})
	create(nil)
	u.Settle("hello-ssh is ready")
	s.untilIs("a note above the steps\n✓ hello-ssh is ready")
	s.until("visible cursor below the text", func(string) bool {
		s.vt.Lock()
		defer s.vt.Unlock()
		return s.vt.CursorVisible() && s.vt.Cursor().Y == 2 && s.vt.Cursor().X == 0
	})
	change("too late")
	u.Settle("")
	_, remove := u.Progress("deleting hello-ssh")
	remove(errors.New("denied"))
	u.Error(errors.New("deleting hello-ssh: denied"))
	s.until("the failed step and its error", func(text string) bool {
		return strings.HasPrefix(text, "a note above the steps\n✓ hello-ssh is ready\n✗ deleting hello-ssh (0.") &&
			strings.HasSuffix(text, "s)\nerror: deleting hello-ssh: denied")
	})
}

func TestSettleWithoutALineLeavesNothing(t *testing.T) {
	s := newScreen(t)
	u := New(s.tty, s.tty, Options{NoColor: true})
	for range 3 {
		_, done := u.Progress(strings.Repeat("a very long step ", 10))
		_, _ = u.Progress("one that never ends")
		done(nil)
		u.Settle("")
	}
	u.Notef("clean")
	s.untilIs("clean")
}

func TestPickOnScreen(t *testing.T) {
	items := []Item[string]{{"h", "hello", "us-central1"}, {"w", "world", "europe-west1"}, {"k", "worker", "us-east1"}}
	for _, tt := range []struct {
		name, keys, want string
		err              error
	}{
		{"filter and choose at once", "wker\r", "k", nil},
		{"arrows", "\x1b[B\r", "w", nil},
		{"leave", "\x03", "", ErrCancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScreen(t)
			cooked := s.lflag()
			u := New(s.tty, s.tty, Options{})
			type result struct {
				got string
				err error
			}
			picked := make(chan result, 1)
			go func() {
				got, err := Pick(t.Context(), u, "Which service?", items)
				picked <- result{got, err}
			}()
			s.untilContains("> hello   us-central1\n  world   europe-west1\n  worker  us-east1")
			s.press(tt.keys)
			r := <-picked
			if r.got != tt.want || !errors.Is(r.err, tt.err) {
				t.Errorf("picked %q, %v", r.got, r.err)
			}
			u.Notef("after")
			s.untilIs("after")
			if s.lflag() != cooked {
				t.Error("the terminal was not restored")
			}
		})
	}
}

func TestPickEndsWithContext(t *testing.T) {
	s := newScreen(t)
	cooked := s.lflag()
	ctx, cancel := context.WithCancelCause(t.Context())
	sentinel := errors.New("terminated")
	ended := make(chan error, 1)
	go func() {
		_, err := Pick(ctx, New(s.tty, s.tty, Options{}), "Which?", []Item[int]{{1, "one", ""}})
		ended <- err
	}()
	s.untilContains("> one")
	cancel(sentinel)
	if err := <-ended; !errors.Is(err, sentinel) {
		t.Errorf("got %v", err)
	}
	if s.lflag() != cooked {
		t.Error("the terminal was not restored")
	}
}

func TestConfirmOnScreen(t *testing.T) {
	for answer, want := range map[string]bool{"y": true, "YES": true, "": false, "n": false, "yeah": false} {
		s := newScreen(t)
		u := New(s.tty, s.tty, Options{})
		type result struct {
			yes bool
			err error
		}
		got := make(chan result, 1)
		go func() {
			yes, err := u.Confirm(t.Context(), "Delete 2 twins?")
			got <- result{yes, err}
		}()
		s.untilContains("Delete 2 twins? [y/N]")
		s.press(answer + "\nnext")
		if r := <-got; r.yes != want || r.err != nil {
			t.Errorf("%q means %v, %v", answer, r.yes, r.err)
		}
	}
	s := newScreen(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(s.tty, s.tty, Options{}).Confirm(ctx, "Sure?"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.press("\n") // ends the read that the question left behind
}

// TestTheTerminalIsNotQuestioned holds what package noquery promises: a
// program that links this package starts without a word to the terminal.
func TestTheTerminalIsNotQuestioned(t *testing.T) {
	for _, ci := range []string{"", "yes"} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = []string{"TERM=xterm-256color", "UI_TEST_CHILD=1", "GOCOVERDIR=" + t.TempDir()}
		if ci != "" {
			cmd.Env = append(cmd.Env, "CI="+ci)
		}
		keyboard, err := pty.Start(cmd) // stdin and stdout are the terminal
		if err != nil {
			t.Fatal(err)
		}
		out, _ := io.ReadAll(keyboard) // ends with EIO when the child is gone
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		_ = keyboard.Close()
		if want := "main CI=\"" + ci + "\"\r\n"; string(out) != want {
			t.Errorf("the terminal got %q, want %q", out, want)
		}
	}
}
