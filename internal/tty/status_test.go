package tty

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// display is a terminal: what is written changes its screen, and its answers
// arrive at the keyboard.
type display struct {
	*screen.Screen
	typed bytes.Buffer
}

func newDisplay(cols, rows int) *display {
	d := &display{Screen: screen.New(cols, rows)}
	d.Reply(func(p []byte) { d.typed.Write(p) })
	return d
}

// state is all that a person could see, or a program come to rely on.
func (d *display) state() string {
	return string(d.Redraw(screen.RedrawOptions{}))
}

func (d *display) String() string {
	var lines []string
	_, rows := d.Size()
	for y := range rows {
		lines = append(lines, strings.TrimRight(string(d.Line(y)), " "))
	}
	return strings.Join(lines, "\n")
}

// show returns an output to a display that has answered where its cursor is.
func show(t *testing.T, d *display, first string) *Output {
	t.Helper()
	cols, rows := d.Size()
	o := NewOutput(d, OutputOptions{Size: Size{Cols: cols, Rows: rows}, Locate: true})
	put(t, o, first)
	keys := o.Keyboard(&d.typed)
	if n, err := keys.Read(make([]byte, 64)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes, %v: the answer is no key", n, err)
	}
	return o
}

func put(t *testing.T, o *Output, text string) {
	t.Helper()
	if n, err := o.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

// pictures are what programs may have made of a screen when the connection is
// lost.
var pictures = []struct {
	name, before, drawn string
	modern              bool // more than vt10x knows
}{
	{"a prompt in a used terminal", "local\r\n$ cloudssh\r\n", "user@twin:~$ ", false},
	{"a prompt in the last row", strings.Repeat("local\r\n", 30), "user@twin:~$ ls\r\na b c\r\nuser@twin:~$ ", false},
	{"an editor", "$ cloudssh\r\n", "\x1b[?1049h\x1b[H\x1b[2J\x1b[1;31mtext\x1b[m\x1b[10;1H\x1b[7mfile.txt [+]  1,1 All\x1b[m\x1b[3;7H", false},
	{"the end of a line", "", "\x1b[2J\x1b[5;1H" + strings.Repeat("x", 40), false},
	{"the end of the screen", "", "\x1b[2J\x1b[10;1H" + strings.Repeat("y", 40), false},
	{"looks and line drawing", "", "\x1b[H\x1b[J\x1b[10;3H\x1b(0lqqk\x1b[48;2;1;2;3;4m", false},
	{"margins and origin", "", "\x1b[H\x1b[Jtop\x1b[10;1Hlast\x1b[3;6r\x1b[?6h\x1b[2;2H", false},
	{"side margins", "", "\x1b[2J\x1b[10;1Hlast row of forty columns, and so on.\x1b[?69h\x1b[5;20s\x1b[4;6H", true},
	{"insertion, no wrap", "", "\x1b[2J\x1b[10;5Hlast\x1b[4h\x1b[?7l\x1b[9;39Habcdef", true},
	{"a saved cursor", "", "\x1b[2J\x1b[10;5Hlast\x1b[2;2H\x1b[32m\x1b7\x1b[4;4H\x1b[1;35m", false},
	{"a saved cursor of ANSI", "", "\x1b[2J\x1b[10;5Hlast\x1b[2;2H\x1b[s\x1b[4;4H", false},
	{"wide characters", "", "\x1b[2J\x1b[10;1H日本語テキスト と é ö\x1b[5;3H", true},
	{"a hidden cursor", "", "\x1b[2J\x1b[?25l\x1b[10;1H\x1b[44m\x1b[K menu ", false},
}

// TestStatusLeavesNoTrace: what the program writes from then on has the effect
// that it would have had.
func TestStatusLeavesNoTrace(t *testing.T) {
	for _, p := range pictures {
		t.Run(p.name, func(t *testing.T) {
			plain, shown := newDisplay(40, 10), newDisplay(40, 10)
			for _, d := range []*display{plain, shown} {
				_, _ = io.WriteString(d, p.before)
			}
			_, _ = io.WriteString(plain, p.drawn)
			o := show(t, shown, p.drawn)
			for _, text := range []string{"[cloudssh] no connection for 3 s", "[cloudssh] no connection for 4 s", ""} {
				if o.Status(text); text != "" && !strings.Contains(shown.String(), text) {
					t.Fatalf("%q is not on the screen:\n%s", text, shown)
				}
			}
			o.Status("again")
			if o.Clear() {
				t.Error("the screen has to be sent again")
			}
			const next = "more\x1b8\x1b[31mand\x1b[u more"
			same(t, shown, plain)
			_, _ = io.WriteString(plain, next)
			put(t, o, next)
			if o.scan.saved[o.scan.shown()] {
				same(t, shown, plain)
			}
		})
	}
}

func same(t *testing.T, got, want *display) {
	t.Helper()
	if g, w := got.String(), want.String(); g != w {
		t.Fatalf("the screen is\n%q\nwant\n%q", g, w)
	}
	// A place to save the cursor in that the program has not used is ours.
	g, w := screenAfter(got, "\x1b7"), screenAfter(want, "\x1b7")
	if g != w {
		t.Fatalf("the state is\n%q\nwant\n%q", g, w)
	}
}

// screenAfter is the state after some more output, which does not happen.
func screenAfter(d *display, output string) string {
	cols, rows := d.Size()
	c := newDisplay(cols, rows)
	_, _ = c.Write(d.Redraw(screen.RedrawOptions{}))
	_, _ = io.WriteString(c, output)
	return c.state()
}

// TestStatusDuringOutput shows and hides the line at random moments of random
// output in random pieces.
func TestStatusDuringOutput(t *testing.T) {
	atoms := []string{
		"text ", "é", "日", "\r\n", "\n", "\r", "\x1b[31m", "\x1b[0m", "\x1b[5;5H", "\x1b[H\x1b[J", "\x1b[2J", "\x1b7", "\x1b8",
		"\x1b[?1049h", "\x1b[?1049l", "\x1b]0;a title\a", "\x1b]2;another\x1b\\", "\x1bPq#0;2;0;0;0~\x1b\\", "\x1b(0q\x1b(B",
		"\x1b[3;8r", "\x1b[r", "\x1b[?6h", "\x1b[?6l", "\x1b[L", "\x1b[M", "\x1bM", "\x1bD", "\x1b[10;1Hlast row", "\x1b[4h", "\x1b[4l",
		"\x1b[?7l", "\x1b[?7h", "\x1b[38;5;200;4m", "a line that is longer than the screen is wide", "\x1b[\x18", "\x1b[5\x1b[m", "\x1bc",
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		plain, shown := newDisplay(30, 10), newDisplay(30, 10)
		o := show(t, shown, "")
		exact := true
		var stream strings.Builder
		said := scanner{left: make(map[int]bool)}
		for range 60 {
			atom := atoms[rng.IntN(len(atoms))]
			// No program goes back to what it has not saved.
			if atom == "\x1b8" && !said.saved[said.shown()] || atom == "\x1b[?1049l" && !said.alt {
				continue
			}
			said.next([]byte(atom))
			stream.WriteString(atom)
		}
		for rest := stream.String(); rest != ""; {
			n := 1 + rng.IntN(min(len(rest), 12))
			_, _ = io.WriteString(plain, rest[:n])
			put(t, o, rest[:n])
			rest = rest[n:]
			switch rng.IntN(4) {
			case 0:
				o.Status("status")
			case 1:
				exact = !o.Clear() && exact
			}
		}
		exact = !o.Clear() && exact
		put(t, o, "\x1b[m")
		_, _ = io.WriteString(plain, "\x1b[m")
		if !exact {
			t.Fatalf("round %d: inexact after %q", round, stream.String())
		}
		if shown.String() != plain.String() {
			t.Fatalf("round %d: after %q the screen is\n%s\nwant\n%s", round, stream.String(), shown, plain)
		}
	}
}
