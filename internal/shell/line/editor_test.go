package line

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hinshun/vt10x"
	"github.com/mattn/go-runewidth"
)

// A keyboard types at an editor and has a screen to see what comes of it.
type keyboard struct {
	keys       string
	term       vt10x.Terminal
	cols, rows int
	resize     int // the new width when the key \x00 comes
}

func (k *keyboard) editor() *Editor {
	k.term = vt10x.New(vt10x.WithSize(k.cols, k.rows), vt10x.WithWriter(io.Discard))
	return &Editor{
		Read: func(p []byte) (int, error) {
			if k.keys == "" {
				return 0, io.ErrUnexpectedEOF
			}
			p[0], k.keys = k.keys[0], k.keys[1:]
			if p[0] == 0 {
				k.cols = k.resize
				k.term.Resize(k.cols, k.rows)
				return 0, ErrResized
			}
			return 1, nil
		},
		// The terminal's driver returns the carriage, and vt10x knows no widths.
		Write: func(p []byte) (int, error) {
			var out strings.Builder
			for _, r := range string(p) {
				switch {
				case r == '\n':
					out.WriteString("\r\n")
				case runewidth.RuneWidth(r) == 2:
					out.WriteString(string(r) + secondHalf)
				case r >= ' ' && runewidth.RuneWidth(r) == 0: // is drawn over the one before
				default:
					out.WriteRune(r)
				}
			}
			k.term.Write([]byte(out.String()))
			return len(p), nil
		},
		Size:    func() (cols, rows int) { return k.cols, k.rows },
		History: []string{"make all", "echo one two", "ls -l /tmp", "echo three"},
		Complete: func(line string, pos int) (int, []Candidate) {
			start := strings.LastIndexByte(line[:pos], ' ') + 1
			var found []Candidate
			for _, c := range []Candidate{{Text: "alpha"}, {Text: "alphabet"}, {Text: "dir/", More: true}, {Text: "größe"}, {Text: "größer"}} {
				if strings.HasPrefix(c.Text, line[start:pos]) {
					found = append(found, c)
				}
			}
			return start, found
		},
	}
}

// secondHalf stands in the second column of a wide character.
const secondHalf = "\uFFFC"

