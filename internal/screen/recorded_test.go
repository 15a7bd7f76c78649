package screen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/hinshun/vt10x"
)

// recorded are what real programs wrote to an xterm-256color of 80 by 24.
func recorded(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/recorded/*")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	all := make(map[string][]byte)
	for _, name := range files {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// A redraw in the midst of what a program writes, at any place, makes no
// difference to what comes out at its end.
func TestRecordedRedraws(t *testing.T) {
	for name, data := range recorded(t) {
		whole := New(80, 24)
		whole.Write(data)
		for i := 0; i <= len(data); i += 1 + len(data)/20 {
			for _, o := range []RedrawOptions{{}, {Scrollback: true}} {
				s, other := New(80, 24), New(80, 24)
				s.Write(data[:i])
				other.Write(s.Redraw(o))
				other.Write(data[i:])
				compare(t, other, whole, fmt.Sprintf("%s, redrawn at %d", name, i))
			}
		}
	}
}

// Two other emulators see the same text, and are brought there by a redraw.
func TestRecordedInOtherEmulators(t *testing.T) {
	for name, data := range recorded(t) {
		s := New(80, 24)
		s.Write(data)
		want := s.Text()
		redraw := s.Redraw(RedrawOptions{Scrollback: true})
		for _, input := range [][]byte{data, redraw} {
			other := vt.NewEmulator(80, 24)
			go discard(other)
			other.Write(input)
			if got := trimLines(other.String()); got != want {
				t.Errorf("%s: x/vt shows\n%s\nwant\n%s", name, got, want)
			}
			if at := other.CursorPosition(); at.X != s.x || at.Y != s.y {
				t.Errorf("%s: x/vt's cursor is at %v, want %d,%d", name, at, s.x, s.y)
			}
			// Close is not made for use beside Read.
			if pipe, ok := other.InputPipe().(io.Closer); ok {
				pipe.Close()
			}
		}
		third := vt10x.New(vt10x.WithSize(80, 24))
		third.Write(redraw)
		if got := trimLines(third.String()); got != want && !strings.ContainsAny(want, "漢👍") { // it knows no wide characters
			t.Errorf("%s: vt10x shows\n%s\nwant\n%s", name, got, want)
		}
	}
}

func discard(e *vt.Emulator) {
	for buf := make([]byte, 512); ; {
		if _, err := e.Read(buf); err != nil {
			return
		}
	}
}

func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// tmux, whose emulation is its own, shows the same cells, colours and cursor
// for a recording, for its redraw, and for a redraw over something else.
func TestRecordedInTmux(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux here")
	}
	dir := t.TempDir()
	dirt := []byte("\x1b[?1049h\x1b[41mdirt\x1b[5;9r\x1b[?6h\x1b(0qqq\x1b[4h\x1b[?1002h")
	tmux := newTmux(t, dir)
	for name, data := range recorded(t) {
		s := New(80, 24)
		s.Write(data)
		redraw := s.Redraw(RedrawOptions{Scrollback: true})
		want := tmux.shows(t, name, data)
		if got := tmux.shows(t, name+"-redrawn", redraw); got != want {
			t.Errorf("%s: redrawn\n%s\nwant\n%s", name, got, want)
		}
		if got := tmux.shows(t, name+"-over", append(dirt, s.Redraw(RedrawOptions{})...)); got != want {
			t.Errorf("%s: redrawn over something else\n%s\nwant\n%s", name, got, want)
		}
		repaint := append(bytes.Clone(data), s.Redraw(RedrawOptions{Repaint: true})...)
		if got := tmux.shows(t, name+"-repainted", repaint); got != want {
			t.Errorf("%s: repainted\n%s\nwant\n%s", name, got, want)
		}
	}
}

// A tmuxServer shows files in windows of 80 by 24.
type tmuxServer struct{ socket, dir string }

func newTmux(t *testing.T, dir string) tmuxServer {
	t.Helper()
	s := tmuxServer{filepath.Join(dir, "socket"), dir}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		exec.CommandContext(ctx, "tmux", "-S", s.socket, "kill-server").Run() // it may not run
	})
	return s
}

func (s tmuxServer) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tmux", append([]string{"-u", "-S", s.socket, "-f", "/dev/null"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows is what tmux makes of data: lines with colours, and its state. It reads
// at its own pace: a title tells that it has come to the end.
func (s tmuxServer) shows(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, append(bytes.Clone(data), "\x1b]2;all of "+name+"\a"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, "new-session", "-d", "-s", name, "-x", "80", "-y", "24", "stty raw -echo; cat "+file+"; read x",
		";", "set", "-g", "status", "off", ";", "resize-window", "-x", "80", "-y", "24")
	for s.run(t, "display-message", "-p", "-t", name, "#{pane_title}") != "all of "+name+"\n" {
		runtime.Gosched() // each question is a process
	}
	screen := s.run(t, "capture-pane", "-e", "-p", "-t", name)
	state := s.run(t, "display-message", "-p", "-t", name, "#{cursor_x},#{cursor_y} visible=#{cursor_flag} alternate=#{alternate_on} "+
		"#{scroll_region_upper}-#{scroll_region_lower} origin=#{origin_flag} insert=#{insert_flag} wrap=#{wrap_flag} "+
		"mouse=#{mouse_any_flag} sgr=#{mouse_sgr_flag} keypad=#{keypad_flag} keys=#{keypad_cursor_flag}")
	return normal(screen) + state
}

// normal is what capture-pane says as cells. A blank looks like another if no
// more than the colour is different that a character would have there.
func normal(text string) string {
	s := New(80, 24)
	s.Write([]byte(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")))
	for _, l := range s.main.lines {
		// What is erased at the end of a line that is full differs: tmux leaves
		// its last column, xterm does not. tmux does not tell all blanks, either.
		for i := len(l.cells) - 1; i >= 0 && (l.cells[i].r == 0 || l.cells[i].r == ' '); i-- {
			l.cells[i] = cell{bg: l.cells[i].bg}
		}
		for i := range l.cells {
			if c := &l.cells[i]; (c.r == ' ' || c.r == 0) && c.attr&(reverse|underlines|strike|tail) == 0 && c.extra == 0 {
				*c = cell{bg: c.bg}
			}
		}
	}
	return dumpGrid(s, s.main)
}
