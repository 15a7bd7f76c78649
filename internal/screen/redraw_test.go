package screen

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// dump describes all of a screen's state, so that two can be compared.
func dump(s *Screen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%dx%d alt=%v region=%v visible=%v shape=%d\n", s.cols, s.rows, s.grid == s.alt, s.region, s.visible, s.shape)
	fmt.Fprintf(&b, "cursor %s\nmodes %v keys %d %v single=%d\n", dumpCursor(s.cursor), s.modes.sorted(), s.keys.modifyOther, s.keys.flags, s.single)
	fmt.Fprintf(&b, "title %q icon %q titles %q directory %q colours %v\n", s.title, s.icon, s.titles, s.directory, s.colours)
	fmt.Fprintf(&b, "tabs %v\n", s.tabs)
	for i, g := range []*grid{s.main, s.alt} {
		// What the hidden alternate screen holds is gone when it is shown
		// again, by all but one obsolete mode.
		if g == nil || i == 1 && s.grid != s.alt {
			continue
		}
		fmt.Fprintf(&b, "screen %d, saved %s\n%s", i, dumpCursor(g.saved), dumpGrid(s, g))
	}
	fmt.Fprintf(&b, "unfinished %q\n", s.unfinished())
	return b.String()
}

func dumpCursor(c cursor) string {
	c.pen.attr &= styled
	return fmt.Sprintf("%d,%d wrap=%v pen=%+v charsets=%q gl=%d origin=%v", c.x, c.y, c.wrap, c.pen, c.charsets, c.gl, c.origin)
}