// screen is what is seen, with | where the cursor is.
func (k *keyboard) screen() string {
	cursor := k.term.Cursor()
	var lines []string
	for y := range k.rows {
		var line strings.Builder
		for x := range k.cols {
			if cursor.Y == y && cursor.X == x {
				line.WriteByte('|')
			}
			if c := k.term.Cell(x, y).Char; c != 0 && string(c) != secondHalf {
				line.WriteRune(c)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

const (
	up, down, right, left = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
	home, end, del        = "\x1b[H", "\x1b[F", "\x1b[3~"
	pasteOn, pasteOff     = "\x1b[200~", "\x1b[201~"
)

// TestKeys types keys and looks at the screen: | is the cursor.
func TestKeys(t *testing.T) {
	for _, c := range []struct{ name, keys, want string }{
		{"typing", "echo hi", "$ echo hi|"},
		{"in the middle", "echo" + left + left + "X", "$ ecX|ho"},
		{"home and end", "bc" + home + "a" + end + "d", "$ abcd|"},
		{"^A and ^E", "bc\x01a\x05d", "$ abcd|"},
		{"past both ends", "a" + left + left + left + right + right + right + "b", "$ ab|"},
		{"backspace", "abc\x7f\x08d", "$ ad|"},
		{"delete", "abc" + home + del + "\x04", "$ |c"},
		{"words", "one two-three\x1bb\x1bb\x1bbX", "$ X|one two-three"},
		{"words to the right", "one two\x01\x1bfX\x1b[1;5CY", "$ oneX twoY|"},
		{"transpose", "abc" + left + "\x14", "$ acb|"},
		{"control characters", "a" + pasteOn + "\x01\x7f" + pasteOff, "$ a^A^?|"},

		{"kill to the end, yank", "one two" + home + "\x1bf\x0b\x01\x19", "$  two|one"},
		{"kill to the start", "one two" + left + "\x15", "$ |o"},
		{"kill words, which make one text", "one two three\x17\x17X\x19", "$ one Xtwo three|"},
		{"kill forward in a row", "one two" + home + "\x1bd\x1bd\x19\x19", "$ one twoone two|"},
		{"kill path parts", "ls /a/b\x1b\x7f", "$ ls /a/|"},
		{"yank of nothing", "a\x19b", "$ ab|"},

		{"undo typing", "abc\x1f", "$ |"},
		{"undo kill", "one two\x17\x1f", "$ one two|"},
		{"undo step by step", "abc" + home + del + del + "\x1f", "$ |bc"},
		{"undo more than there is", "a\x1f\x1f\x1fb", "$ b|"},
		{"undo by ^X^U", "ab\x15\x18\x15", "$ ab|"},

		{"history", up, "$ echo three|"},
		{"history's start", up + up + up + up + up + up, "$ make all|"},
		{"back to the draft", "dra" + up + up + down + down + "ft", "$ draft|"},
		{"^P and ^N", "\x10\x10\x0e", "$ echo three|"},
		{"an entry is changed for this line only", up + "X" + up + down, "$ echo three|"},
		{"last argument", "cat \x1b.", "$ cat three|"},
		{"last arguments", "cat \x1b.\x1b.\x1b.", "$ cat two|"},

		{"search", "\x12echo", "(reverse-i-search)`echo': |echo three"},
		{"search again", "\x12echo\x12", "(reverse-i-search)`echo': |echo one two"},
		{"search forward", "\x12echo\x12\x13", "(i-search)`echo': |echo three"},
		{"search fails", "\x12echo\x12\x12", "(failed reverse-i-search)`echo': |echo one two"},
		{"search takes back", "\x12one\x7f\x7f\x7f", "(reverse-i-search)`': ech|o three"},
		{"search ends with an edit", "\x12one\x05!", "$ echo one two!|"},
		{"search at the match", "\x12two" + left + "X", "$ echo oneX| two"},
		{"search given up", "draft\x12echo\x07", "$ draft|"},
		{"search interrupted", "draft\x12echo\x03", "$ draft|"},
		{"history goes on from what was found", "\x12one\x05" + down, "$ ls -l /tmp|"},

		{"paste", pasteOn + "a\tb" + pasteOff + "c", "$ a^Ibc|"},
		{"paste of keys", "x" + pasteOn + "\x1b[D!" + pasteOff, "$ x^[[D!|"},
		{"paste in the middle", "ad" + left + pasteOn + "bc" + pasteOff, "$ abc|d"},
		{"paste of lines", pasteOn + "one\r\ntwo\rthree" + pasteOff, "$ one\ntwo\nthree|"},
		{"paste undone", "a" + pasteOn + "bcd" + pasteOff + "\x1f", "$ a|"},
		{"paste of no text", pasteOn + "\xff" + pasteOff, "$ \uFFFD|"},

		{"wide characters", "日本語" + left + left + "x", "$ 日x|本語"},
		{"combining characters", "e\u0301x" + left + left + left, "$ |ex"}, // the screen of this test has none
		{"backspace of wide ones", "a日本\x7fb", "$ a日b|"},
		{"long lines", strings.Repeat("0123456789", 3), "$ 012345678901234567\n890123456789|"},
		{"home of long lines", strings.Repeat("0123456789", 3) + home + "X", "$ X|01234567890123456\n7890123456789"},
		{"a full row", strings.Repeat("a", 18), "$ aaaaaaaaaaaaaaaaaa\n|"},
		{"another width", "0123456789abcdef\x00X", "$ 0123456789\nabcdefX|"},
		{"another width before the end", "0123456789abcdef" + home + "\x00X", "$ X|012345678\n9abcdef"},

		{"completion of one", "ls d\t", "$ ls dir/|"},
		{"completion of many", "ls a\t", "$ ls alpha|"},
		{"completion's list", "ls a\t\t", "$ ls alpha\nalpha     alphabet\n$ ls alpha|"},
		{"completion of nothing", "ls zz\t\t", "$ ls zz|"},
		{"completion in the middle", "ls d x" + left + left + "\t", "$ ls dir/| x"},
		{"completion of letters of two bytes", "ä gr\t", "$ ä größe|"},
		{"completion to the end", "ls alphab\tx", "$ ls alphabet x|"},

		{"clear", "abc\x0c", "$ abc|"},
		{"unknown keys", "a\x1b[99~\x1b[15~\x1bOZ\x18qb", "$ ab|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keyboard{keys: c.keys, cols: 20, rows: 6, resize: 12}
			if strings.HasPrefix(c.name, "search") {
				k.cols = 60 // its prompt is long
			}
			var seen string
			e := k.editor()
			read := e.Read
			e.Read = func(p []byte) (int, error) {
				if k.keys == "" {
					seen = k.screen()
				}
				return read(p)
			}
			if _, err := e.ReadLine("$ "); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("ReadLine: %v", err)
			}
			if seen != c.want {
				t.Errorf("the screen is\n%s\nwant\n%s", seen, c.want)
			}
		})
	}
}

// TestMargins counts rows and columns where wide characters do not fit.
func TestMargins(t *testing.T) {
	s := &session{Editor: &Editor{}, cols: 10}
	for text, want := range map[string]place{
		"":                    {0, 0},
		"abc":                 {0, 3},
		"0123456789":          {1, 0},
		"日本語日":                {0, 8},
		"日本語日本":               {1, 0},
		"a日本語日本":              {1, 2},
		"012345678日":          {1, 2},
		"a\nbc":               {1, 2},
		"\x1b[1;32ma\x1b[0mb": {0, 2},
		"\x1b]0;title\x07ab":  {0, 2},
		"e\u0301":             {0, 1},
	} {
		if got := s.promptEnd(text); got != want {
			t.Errorf("after %q the cursor is at %v, want %v", text, got, want)
		}
	}
}

func TestReadLine(t *testing.T) {
	for _, c := range []struct {
		keys, line string
		err        error
		rest       string
	}{
		{"echo hi\recho", "echo hi", nil, "echo"},
		{"ab" + left + "\n", "ab", nil, ""},
		{"\x12one\r", "echo one two", nil, ""},
		{up + "\r", "echo three", nil, ""},
		{pasteOn + "a\rb" + pasteOff + "\r", "a\nb", nil, ""},
		{"\x04x", "", io.EOF, "x"},
		{"a\x04\r", "a", nil, ""},
		{"abc\x03x", "", ErrInterrupted, "x"},
		{"ls alph\t\r", "ls alpha", nil, ""},
	} {
		k := &keyboard{keys: c.keys, cols: 20, rows: 6}
		line, err := k.editor().ReadLine("dir\n$ ")
		if line != c.line || !errors.Is(err, c.err) || k.keys != c.rest {
			t.Errorf("typing %q: ReadLine is %q, %v, and leaves %q; want %q, %v, %q", c.keys, line, err, k.keys, c.line, c.err, c.rest)
		}
		if cursor := k.term.Cursor(); cursor.X != 0 {
			t.Errorf("typing %q: the cursor is in column %d", c.keys, cursor.X)
		}
	}
}
