package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// code is the exit status that an error of Run stands for; -1 for none.
func code(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return -1
}

// TestEndings sends the parts of an ending in every order that servers use.
func TestEndings(t *testing.T) {
	const out, err = "the output", "the error output"
	show := func(r *remote) { r.print(out) }
	showE := func(r *remote) { r.printE(err) }
	exit := func(r *remote) { r.exit(7) }
	eof := func(r *remote) { _ = r.CloseWrite() }
	for name, steps := range map[string][]func(*remote){
		"output, eof, status":            {show, showE, eof, exit},
		"output, status, eof":            {show, showE, exit, eof},
		"output, status, no eof":         {show, showE, exit},
		"status before output":           {exit, show, showE, eof},
		"status between outputs, no eof": {show, exit, showE},
		"status twice":                   {show, showE, exit, func(r *remote) { r.exit(9) }, eof},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, func(r *remote) {
				r.want("exec")
				for _, step := range steps {
					step(r)
				}
			})
			var stdout, stderr bytes.Buffer
			got := c.Run(t.Context(), Command{Shell: "x", Stdout: &stdout, Stderr: &stderr})
			if code(got) != 7 || stdout.String() != out || stderr.String() != err {
				t.Errorf("got %v, %q, %q", got, stdout.String(), stderr.String())
			}
		})
	}
}

// TestEndsWithoutClose: an agent that sent status and EOF owes nothing more.
func TestEndsWithoutClose(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.print("done")
		_ = r.CloseWrite()
		r.exit(0)
		for range r.reqs { // until the client closes
		}
	})
	var out bytes.Buffer
	if err := c.Run(t.Context(), Command{Shell: "x", Stdout: &out}); err != nil || out.String() != "done" {
		t.Errorf("got %v, %q", err, out.String())
	}
}

// TestToldBeforeOutput: what the agent says before there is output comes before it.
func TestToldBeforeOutput(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.tell("session@cloudssh", number{7})
		r.print("o")
		r.exit(0)
		_ = r.Close()
	})
	for range 300 {
		told := make(chan uint32, 1)
		out := writerFunc(func(p []byte) (int, error) {
			if len(told) == 0 {
				t.Error("the output came first")
			}
			return len(p), nil
		})
		if err := c.Run(t.Context(), Command{Shell: "x", Stdout: out, Started: func(id uint32) { told <- id }}); err != nil || <-told != 7 {
			t.Fatal(err)
		}
	}
}

func TestStatuses(t *testing.T) {
	signalled := func(name, message string) func(*remote) {
		return func(r *remote) {
			_, _ = r.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Name    string
				Core    bool
				Message string
				Lang    string
			}{name, true, message, "en"}))
		}
	}
	for _, tt := range []struct {
		name string
		end  func(*remote)
		want error
	}{
		{"zero", func(r *remote) { r.exit(0) }, nil},
		{"255", func(r *remote) { r.exit(255) }, &ExitError{Code: 255}},
		{"killed", signalled("KILL", "out of memory"), &ExitError{Code: 137, Signal: "KILL", Message: "out of memory"}},
		{"terminated", signalled("TERM", ""), &ExitError{Code: 143, Signal: "TERM"}},
		{"a signal of Linux alone", signalled("PWR", ""), &ExitError{Code: 158, Signal: "PWR"}},
		{"a signal without a name", signalled("34@cloudssh", ""), &ExitError{Code: 162, Signal: "34@cloudssh"}},
		{"a signal out of range", signalled("99@cloudssh", ""), &ExitError{Code: 128, Signal: "99@cloudssh"}},
		{"no signal's name", signalled("", ""), &ExitError{Code: 128}},
		{"unknown signal", signalled("LOST@linux", ""), &ExitError{Code: 128, Signal: "LOST@linux"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, func(r *remote) { r.want("exec"); tt.end(r) })
			if diff := cmp.Diff(tt.want, c.Run(t.Context(), Command{Shell: "x"})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoStatus(t *testing.T) {
	lose := func(r *remote) { _ = r.conn.Close() }
	for _, tt := range []struct {
		name, says string
		session    func(*remote)
		mayRun     bool
	}{
		{"lost before the start", "not started: the connection was lost", lose, false},
		{"lost after the start", "may still be running", func(r *remote) { r.want("exec"); r.print("x"); lose(r) }, true},
		{"lost in the reply", "may still be running", func(r *remote) { r.next(); <-r.reqs; lose(r) }, true},
		{"closed after the start", "the agent ended the session", func(r *remote) { r.want("exec") }, true},
		{"terminal refused", "refused a terminal", func(r *remote) { _ = (<-r.reqs).Reply(false, nil); <-r.reqs }, false},
		{"command refused", "refused a command", func(r *remote) { r.next(); _ = (<-r.reqs).Reply(false, nil); <-r.reqs }, false},
		{"channel refused", "no sessions here", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, tt.session)
			err := c.Run(t.Context(), Command{Shell: "x", Terminal: &Terminal{}})
			var none *NoStatusError
			if !errors.As(err, &none) || (none.Fate == MayRun) != tt.mayRun || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v (%+v)", err, none)
			}
		})
	}
}

