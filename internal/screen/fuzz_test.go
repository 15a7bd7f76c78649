package screen

import (
	"bytes"
	"testing"
	"unsafe"
)

// footprint is about what a screen holds on to, in bytes.
func footprint(s *Screen) int {
	n := cap(s.history.buf) + cap(s.history.line) + cap(s.parser.seen) + cap(s.clean) + s.extras.bytes + len(s.extras.list)*64
	for _, g := range []*grid{s.main, s.alt} {
		if g != nil {
			n += len(g.lines) * s.cols * int(unsafe.Sizeof(cell{}))
		}
	}
	for key, value := range s.colours {
		n += len(key) + len(value)
	}
	for _, titles := range s.titles {
		n += len(titles[0]) + len(titles[1])
	}
	return n + len(s.title) + len(s.icon) + len(s.directory)
}

// Whatever is written, in whatever pieces, a screen neither fails nor grows,
// and another one can be brought into its state.
func FuzzWrite(f *testing.F) {
	for _, piece := range pieces() {
		f.Add([]byte(piece), []byte("\x1b[5;5Hend"), uint8(20), uint8(6))
	}
	f.Add([]byte("\x1b[99999999999999999999;99999999999H\x1b[4294967295X\x1b[2147483647b\x1b[999999999S"), []byte("\x1b[-1;;;;::::m"), uint8(1), uint8(1))
	f.Add(append([]byte("\x1b]0;"), bytes.Repeat([]byte("long"), 4096)...), []byte("\a\x1bP+q\x1b\\\x1b_G\x1b\\"), uint8(80), uint8(24))
	f.Add([]byte("\xff\xfe\xe2\x28\xf0\x9f\x98"), []byte("\x80\xc2\x9b31m\xc2\x9d0;t\a"), uint8(3), uint8(2))
	f.Add(bytes.Repeat([]byte("e\u0301"), 500), bytes.Repeat([]byte("\x1b]8;;http://a/b\x1b\\x"), 50), uint8(80), uint8(2))
	f.Fuzz(func(t *testing.T, first, then []byte, cols, rows uint8) {
		s := New(int(cols), int(rows))
		var answers int
		s.Reply(func(b []byte) { answers += len(b) })
		s.Clean(true)
		s.Write(first)
		whole := dump(s)
		apart := New(int(cols), int(rows))
		for i := range first {
			apart.Write(first[i : i+1])
		}
		if dump(apart) != whole {
			t.Fatalf("written byte by byte:\n%s\nwant\n%s", dump(apart), whole)
		}
		if got := len(s.TakeClean()); got > len(first) {
			t.Fatalf("%d bytes of %d are clean", got, len(first))
		}
		if answers > 64*(len(first)+1) {
			t.Fatalf("%d bytes of answers to %d", answers, len(first))
		}
		for _, o := range []RedrawOptions{{}, {Scrollback: true}, {Repaint: true}, {Cols: 7, Rows: 3}} {
			other := New(s.cols, s.rows)
			asked := false
			other.Reply(func([]byte) { asked = true })
			other.Write(s.Redraw(o))
			if asked && len(s.unfinished()) == 0 {
				t.Fatalf("%+v asks the terminal", o)
			}
		}
		s.Resize(int(rows), int(cols))
		s.Write(then)
		s.Resize(100000, 100000)
		s.Resize(-5, 0)
		s.Write(first)
		s.Redraw(RedrawOptions{})
		if n := footprint(s); n > 1<<20 {
			t.Fatalf("%d bytes are held", n)
		}
	})
}
