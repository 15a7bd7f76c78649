//go:build unix

package session

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// shell serves a session as sshd does: a real shell, on a real
// pseudo-terminal if one was asked for.
func shell(r *remote) {
	cmd := exec.CommandContext(r.t.Context(), "/bin/sh")
	var size *pty.Winsize
	for started := false; !started; {
		req := r.next()
		switch req.Type {
		case "pty-req":
			var m struct {
				Term       string
				C, R, W, H uint32
				Modes      string
			}
			if err := ssh.Unmarshal(req.Payload, &m); err != nil {
				r.t.Error(err)
			}
			size = &pty.Winsize{Cols: uint16(m.C), Rows: uint16(m.R)}
		case "exec":
			var m struct{ Command string }
			if err := ssh.Unmarshal(req.Payload, &m); err != nil {
				r.t.Error(err)
			}
			cmd.Args, started = append(cmd.Args, "-c", m.Command), true
		case "shell":
			started = true
		default:
			r.t.Errorf("unexpected %s", req.Type)
			return
		}
	}
	var err error
	if size == nil {
		err = r.pipes(cmd)
	} else {
		err = r.pty(cmd, size)
	}
	r.end(err)
}

func (r *remote) pipes(cmd *exec.Cmd) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = r.Channel, r.Stderr()
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, r)
		_ = in.Close()
	}()
	go r.control(cmd, nil)
	return cmd.Wait()
}

func (r *remote) pty(cmd *exec.Cmd, size *pty.Winsize) error {
	master, err := pty.StartWithSize(cmd, size)
	if err != nil {
		return err
	}
	var using sync.Mutex // Setsize does not keep the file open
	defer func() {
		using.Lock()
		defer using.Unlock()
		_ = master.Close()
	}()
	go func() { _, _ = io.Copy(master, r) }()
	go r.control(cmd, func(w window) {
		using.Lock()
		defer using.Unlock()
		_ = pty.Setsize(master, &pty.Winsize{Cols: uint16(w.Cols), Rows: uint16(w.Rows)})
	})
	_, _ = io.Copy(r, master) // ends with EIO when the shell does
	return cmd.Wait()
}

// control serves what a client asks of a running command.
func (r *remote) control(cmd *exec.Cmd, resize func(window)) {
	for req := range r.reqs {
		switch req.Type {
		case "window-change":
			var w window
			if ssh.Unmarshal(req.Payload, &w) == nil && resize != nil {
				resize(w)
			}
		case "signal":
			var m struct{ Name string }
			if ssh.Unmarshal(req.Payload, &m) == nil {
				_ = cmd.Process.Signal(syscall.Signal(signalNumber(ssh.Signal(m.Name))))
			}
		}
	}
}

// end reports how the command ended.
func (r *remote) end(err error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			r.printE(err.Error())
		}
		r.exit(0)
		return
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		name := map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGKILL: "KILL"}[s.Signal()]
		_, _ = r.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name    string
			Core    bool
			Message string
			Lang    string
		}{Name: name}))
		return
	}
	r.exit(uint32(exit.ExitCode()))
}

func TestCommandsOfAShell(t *testing.T) {
	c := connect(t, shell)
	for _, tt := range []struct {
		command, in, out, err string
		code                  int
	}{
		{"exit 7", "", "", "", 7},
		{"echo out; echo err >&2", "", "out\n", "err\n", 0},
		{"cat; exit 3", "a\x00b\xff", "a\x00b\xff", "", 3},
		{"kill -TERM $$", "", "", "", 143},
		{"kill -KILL $$", "", "", "", 137},
		{"exec <&-; echo closed", strings.Repeat("x", 1<<20), "closed\n", "", 0},
	} {
		var out, errs bytes.Buffer
		err := c.Run(t.Context(), Command{Shell: tt.command, Stdin: strings.NewReader(tt.in), Stdout: &out, Stderr: &errs})
		if code(err) != tt.code || out.String() != tt.out || errs.String() != tt.err {
			t.Errorf("%q: %v, %q, %q", tt.command, err, out.String(), errs.String())
		}
	}
}

// TestShellOnATerminal talks to a shell line by line.
func TestShellOnATerminal(t *testing.T) {
	c := connect(t, shell)
	keys, typed := io.Pipe()
	shown, out := io.Pipe()
	sizes := make(chan tty.Size, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(t.Context(), Command{
			Stdin: keys, Stdout: out,
			Terminal: &Terminal{Term: "xterm", Size: tty.Size{Cols: 81, Rows: 25}, Sizes: sizes},
		})
		_ = out.Close()
	}()
	lines := bufio.NewScanner(shown)
	expect := func(line string) {
		t.Helper()
		for lines.Scan() {
			// A prompt may stand before it: what is typed early is echoed before the prompt.
			if strings.HasSuffix(strings.TrimSpace(lines.Text()), line) {
				return
			}
		}
		t.Fatalf("%q never came", line)
	}
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(typed, s); err != nil {
			t.Fatal(err)
		}
	}
	send("stty -echo; PS1=; stty size\n")
	expect("25 81")
	send("echo ready; until [ \"$(stty size)\" = '43 132' ]; do :; done; echo resized\n")
	expect("ready")
	sizes <- tty.Size{Cols: 132, Rows: 43}
	expect("resized")
	send("exit 5\n")
	for lines.Scan() {
	}
	if err := <-ended; code(err) != 5 {
		t.Errorf("got %v", err)
	}
}

func TestHugeOutputOfAShell(t *testing.T) {
	const size = 64 << 20
	var n countingWriter
	c := connect(t, shell)
	err := c.Run(t.Context(), Command{Shell: "head -c 67108864 /dev/zero; exit 9", Stdout: &n})
	if code(err) != 9 || n.n != size {
		t.Errorf("got %v after %d bytes", err, n.n)
	}
}

type countingWriter struct {
	mu sync.Mutex
	n  int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n += len(p)
	return len(p), nil
}

// BenchmarkOutput is the throughput of a command's output over loopback.
func BenchmarkOutput(b *testing.B) {
	chunk := make([]byte, 32<<10)
	_, _ = rand.Read(chunk)
	s := &server{session: func(r *remote) {
		r.next()
		for range b.N {
			if _, err := r.Write(chunk); err != nil {
				return
			}
		}
		r.exit(0)
	}}
	c := s.client(b)
	b.SetBytes(int64(len(chunk)))
	b.ResetTimer()
	if err := c.Run(b.Context(), Command{Shell: "x", Stdout: io.Discard}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkInput is the throughput of standard input over loopback.
func BenchmarkInput(b *testing.B) {
	const chunk = 32 << 10
	s := &server{session: func(r *remote) {
		r.next()
		_, _ = io.Copy(io.Discard, r)
		r.exit(0)
	}}
	c := s.client(b)
	b.SetBytes(chunk)
	b.ResetTimer()
	in := io.LimitReader(zeros{}, int64(b.N)*chunk)
	if err := c.Run(b.Context(), Command{Shell: "x", Stdin: in}); err != nil {
		b.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkEcho is one keystroke there and back.
func BenchmarkEcho(b *testing.B) {
	s := &server{session: func(r *remote) {
		r.next()
		_, _ = io.Copy(r, r)
		r.exit(0)
	}}
	c := s.client(b)
	keys, typed := io.Pipe()
	shown, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(b.Context(), Command{Shell: "x", Stdin: keys, Stdout: out}) }()
	key := make([]byte, 1)
	for b.Loop() {
		if _, err := typed.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(shown, key); err != nil {
			b.Fatal(err)
		}
	}
	_ = typed.Close()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
