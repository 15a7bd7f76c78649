package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// terminal is a person's: cloudssh in a pseudo-terminal, drawn on a screen.
type terminal struct {
	t      *testing.T
	pty    *os.File
	tty    *os.File // our own handle on the other side, to look at its modes
	cmd    *exec.Cmd
	screen vt10x.Terminal

	mu      sync.Mutex
	sent    []byte        // all that cloudssh has written
	changed chan struct{} // closed and replaced at each change of the screen
	ended   bool
	done    chan struct{}
}

// terminal runs cloudssh in a terminal of 80 by 24.
func (w *world) terminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	p, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	p = pollable(t, p)
	m := &terminal{
		t: t, pty: p, tty: tty, cmd: exec.Command(exe, args...),
		screen: vt10x.New(vt10x.WithSize(80, 24), vt10x.WithWriter(p)), changed: make(chan struct{}), done: make(chan struct{}),
	}
	m.resize(80, 24)
	m.cmd.Env = w.env
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = tty, tty, tty
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go m.draw()
	go func() {
		_ = m.cmd.Wait()
		close(m.done)
	}()
	t.Cleanup(func() {
		finish(t, m.cmd.Process, m.done)
		_ = tty.Close()
		_ = p.Close()
	})
	return m
}

// pollable is f in a form whose Close ends a Read that waits.
func pollable(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "ptmx")
}

func (m *terminal) draw() {
	buf, drawn := make([]byte, 4096), 0
	for {
		n, err := m.pty.Read(buf)
		m.mu.Lock()
		m.sent = append(m.sent, buf[:n]...)
		drawn += m.paint(m.sent[drawn:])
		close(m.changed)
		m.changed = make(chan struct{})
		m.ended = err != nil
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// paint draws all but half a character at the end, which the screen would take
// for none, and returns how much that is.
func (m *terminal) paint(text []byte) int {
	n := len(text)
	for i := n - 1; i >= max(0, n-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				n = i
			}
			break
		}
	}
	_, _ = m.screen.Write(text[:n])
	return n
}

// sees waits until the screen satisfies a condition.
func (m *terminal) sees(what string, ok func(screen string) bool) {
	m.t.Helper()
	limit := time.After(patience)
	for {
		m.mu.Lock()
		text, changed, ended := m.screen.String(), m.changed, m.ended
		m.mu.Unlock()
		if ok(text) {
			return
		}
		if ended {
			m.t.Fatalf("the terminal was closed before it showed %s:\n%s", what, text)
		}
		select {
		case <-changed:
		case <-limit:
			m.t.Fatalf("the screen never showed %s:\n%s", what, text)
		}
	}
}

// shows waits until a text stands on the screen, in however many lines.
func (m *terminal) shows(text string) {
	m.t.Helper()
	m.sees(text, func(s string) bool { return strings.Contains(strings.ReplaceAll(s, "\n", ""), text) })
}

// told waits for a text that stands on the screen for a moment only, and may be
// gone when the test comes to look.
func (m *terminal) told(text string) {
	m.t.Helper()
	m.sees(text+", once", func(string) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return bytes.Contains(m.sent, []byte(text))
	})
}

func (m *terminal) types(text string) {
	m.t.Helper()
	if _, err := m.pty.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

func (m *terminal) resize(cols, rows int) {
	m.t.Helper()
	if err := pty.Setsize(m.pty, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		m.t.Fatal(err)
	}
	m.screen.Resize(cols, rows)
}

// sane demands that the terminal is cooked, as it was before.
func (m *terminal) sane() {
	m.t.Helper()
	modes, err := unix.IoctlGetTermios(int(m.tty.Fd()), unix.TCGETS)
	if err != nil {
		m.t.Fatal(err)
	}
	if modes.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != unix.ICANON|unix.ECHO|unix.ISIG || modes.Iflag&unix.ICRNL == 0 || modes.Oflag&unix.OPOST == 0 {
		m.t.Errorf("the terminal is left in modes %#x %#x %#x", modes.Iflag, modes.Oflag, modes.Lflag)
	}
}

func (m *terminal) wait() int {
	m.t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		m.t.Fatalf("cloudssh does not end:\n%s", m.screen.String())
	}
	m.sane()
	return m.cmd.ProcessState.ExitCode()
}