func TestArgvStaysExact(t *testing.T) {
	argv := []string{"printf", "%s|", "a b", "", "c'd", "$HOME", "é\n\x00\xff"}
	got := make(chan []byte, 1)
	c := connect(t, func(r *remote) {
		got <- r.want("exec-argv@cloudssh").Payload
		r.exit(0)
	})
	if err := c.Run(t.Context(), Command{Argv: argv}); err != nil {
		t.Fatal(err)
	}
	payload := <-got
	n, rest := binary.BigEndian.Uint32(payload), payload[4:]
	var back []string
	for range n {
		l := binary.BigEndian.Uint32(rest)
		back = append(back, string(rest[4:4+l]))
		rest = rest[4+l:]
	}
	if !slices.Equal(back, argv) || len(rest) != 0 {
		t.Errorf("got %q and %q after it", back, rest)
	}
	if err := c.Run(t.Context(), Command{Shell: "a", Argv: argv}); err == nil {
		t.Error("a shell string and a vector were accepted together")
	}
}

func TestTerminalAndEnv(t *testing.T) {
	var pty, env []string
	c := connect(t, func(r *remote) {
		for {
			req := r.next()
			switch req.Type {
			case "pty-req":
				var m struct {
					Term       string
					C, R, W, H uint32
					Modes      string
				}
				if err := ssh.Unmarshal(req.Payload, &m); err != nil {
					t.Error(err)
				}
				pty = append(pty, fmt.Sprintf("%s %dx%d %dx%d %q", m.Term, m.C, m.R, m.W, m.H, m.Modes))
			case "env":
				var m struct{ Name, Value string }
				if err := ssh.Unmarshal(req.Payload, &m); err != nil {
					t.Error(err)
				}
				env = append(env, m.Name+"="+m.Value)
			default:
				if req.Type != "shell" {
					t.Errorf("unexpected %s", req.Type)
				}
				r.exit(0)
				return
			}
		}
	})
	err := c.Run(t.Context(), Command{
		Env: map[string]string{"LANG": "C.UTF-8", "A": "1"},
		Terminal: &Terminal{
			Term: "xterm-256color", Size: tty.Size{Cols: 80, Rows: 24, Width: 640, Height: -1},
			Modes: map[uint8]uint32{53: 1, 1: 3, 0: 9, 200: 1},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{`xterm-256color 80x24 640x0 "\x01\x00\x00\x00\x035\x00\x00\x00\x01\x00"`}; !slices.Equal(pty, want) {
		t.Errorf("got %v, want %v", pty, want)
	}
	if want := []string{"A=1", "LANG=C.UTF-8"}; !slices.Equal(env, want) {
		t.Errorf("got %v, want %v", env, want)
	}
}

func TestWindowChangesArriveInOrder(t *testing.T) {
	const n = 200
	var got []uint32
	c := connect(t, func(r *remote) {
		r.want("shell")
		for len(got) < n {
			var w window
			if err := ssh.Unmarshal(r.want("window-change").Payload, &w); err != nil {
				t.Error(err)
			}
			if w.Rows != 24 || w.Width != w.Cols*8 || w.Height != 480 {
				t.Errorf("got %+v", w)
			}
			got = append(got, w.Cols)
		}
		r.exit(0)
	})
	size := func(cols int) tty.Size { return tty.Size{Cols: cols, Rows: 24, Width: cols * 8, Height: 480} }
	sizes := make(chan tty.Size, n+1)
	for i := range n + 1 { // the first is the one the terminal was opened with
		sizes <- size(80 + i)
	}
	err := c.Run(t.Context(), Command{Terminal: &Terminal{Size: size(80), Sizes: sizes}})
	if err != nil {
		t.Fatal(err)
	}
	if got[0] != 81 || !slices.IsSorted(got) || len(slices.Compact(got)) != n {
		t.Errorf("got %v", got)
	}
}

func TestStdinEndIsAHalfClose(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		in, err := io.ReadAll(r) // until EOF
		if err != nil {
			t.Error(err)
		}
		r.print(strings.ToUpper(string(in)))
		r.exit(0)
	})
	var out bytes.Buffer
	if err := c.Run(t.Context(), Command{Shell: "x", Stdin: strings.NewReader("abc"), Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "ABC" {
		t.Errorf("got %q", out.String())
	}
	if err := c.Run(t.Context(), Command{Shell: "x"}); err != nil { // no stdin: an empty one
		t.Error(err)
	}
}

func TestEndDoesNotWaitForStdin(t *testing.T) {
	c := connect(t, func(r *remote) { r.want("exec"); r.exit(3) })
	never, keep := io.Pipe()
	defer keep.Close()
	if err := c.Run(t.Context(), Command{Shell: "x", Stdin: never}); code(err) != 3 {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableStdinIsNoEOF(t *testing.T) {
	sentinel := errors.New("bad disk")
	stdin := func() io.Reader { return io.MultiReader(strings.NewReader("half"), broken{sentinel}) }
	c := connect(t, func(r *remote) {
		r.want("exec")
		_, _ = io.ReadAll(r) // ends when the channel is closed
	})
	if err := c.Run(t.Context(), Command{Shell: "x", Stdin: stdin()}); !errors.Is(err, sentinel) {
		t.Errorf("got %v", err)
	}
	for _, terminal := range []*Terminal{nil, {}} {
		ch := new(halfChannel)
		r := &run{
			ch: ch, cmd: Command{Stdin: stdin(), Terminal: terminal}, left: make(chan error, 1),
			typed: make(chan typed, 1), unsent: make(chan struct{}), over: make(chan struct{}),
		}
		r.input()
		if err := <-r.left; !errors.Is(err, sentinel) || ch.ended || ch.String() != "half" {
			t.Errorf("got %v after %q; the command saw a complete input: %v", err, ch, ch.ended)
		}
		close(r.over)
	}
}

// halfChannel takes input.
type halfChannel struct {
	ssh.Channel
	bytes.Buffer
	ended bool
}

func (c *halfChannel) Read(p []byte) (int, error)  { return c.Buffer.Read(p) }
func (c *halfChannel) Write(p []byte) (int, error) { return c.Buffer.Write(p) }

func (c *halfChannel) CloseWrite() error {
	c.ended = true
	return nil
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error)  { return 0, b.err }
func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestDetach(t *testing.T) {
	gone := make(chan struct{})
	c := connect(t, func(r *remote) {
		r.want("shell")
		for range r.reqs {
		}
		close(gone)
	})
	in := tty.NewEscapeReader(strings.NewReader("ls\r~."), tty.EscapeOptions{Char: tty.DefaultEscape})
	if err := c.Run(t.Context(), Command{Terminal: &Terminal{}, Stdin: in}); !errors.Is(err, ErrLeft) {
		t.Errorf("got %v", err)
	}
	<-gone
}

func TestLocalOutputBreaks(t *testing.T) {
	sentinel := errors.New("broken pipe")
	told := make(chan string, 1)
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.print("y\n")
		var m struct{ Name string }
		if err := ssh.Unmarshal(r.want("signal").Payload, &m); err != nil {
			t.Error(err)
		}
		told <- m.Name
	})
	if err := c.Run(t.Context(), Command{Shell: "yes", Stdout: broken{sentinel}}); !errors.Is(err, sentinel) {
		t.Errorf("got %v", err)
	}
	if got := <-told; got != "PIPE" {
		t.Errorf("the command was told %s", got)
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		for range 3 {
			var m struct{ Name string }
			if err := ssh.Unmarshal(r.want("signal").Payload, &m); err != nil {
				t.Error(err)
			}
			r.print(m.Name + " ")
		}
		r.exit(0)
	})
	signals := make(chan ssh.Signal, 3)
	signals <- ssh.SIGINT
	signals <- ssh.SIGTERM
	signals <- ssh.SIGHUP
	var out bytes.Buffer
	if err := c.Run(t.Context(), Command{Shell: "x", Signals: signals, Stdout: &out}); err != nil || out.String() != "INT TERM HUP " {
		t.Errorf("got %v, %q", err, out.String())
	}
}

func TestCancelTellsTheCommand(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal *Terminal
		want     string
	}{
		{"without a terminal", nil, "TERM"},
		{"with one", &Terminal{}, "HUP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sentinel := errors.New("interrupted")
			ctx, cancel := context.WithCancelCause(t.Context())
			c := connect(t, func(r *remote) {
				r.want("exec")
				cancel(sentinel)
				var m struct{ Name string }
				if err := ssh.Unmarshal(r.want("signal").Payload, &m); err != nil {
					t.Error(err)
				}
				r.print("got " + m.Name)
				r.exit(0)
			})
			c.grace = time.Hour // the command ends in its own time
			var out bytes.Buffer
			err := c.Run(ctx, Command{Shell: "x", Terminal: tt.terminal, Stdout: &out})
			if !errors.Is(err, sentinel) || out.String() != "got "+tt.want {
				t.Errorf("got %v, %q", err, out.String())
			}
		})
	}
}

