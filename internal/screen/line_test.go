package screen

import (
	"strings"
	"testing"
)

// TestRedrawLine paints over a line of a terminal and restores it.
func TestRedrawLine(t *testing.T) {
	for _, drawn := range []string{
		"$ ", "\x1b[2J\x1b[5;1H\x1b[1;31mred\x1b[44m\x1b[K", "\x1b[2J\x1b[5;3H日本é\x1b[2;2H\x1b[35m\x1b7\x1b[3;3H",
		"\x1b[5;1Hlast\x1b[2;4r\x1b[?6h\x1b[4h\x1b[?7l", "\x1b[5;1Hlast\x1b[?69h\x1b[3;9s\x1b[2;4H\x1b)0\x0e", "\x1b[5;1H" + strings.Repeat("x", 20), "\x1b[?1049h\x1b[5;1Halt",
	} {
		want, got := New(20, 5), New(20, 5)
		for _, s := range []*Screen{want, got} {
			_, _ = s.Write([]byte(drawn))
		}
		_, _ = got.Write([]byte("\x1b[?69l\x1b[?6l\x1b[?7l\x1b[5;1H\x1b[0;7mover the last line  "))
		_, _ = got.Write(want.RedrawLine(4))
		compare(t, got, want, drawn)
		_, _ = got.Write([]byte("\x1b[?69l\x1b[?6l\x1b[1;1H"))
		_, _ = got.Write(want.RedrawLine(-1))
		compare(t, got, want, drawn)
		if !want.Wrapping() == strings.Contains(drawn, "xxxx") {
			t.Errorf("wrapping after %q: %v", drawn, want.Wrapping())
		}
	}
}

func TestKeepNothing(t *testing.T) {
	s := New(20, 5)
	s.KeepNothing()
	_, _ = s.Write([]byte(strings.Repeat("line\r\n", 9) + "\x1bc" + strings.Repeat("line\r\n", 9)))
	if lines := dumpHistory(s); len(lines) != 0 {
		t.Errorf("kept %q", lines)
	}
}
