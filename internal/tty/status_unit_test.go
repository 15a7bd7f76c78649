package tty

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hinshun/vt10x"
)

// TestStatusOnAnotherTerminal repeats TestStatusLeavesNoTrace with a terminal
// that has no code in common with the mirror.
func TestStatusOnAnotherTerminal(t *testing.T) {
	for _, p := range pictures {
		t.Run(p.name, func(t *testing.T) {
			if p.modern {
				return
			}
			var typed bytes.Buffer
			plain := vt10x.New(vt10x.WithSize(40, 10))
			shown := vt10x.New(vt10x.WithSize(40, 10), vt10x.WithWriter(&typed))
			for _, v := range []vt10x.Terminal{plain, shown} {
				_, _ = io.WriteString(v, p.before)
			}
			_, _ = io.WriteString(plain, p.drawn)
			o := NewOutput(shown, OutputOptions{Size: Size{Cols: 40, Rows: 10}, Locate: true})
			put(t, o, p.drawn)
			_, _ = o.Keyboard(&typed).Read(make([]byte, 64))
			o.Status("[cloudssh] no connection")
			if !strings.Contains(shown.String(), "[cloudssh] no connection") {
				t.Fatalf("the status is not on the screen:\n%s", shown)
			}
			if o.Clear() {
				t.Error("the screen has to be sent again")
			}
			for _, next := range []string{"", "x", "yz\r\nmore\x1b[A\x1b[31mand more"} {
				_, _ = io.WriteString(plain, next)
				put(t, o, next)
				if shown.String() != plain.String() || shown.Cursor() != plain.Cursor() {
					t.Fatalf("after %q the screen is\n%s\n%+v\nwant\n%s\n%+v", next, shown, shown.Cursor(), plain, plain.Cursor())
				}
				for i := range 400 {
					got, want := shown.Cell(i%40, i/40), plain.Cell(i%40, i/40)
					const graphics = 8 // how a line was drawn, not how it looks
					if got.Mode, want.Mode = got.Mode&^graphics, want.Mode&^graphics; got != want {
						t.Fatalf("after %q cell %d,%d is %+v, want %+v", next, i%40, i/40, got, want)
					}
				}
			}
		})
	}
}

func TestStatusWithoutAMirror(t *testing.T) {
	for _, tt := range []struct {
		name, drawn string
		locate      bool
		resize      bool
		redraw      bool
	}{
		{"not asked", "$ ", false, false, true},
		{"no answer", "$ ", true, false, true},
		{"no answer, but a clear screen", strings.Repeat("lines\r\n", maxEarly/6) + "\x1b[2J\x1b[H$ ", true, false, false},
		{"resized", "$ ", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisplay(30, 5)
			o := NewOutput(d, OutputOptions{Size: Size{Cols: 30, Rows: 5}, Locate: tt.locate})
			put(t, o, tt.drawn)
			o.Status("status")
			if tt.resize {
				_, _ = o.Keyboard(&d.typed).Read(make([]byte, 64))
				d.Resize(40, 6)
				o.resize(Size{Cols: 40, Rows: 6})
			}
			if _, rows := d.Size(); string(d.Line(rows - 1))[:12] != "\x1b[0;7mstatus" {
				t.Errorf("the last row is %q", d.Line(rows-1))
			}
			if got := o.Clear(); got != tt.redraw {
				t.Errorf("redraw: %v, want %v", got, tt.redraw)
			}
			if _, rows := d.Size(); len(d.Line(rows-1)) != 0 {
				t.Errorf("the last row is %q", d.Line(rows-1))
			}
			if o.Clear() {
				t.Error("nothing was shown, and yet the screen has to be sent again")
			}
		})
	}
}

// TestStatusAfterResize: a program that paints the screen anew makes the
// mirror sure again.
func TestStatusAfterResize(t *testing.T) {
	d := newDisplay(30, 5)
	o := show(t, d, "\x1b[?1049h\x1b[2Jbefore")
	d.Resize(40, 8)
	sizes := make(chan Size, 1)
	sizes <- Size{Cols: 40, Rows: 8}
	if s := <-o.Follow(sizes); s.Rows != 8 {
		t.Errorf("passed on %+v", s)
	}
	put(t, o, "\x1b[H\x1b[Jafter\x1b[8;1Hlast")
	before := d.String()
	if o.Status("status"); o.Clear() || d.String() != before {
		t.Errorf("got\n%s\nwant\n%s", d, before)
	}
	close(sizes)
}