// TestTerminal is a session as a person has it.
func TestTerminal(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("a twin of hello")
	m.shows("# ")
	m.types("stty size\r")
	m.shows("24 80")

	m.resize(100, 30)
	m.types("until stty size | grep 30' '100; do :; done\r") // a key may overtake the size
	m.shows("30 100")

	// Ctrl-C is the remote program's, and so is job control: it says itself that it
	// has the terminal.
	m.types("sh -c \"echo sta''rted; sleep 1000\"\r")
	m.shows("started")
	m.types("\x03")
	m.shows("^C")
	m.types("echo back $((6 * 7))\r")
	m.shows("back 42")

	// What is not ASCII arrives as it is.
	m.types("echo ca''ts; cat\r")
	m.shows("cats")
	m.types("grüße →\r\x04")
	m.sees("the line twice", func(s string) bool { return strings.Count(s, "grüße →") >= 2 })

	// A full-screen program redraws when the terminal changes.
	m.types("vi /app/README\r")
	m.sees("vi's screen", func(s string) bool { return strings.Contains(s, "The sample service") && strings.Contains(s, "~") })
	m.asked("The sample service")
	m.resize(60, 12)
	m.sees("vi on 12 rows", func(s string) bool {
		lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
		return len(lines) >= 12 && strings.Contains(lines[11], "README")
	})
	m.types(":q!\r")
	m.types("exit 9\r")
	if code := m.wait(); code != 9 {
		t.Errorf("exit code %d, want 9:\n%s", code, m.screen.String())
	}
	w.demandOnly(t, "hello")
}

// TestEscape: `~?` helps and `~.` leaves, and the twin goes.
func TestEscape(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("# ")
	m.types("~?")
	m.shows("leave the session")
	m.types("\r~.")
	if code := m.wait(); code != 255 {
		t.Errorf("exit code %d, want 255", code)
	}
	w.demandOnly(t, "hello")
}

// TestTerminalClosed: the window is closed in the middle of a session.
func TestTerminalClosed(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("# ")
	_ = m.tty.Close()
	_ = m.pty.Close() // the kernel sends SIGHUP
	select {
	case <-m.done:
	case <-time.After(patience):
		t.Fatal("cloudssh goes on without a terminal")
	}
	if code := m.cmd.ProcessState.ExitCode(); code != 129 {
		t.Errorf("exit code %d, want 129", code)
	}
	w.demandOnly(t, "hello")
}

// TestPicker: no service named, so the person chooses.
func TestPicker(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "--exec", "echo picked $K_SERVICE")
	m.shows("Which service?")
	m.shows("hello")
	m.types("\r")
	m.shows("picked hello-ssh")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.demandOnly(t, "hello")
}

// TestForcedTerminal: -t without a terminal of our own, as ssh -tt.
func TestForcedTerminal(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	r := w.cloudssh(t, "hello", "--tty", "--exec", "tty; stty size")
	r.demand(t, 0)
	if !strings.Contains(r.stdout, "/dev/pts/") || !strings.Contains(r.stdout, "24 80") {
		t.Errorf("stdout %q", r.stdout)
	}
	r = w.cloudssh(t, "hello", "--exec", "tty")
	r.demand(t, 1)
	w.demandOnly(t, "hello")
}

// TestCtrlCInTheLiveView: the key, typed while the steps are drawn, is a
// signal as ever; a second one is not needed for the twin to go.
func TestCtrlCInTheLiveView(t *testing.T) {
	h := &holds{}
	w := newWorld(t, emulator.Options{Faults: h.faults()})
	h.ready.Store(true)
	m := w.terminal(t, "hello")
	m.shows("waiting for Ready")
	m.types("\x03")
	if code := m.wait(); code != 130 {
		t.Errorf("exit code %d, want 130:\n%s", code, m.screen.String())
	}
	m.shows("interrupted")
	w.demandOnly(t, "hello")
}