func TestCancelDoesNotWaitForever(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.print("x")
		for range r.reqs { // deaf to signals; ends when the channel is closed
		}
	})
	c.grace = 1
	stuck, out := io.Pipe() // nobody reads the output
	defer stuck.Close()
	writing := make(chan struct{})
	go func() {
		<-writing
		cancel()
	}()
	err := c.Run(ctx, Command{Shell: "x", Stdout: writerFunc(func(p []byte) (int, error) {
		close(writing)
		return out.Write(p)
	})})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Run(ctx, Command{Shell: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a dead context ran: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSlowReaderLosesNothing sends more than a window's worth, ends at once,
// and starts to read when nothing more can be sent.
func TestSlowReaderLosesNothing(t *testing.T) {
	data := make([]byte, 5<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	full := make(chan struct{})
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.print(string(data[:2<<20])) // a whole window: nobody reads yet
		close(full)
		r.print(string(data[2<<20:]))
		r.exit(0)
	})
	var got bytes.Buffer
	out := writerFunc(func(p []byte) (int, error) {
		<-full
		return got.Write(p)
	})
	if err := c.Run(t.Context(), Command{Shell: "x", Stdout: out}); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("got %v after %d bytes", err, got.Len())
	}
}

func TestRunsDoNotMix(t *testing.T) {
	c := connect(t, func(r *remote) {
		var m struct{ Command string }
		if err := ssh.Unmarshal(r.want("exec").Payload, &m); err != nil {
			t.Error(err)
		}
		in, _ := io.ReadAll(r)
		for range 100 {
			r.print(m.Command)
			r.printE(string(in))
		}
		r.exit(uint32(len(m.Command)))
	})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			name, in := strings.Repeat("x", i+1), fmt.Sprint("in", i)
			var out, errs bytes.Buffer
			err := c.Run(t.Context(), Command{Shell: name, Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errs})
			if code(err) != i+1 || out.String() != strings.Repeat(name, 100) || errs.String() != strings.Repeat(in, 100) {
				t.Errorf("run %d: %v, %d, %d", i, err, out.Len(), errs.Len())
			}
		})
	}
	all.Wait()
}

func TestServedRequestsDoNotStopTheConnection(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		for range 40 {
			if ok, err := r.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
				t.Errorf("keepalive: %v, %v", ok, err)
			}
			if ok, err := r.SendRequest("nonsense", true, nil); ok || err != nil {
				t.Errorf("nonsense: %v, %v", ok, err)
			}
		}
		r.exit(0)
	})
	if err := c.Run(t.Context(), Command{Shell: "x"}); err != nil {
		t.Error(err)
	}
}
