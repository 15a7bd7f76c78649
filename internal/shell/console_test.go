//go:build linux || darwin

package shell

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// A console is a shell on a terminal, as a person sees it.
type console struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	term vt10x.Terminal

	mu      sync.Mutex
	changed chan struct{}
	ended   bool
}

// prompt is what the tests' shells print when they are ready.
const prompt = "twin$ "

func newConsole(t *testing.T, cols, rows int, args ...string) *console {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = append(cmd.Env, "PS1="+prompt)
	return startConsole(t, cmd, cols, rows)
}

func startConsole(t *testing.T, cmd *exec.Cmd, cols, rows int) *console {
	t.Helper()
	c := &console{t: t, cmd: cmd, changed: make(chan struct{})}
	c.term = vt10x.New(vt10x.WithSize(cols, rows))
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	tty, err := pty.StartWithAttrs(cmd, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}, cmd.SysProcAttr)
	if err != nil {
		t.Fatal(err)
	}
	c.tty = pollable(t, tty)
	go c.draw()
	t.Cleanup(func() {
		c.tty.Close() // hangs up
		cmd.Wait()    // tests look at the status themselves
	})
	return c
}

// pollable is the same file, of which Close ends a Read.
func pollable(t *testing.T, f *os.File) *os.File {
	t.Helper()
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func (c *console) draw() {
	buf := make([]byte, 4096)
	for {
		n, err := c.tty.Read(buf)
		c.mu.Lock()
		c.term.Write(buf[:n]) // it never fails
		c.ended = err != nil
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// screen is the text on the screen, without what is empty.
func (c *console) screen() string {
	var lines []string
	for line := range strings.SplitSeq(c.term.String(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// until waits for the screen to be as it should.
func (c *console) until(what string, is func(screen string) bool) {
	c.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		screen, changed, ended := c.screen(), c.changed, c.ended
		c.mu.Unlock()
		if is(screen) {
			return
		}
		if ended {
			c.cmd.Wait() // its status is shown
			c.t.Fatalf("the shell has ended (%v) before the screen had %s:\n%s", c.cmd.ProcessState, what, screen)
		}
		select {
		case <-changed:
		case <-limit.C:
			c.t.Fatalf("the screen never had %s:\n%s", what, screen)
		}
	}
}

// ends waits for the screen to end in a text.
func (c *console) ends(text string) {
	c.t.Helper()
	text = strings.TrimRight(text, " ")
	c.until("at its end "+text, func(screen string) bool { return strings.HasSuffix(screen, text) })
}

// ready waits for a prompt after some text.
func (c *console) ready(text string) {
	c.t.Helper()
	c.ends(text + "\n" + prompt)
}

func (c *console) types(keys string) {
	c.t.Helper()
	if _, err := io.WriteString(c.tty, keys); err != nil {
		c.t.Fatal(err)
	}
}

// exits waits for the end of the shell.
func (c *console) exits(status int) {
	c.t.Helper()
	limit := time.AfterFunc(time.Minute, func() { _ = c.cmd.Process.Kill() })
	defer limit.Stop()
	if err := c.cmd.Wait(); err != nil && c.cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != status {
		c.t.Errorf("the shell has ended with status %d (%v), want %d", got, c.cmd.ProcessState.Sys().(syscall.WaitStatus), status)
	}
}
