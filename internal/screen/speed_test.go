package screen

import (
	"bytes"
	"fmt"
	"testing"
)

func sequence(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%d\r\n", i+1)
	}
	return b.Bytes()
}

func coloured(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "\x1b[0m\x1b[01;34mdirectory%d\x1b[0m  \x1b[38;5;%dm\x1b[48;2;%d;10;20mfile\x1b[m text é 漢\r\n", i, i%256, i%256)
	}
	return b.Bytes()
}

func BenchmarkWrite(b *testing.B) {
	for name, data := range map[string][]byte{
		"seq": sequence(200000), "colours": coloured(50000), "text": bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog, and on. "), 50000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				s := New(80, 24)
				for rest := data; len(rest) > 0; {
					n := min(4096, len(rest))
					s.Write(rest[:n])
					rest = rest[n:]
				}
			}
		})
	}
}

func BenchmarkRedraw(b *testing.B) {
	s := New(200, 50)
	s.Write(coloured(3000))
	b.ReportAllocs()
	for b.Loop() {
		s.Redraw(RedrawOptions{Scrollback: true})
	}
}

// A session is to take 1.5 MiB at most, of an agent that has 500 of them.
func TestFootprint(t *testing.T) {
	for _, tt := range []struct{ cols, rows, most int }{{80, 24, 768 << 10}, {200, 60, 1 << 20}} {
		s := New(tt.cols, tt.rows)
		s.Write(coloured(20000))
		s.Write([]byte("\x1b[?1049h"))
		s.Write(coloured(100))
		if n := footprint(s); n > tt.most {
			t.Errorf("%d by %d: %d KiB", tt.cols, tt.rows, n>>10)
		}
		if s.history.lines < 1000 {
			t.Errorf("%d lines of history", s.history.lines)
		}
		t.Logf("%d by %d: %d KiB, %d lines of history, a redraw of all takes %d KiB, of the screen %d",
			tt.cols, tt.rows, footprint(s)>>10, s.history.lines, len(s.Redraw(RedrawOptions{Scrollback: true}))>>10, len(s.Redraw(RedrawOptions{}))>>10)
	}
}