func TestStatusLine(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		plain            bool
		size             Size
	}{
		{"padded", "abc", "\x1b[3;1H\x1b[0;7mabc     \x1b[0m", false, Size{Cols: 8, Rows: 3}},
		{"no colour", "abc", "\x1b[3;1H\x1b[0mabc     \x1b[0m", true, Size{Cols: 8, Rows: 3}},
		{"cut", "abcdefghijk", "\x1b[3;1H\x1b[0;7mabcdefgh\x1b[0m", false, Size{Cols: 8, Rows: 3}},
		{"unprintable", "a\x1b[2J\né", "\x1b[3;1H\x1b[0;7ma?[2J?? \x1b[0m", false, Size{Cols: 8, Rows: 3}},
		{"no size", "abc", "", false, Size{}},
		{"one row", "abc", "", false, Size{Cols: 8, Rows: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			o := NewOutput(&got, OutputOptions{Size: tt.size, Plain: tt.plain})
			o.Status(tt.text)
			if !strings.Contains(got.String(), tt.want) || tt.want == "" && got.Len() > 0 {
				t.Errorf("wrote %q, want %q", got.String(), tt.want)
			}
		})
	}
}

// TestSequencesStayWhole writes every prefix of what must not be cut, then
// shows the line.
func TestSequencesStayWhole(t *testing.T) {
	for _, whole := range []string{
		"\x1b[38;2;1;2;3m", "\x1b[?1049h", "\x1b]0;title\a", "\x1b]8;;http://x/\x1b\\", "\x1bP+q544e\x1b\\", "\x1b(0", "\x1b#8", "\x1b7", "é", "日", "😀",
	} {
		for cut := 1; cut < len(whole); cut++ {
			var got bytes.Buffer
			o := NewOutput(&got, OutputOptions{Size: Size{Cols: 8, Rows: 3}})
			put(t, o, "x"+whole[:cut])
			o.Status("abc")
			if !strings.Contains(got.String(), "abc") {
				t.Errorf("%q: the status waits", whole[:cut])
			}
			put(t, o, whole[cut:]+"y")
			o.Clear()
			if !strings.Contains(got.String(), whole) {
				t.Errorf("%q was cut: %q", whole, got.String())
			}
		}
	}
}

func TestPrint(t *testing.T) {
	d := newDisplay(30, 5)
	o := show(t, d, "$ \x1b[3")
	o.Status("status")
	if err := o.Print("ours "); err != nil {
		t.Fatal(err)
	}
	put(t, o, "1mred")
	if o.Clear() {
		t.Error("the screen has to be sent again")
	}
	if got := string(d.Line(0)); got != "$ ours \x1b[31mred\x1b[m" {
		t.Errorf("the line is %q", got)
	}
}

func TestEndlessSequencePasses(t *testing.T) {
	var got bytes.Buffer
	o := NewOutput(&got, OutputOptions{Size: Size{Cols: 8, Rows: 3}})
	image := "\x1bPq" + strings.Repeat("~", 2*maxHeld)
	put(t, o, image)
	o.Status("abc")
	if got.String() != image {
		t.Errorf("wrote %d bytes, want %d", got.Len(), len(image))
	}
	put(t, o, "\x1b\\")
	if !strings.HasPrefix(got.String(), image+"\x1b\\") || !strings.Contains(got.String(), "abc") {
		t.Error("the status did not appear after the sequence")
	}
}

// TestOtherCharacterSets: bytes that are no UTF-8 are not held back for long.
func TestOtherCharacterSets(t *testing.T) {
	var got bytes.Buffer
	o := NewOutput(&got, OutputOptions{})
	for _, p := range []string{"caf\xe9", " ", "\xe9"} {
		put(t, o, p)
	}
	if got.String() != "caf\xe9 \xe9" {
		t.Errorf("wrote %q", got.String())
	}
}

func TestOutputErrors(t *testing.T) {
	sentinel := errors.New("gone")
	o := NewOutput(failing{sentinel}, OutputOptions{Size: Size{Cols: 8, Rows: 3}})
	o.Status("abc")
	if n, err := o.Write([]byte("abc")); n != 0 || !errors.Is(err, sentinel) {
		t.Errorf("got %d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestKeyboardKeepsTheAnswer(t *testing.T) {
	for _, tt := range []struct{ name, typed, want string }{
		{"alone", "\x1b[3;1R", ""},
		{"between keys", "ls\x1b[3;1R\r", "ls\r"},
		{"after other keys", "\x1b[A\x1b[3;1R", "\x1b[A"},
		{"only the first", "\x1b[3;1R\x1b[4;1R", "\x1b[4;1R"},
		{"none", "ls\r\x1b[1;2P", "ls\r\x1b[1;2P"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := NewOutput(io.Discard, OutputOptions{Size: Size{Cols: 8, Rows: 3}, Locate: true})
			put(t, o, "$ ")
			got, err := io.ReadAll(o.Keyboard(iotest.DataErrReader(strings.NewReader(tt.typed))))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	r := strings.NewReader("x")
	if NewOutput(io.Discard, OutputOptions{}).Keyboard(r) != io.Reader(r) {
		t.Error("a keyboard that nobody asks is wrapped")
	}
}