func dumpGrid(s *Screen, g *grid) string {
	var b strings.Builder
	for y := range g.lines {
		last := cell{}
		fmt.Fprintf(&b, "%2d|", y)
		for _, c := range g.lines[y].cells {
			r := c.r
			if r == 0 && c.attr&tail == 0 {
				r = ' '
			}
			c.r = 0
			e := s.extras.at(c.extra)
			if c != last {
				fmt.Fprintf(&b, "<%x %x %x %q %x>", c.fg, c.bg, c.attr&^wide&^tail, e.link, e.line)
			}
			last = c
			if r != 0 {
				b.WriteRune(r)
			}
			b.WriteString(e.marks)
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// dumpHistory is what has scrolled off, as lines.
func dumpHistory(s *Screen) []string {
	var lines []string
	for i, left := s.history.start, s.history.lines; left > 0; left-- {
		text, _, n := s.history.at(i)
		lines = append(lines, string(text))
		i += n
	}
	return lines
}

func compare(t *testing.T, got, want *Screen, context string) {
	t.Helper()
	g, w := dump(got), dump(want)
	if g == w {
		return
	}
	gl, wl := strings.Split(g, "\n"), strings.Split(w, "\n")
	for i := range min(len(gl), len(wl)) {
		if gl[i] != wl[i] {
			t.Errorf("%s: line %d\ngot  %s\nwant %s", context, i, gl[i], wl[i])
		}
	}
	t.FailNow()
}

// pieces are what random programs are made of.
func pieces() []string {
	return []string{
		"hello world ", "x", "漢字", "e\u0301", "é", "👍", "wide 한국어 text", "\r\n", "\n", "\r", "\t", "\b", "\b\b\b",
		"\x1b[31m", "\x1b[1;38;5;200m", "\x1b[48;2;10;20;30m", "\x1b[m", "\x1b[4:3;58:2::1:2:3m", "\x1b[7m", "\x1b[97;104m", "\x1b[21;9;53m", "\x1b[27;24m",
		"\x1b]8;id=1;https://example.com/x\x1b\\", "\x1b]8;;\x1b\\", "\x1b]0;a title\a", "\x1b]2;other; title\x1b\\", "\x1b[22;0t", "\x1b[23;0t",
		"\x1b[5;10H", "\x1b[H", "\x1b[99;99H", "\x1b[3A", "\x1b[2B", "\x1b[4C", "\x1b[5D", "\x1b[7G", "\x1b[4d",
		"\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[3X", "\x1b[2@", "\x1b[3P", "\x1b[2L", "\x1b[M", "\x1b[2S", "\x1b[T",
		"\x1b[3;8r", "\x1b[r", "\x1b[?69h\x1b[5;20s", "\x1b[?69l", "\x1b[?6h", "\x1b[?6l", "\x1b[?7l", "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[20l",
		"\x1b7", "\x1b8", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?47h", "\x1b[?47l", "\x1b[?1047h", "\x1b[?1047l", "\x1b[?25l", "\x1b[?25h", "\x1b[4 q",
		"\x1b[?1h", "\x1b=", "\x1b>", "\x1b[?2004h", "\x1b[?1002h\x1b[?1006h", "\x1b[?1000h", "\x1b[?1002l", "\x1b[?1004h",
		"\x1b(0lqqk\x1b(B", "\x1b)0\x0e", "\x0f", "\x1bM", "\x1bD", "\x1bE", "\x1bH", "\x1b[g", "\x1b[3g", "x\x1b[12b", "漢\x1b[3b", "\x1b#8", "\x1b[!p", "\x1b[2Z", "\x1b[2I",
		"\x1b[>4;2m", "\x1b[>1u", "\x1b[<u", "\x1b]4;1;#123456\a", "\x1b]104\a", "\x1b]11;rgb:00/11/22\a", "\x1b]7;file://h/tmp\a", "\x1b[65;2;3;6;9$x", "\x1b[2;3;6;9$z",
		strings.Repeat("long line of text ", 9), strings.Repeat("\n", 7), strings.Repeat("漢", 13),
	}
}

func TestRedrawIsExact(t *testing.T) {
	all := pieces()
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		program := func() []byte {
			var b []byte
			for range random.IntN(60) {
				b = append(b, all[random.IntN(len(all))]...)
			}
			return b[:random.IntN(len(b)+1)]
		}
		s := New(1+random.IntN(40), 1+random.IntN(14))
		first, then := program(), program()
		s.Write(first)
		for _, o := range []RedrawOptions{{}, {Scrollback: true}} {
			other := New(s.cols, s.rows)
			dirty := seed%2 == 0
			if dirty { // it has seen other things
				other.Write(program())
			}
			other.Write(s.Redraw(o))
			context := fmt.Sprintf("seed %d, %+v, after %q", seed, o, first)
			compareRedrawn(t, other, s, dirty, context)
			if o.Scrollback && !dirty {
				compareHistory(t, other, s, context)
			}
			// The other half of the program finds the same there.
			same := New(s.cols, s.rows)
			same.Write(first)
			other.Write(then)
			same.Write(then)
			compareRedrawn(t, other, same, dirty, context+fmt.Sprintf(" and %q", then))
		}
		repainted := New(s.cols, s.rows)
		repainted.Write(first)
		repainted.Write(s.Redraw(RedrawOptions{Repaint: true}))
		compareRedrawn(t, repainted, s, false, fmt.Sprintf("seed %d, repainted, after %q", seed, first))
	}
}

// compareRedrawn compares, for a terminal that was dirty, all but what is only
// painted when it is set.
func compareRedrawn(t *testing.T, got, want *Screen, dirty bool, context string) {
	t.Helper()
	if dirty {
		if extra := len(got.titles) - len(want.titles); extra > 0 {
			got.titles = got.titles[extra:]
		}
		if want.title == "" || want.icon == "" {
			got.title, got.icon = want.title, want.icon
		}
		got.colours, got.directory, got.tabs = maps.Clone(want.colours), want.directory, slices.Clone(want.tabs)
	}
	compare(t, got, want, context)
}

func compareHistory(t *testing.T, got, want *Screen, context string) {
	t.Helper()
	g, w := dumpHistory(got), dumpHistory(want)
	// The blank screen that was there has scrolled off first.
	if len(g) < len(w) || !slices.Equal(g[len(g)-len(w):], w) {
		t.Fatalf("%s: history\n%q, want\n%q", context, g, w)
	}
}
