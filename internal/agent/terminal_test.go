//go:build linux

package agent

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func TestTerminalSizeAndModes(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	modes := ssh.TerminalModes{ssh.ECHO: 0, ssh.ISIG: 0, ssh.VINTR: 1, ssh.VEOF: 255, ssh.ONLCR: 0, ssh.IUTF8: 1, ssh.TTY_OP_ISPEED: 38400}
	if err := s.RequestPty("xterm-256color", 24, 80, modes); err != nil {
		t.Fatal(err)
	}
	out := output(t, s, "tty; stty size; echo $TERM; stty -a")
	for _, want := range []string{"/dev/pts/", "\n24 80\n", "\nxterm-256color\n", " -echo ", "-isig", "intr = ^A", "eof = <undef>", "-onlcr", "iutf8"} {
		if !strings.Contains(strings.ReplaceAll(out, "-echo\n", "-echo "), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestWindowChange(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	if err := s.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "50 132")
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

func TestPixelSizes(t *testing.T) {
	pty, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer pty.close()
	if err := pty.resize(window{80, 24, 640, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	got, err := unix.IoctlGetWinsize(int(pty.tty.Fd()), unix.TIOCGWINSZ)
	if err != nil || *got != (unix.Winsize{Row: 24, Col: 80, Xpixel: 640, Ypixel: 65535}) {
		t.Errorf("size %+v, %v", got, err)
	}
}

func TestInterruptAndControl(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.02; done"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	io.WriteString(stdin, "\x03")
	readUntil(t, stdout, "interrupted")
	if got := exitStatusOf(t, s.Wait()); got != 4 {
		t.Errorf("status %d, want 4", got)
	}
}

// Ctrl-Z stops the foreground job and gives the terminal back to the shell.
func TestJobControl(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	if err := s.RequestPty("xterm", 24, 80, map[uint8]uint32{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	types := func(text string) { io.WriteString(stdin, text) }
	// Written so that the echo of the command is none of what it prints. The loop
	// starts no program: a stop that hits between vfork and exec, as dash starts
	// them, leaves the shell waiting for a child that is stopped.
	types("sh -c 'trap \"echo ba\"\"ck\" CONT; echo beg\"\"an; while :; do :; done'\n")
	readUntil(t, stdout, "began")
	types("\x1a")
	readUntil(t, stdout, "Stopped")
	types("fg\n")
	readUntil(t, stdout, "back")
	types("\x03")
	types("echo status $?\n")
	readUntil(t, stdout, "status 130")
	types("exit 5\n")
	if got := exitStatusOf(t, s.Wait()); got != 5 {
		t.Errorf("status %d, want 5", got)
	}
}

// The end of input cannot close a terminal, so it is typed.
func TestEndOfInputOnTerminal(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for _, input := range []string{"line\n", "no newline"} {
		s := newTestSession(t, client)
		if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
			t.Fatal(err)
		}
		s.Stdin = strings.NewReader(input)
		if got := output(t, s, "cat; echo; echo end"); strings.TrimSpace(got) != strings.TrimSpace(input)+"\r\n\r\nend" &&
			strings.TrimSpace(got) != strings.TrimSpace(input)+"\r\nend" {
			t.Errorf("output %q", got)
		}
	}
}

func TestInteractiveShell(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, "echo $((6*7)); exit 12\n")
	readUntil(t, stdout, "42\r\n")
	if got := exitStatusOf(t, s.Wait()); got != 12 {
		t.Errorf("status %d, want 12", got)
	}
}

func TestBreak(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	payload := ssh.Marshal(struct{ Milliseconds uint32 }{500})
	if ok, err := s.SendRequest("break", true, payload); ok || err != nil {
		t.Errorf("break without a terminal: %v, %v", ok, err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("break", true, payload); !ok || err != nil {
		t.Errorf("break: %v, %v", ok, err)
	}
}

func TestParseModes(t *testing.T) {
	for _, tt := range []struct {
		encoded string
		want    int
	}{
		{"", 0},
		{"\x00", 0},
		{"\x35\x00\x00\x00\x01\x00", 1},
		{"\x35\x00\x00\x00\x01\x36\x00\x00\x00\x00", 2},
		{"\x35\x00\x00", 0},
		{"\xa0\x00\x00\x00\x01", 0},
		{"\x00\x35\x00\x00\x00\x01", 0},
	} {
		if got := parseModes([]byte(tt.encoded)); len(got) != tt.want {
			t.Errorf("parseModes(%q) = %v, want %d modes", tt.encoded, got, tt.want)
		}
	}
}
