package tty

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzOutput: everything is passed on, however it comes, and with a status
// line in between no sequence is cut.
func FuzzOutput(f *testing.F) {
	for i, p := range pictures {
		f.Add([]byte(p.drawn), uint64(i))
	}
	f.Add([]byte("\x1b]0;title\x1b\\\x1bP\x1b[m\x18\xc3\xa9\xe6\x97"), uint64(5))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var plain bytes.Buffer
		d := newDisplay(20, 5)
		passing := NewOutput(&plain, OutputOptions{})
		showing := NewOutput(d, OutputOptions{Size: Size{Cols: 20, Rows: 5}, Locate: true})
		pieces := &pieces{data, rand.New(rand.NewPCG(seed, 0))}
		buf := make([]byte, 16)
		for {
			n, err := pieces.Read(buf)
			if err != nil {
				break
			}
			put(t, passing, string(buf[:n]))
			put(t, showing, string(buf[:n]))
			switch pieces.rng.IntN(3) {
			case 0:
				showing.Status("status")
			case 1:
				showing.Clear()
			}
		}
		if got := plain.String() + string(passing.held); got != string(data) {
			t.Errorf("%q came out as %q", data, got)
		}
	})
}

// FuzzKeyboard: but for one answer, everything is passed on.
func FuzzKeyboard(f *testing.F) {
	f.Add("ls\r\x1b[24;1Rx", false)
	f.Add("\x1b[A\x1b[99999999999999999999;1R\x1b[1;R", true)
	f.Fuzz(func(t *testing.T, typed string, slowly bool) {
		o := NewOutput(io.Discard, OutputOptions{Size: Size{Cols: 20, Rows: 5}, Locate: true})
		put(t, o, "$ ")
		var r io.Reader = strings.NewReader(typed)
		if slowly {
			r = iotest.HalfReader(r)
		}
		got, err := io.ReadAll(o.Keyboard(r))
		if missing := len(typed) - len(got); err != nil || missing < 0 || missing == 0 && string(got) != typed || missing > 0 && !o.told {
			t.Errorf("%q came out as %q, %v", typed, got, err)
		}
	})
}
