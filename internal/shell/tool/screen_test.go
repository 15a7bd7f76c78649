package tool

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hinshun/vt10x"
)

// A console is a terminal on which the test has typed all keys before.
type console struct {
	keys   []byte
	screen vt10x.Terminal
	frames []string // what was seen each time a key was asked for
}

func newConsole(keys string, cols, rows int) *console {
	return &console{keys: []byte(keys), screen: vt10x.New(vt10x.WithSize(cols, rows))}
}

func (k *console) Write(p []byte) (int, error) { return k.screen.Write(p) }
func (k *console) Size() (cols, rows int)      { return k.screen.Size() }
func (k *console) Raw() (func(), error)        { return func() {}, nil }
func (k *console) Resized() <-chan struct{}    { return nil }
func (k *console) Read(p []byte) (int, error)  { return k.ReadTimely(context.Background(), p) }

// ReadTimely gives one key at a time; sequences are written between < and >.
func (k *console) ReadTimely(_ context.Context, p []byte) (int, error) {
	k.frames = append(k.frames, k.screen.String())
	if len(k.keys) == 0 {
		return 0, io.EOF
	}
	n := 1
	if k.keys[0] == 0x1b && len(k.keys) > 2 && (k.keys[1] == '[' || k.keys[1] == 'O') {
		n = 3
	}
	if k.keys[0] == 0x1b && n == 1 {
		if len(p) == 64 { // nothing follows Escape soon
			return 0, nil
		}
	}
	n = copy(p, k.keys[:n])
	k.keys = k.keys[n:]
	return n, nil
}

// drive runs a tool on a console and returns the console.
func drive(t *testing.T, dir, stdin, keys string, args ...string) (*console, result) {
	t.Helper()
	k := newConsole(keys, 40, 8)
	var stderr bytes.Buffer
	c := newContext(t, dir, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), k, &stderr
	c.StdoutTTY, c.Terminal = true, k
	status := lookup(t, args[0]).Run(c)
	return k, result{stderr: stderr.String(), status: status}
}

func TestVi(t *testing.T) {
	const esc = "\x1b"
	for name, c := range map[string]struct{ text, keys, want string }{
		"insert":            {"", "ihello" + esc + ":wq\r", "hello\n"},
		"lines":             {"", "ione\rtwo" + esc + "ZZ", "one\ntwo\n"},
		"append":            {"ab\n", "aX" + esc + "AY" + esc + "IZ" + esc + ":x\r", "ZaXbY\n"},
		"open":              {"a\nb\n", "oX" + esc + "0OY" + esc + ":wq\r", "a\nY\nX\nb\n"},
		"delete":            {"abc\ndef\nghi\n", "xjddp:wq\r", "bc\nghi\ndef\n"},
		"words":             {"one two, three\n", "dwwD:wq\r", "two\n"},
		"change":            {"one two three\n", "wcwX" + esc + "w.:wq\r", "one X X\n"},
		"count":             {"a b c d e\n", "3dw:wq\r", "d e\n"},
		"count behind":      {"1\n2\n3\n4\n5\n", "d2j:wq\r", "4\n5\n"},
		"yank":              {"a\nb\n", "yyjp:wq\r", "a\nb\na\n"},
		"yank word":         {"foo bar\n", "yw$p:wq\r", "foo barfoo \n"},
		"undo":              {"abc\n", "xxxuuix" + esc + ":wq\r", "axbc\n"[0:0] + "xbc\n"},
		"redo":              {"abc\n", "xxuu\x12:wq\r", "bc\n"},
		"search":            {"a\nfoo\nb\nfoo2\n", "/foo\rnx:wq\r", "a\nfoo\nb\noo2\n"},
		"search back":       {"foo\nb\nfoo\nc\n", "G?foo\rx:wq\r", "foo\nb\noo\nc\n"},
		"goto":              {"1\n2\n3\n4\n", "3Gx2ggrX:wq\r", "1\nX\n\n4\n"},
		"join":              {"a\n  b\nc\n", "JJ:wq\r", "a b c\n"},
		"find char":         {"a.b.c.d\n", "f.;x0t.x:wq\r", ".bc.d\n"},
		"delete to char":    {"foo(bar)\n", "dt(:wq\r", "(bar)\n"},
		"bracket":           {"f(a(b)c)d\n", "f(d%:wq\r", "fd\n"},
		"substitute":        {"foo foo\nfoo\n", ":%s/foo/b&r/g\r:wq\r", "bfoor bfoor\nbfoor\n"},
		"groups":            {"ab cd\n", `:s/\(..\) \(..\)/\2 \1/` + "\r:wq\r", "cd ab\n"},
		"range":             {"1\n2\n3\n4\n", ":2,3d\r:wq\r", "1\n4\n"},
		"global":            {"a1\nb\na2\n", ":g/a/d\r:wq\r", "b\n"},
		"replace":           {"abc\n", "Rxy" + esc + ":wq\r", "xyc\n"},
		"tilde":             {"aBc\n", "3~:wq\r", "AbC\n"},
		"repeat insert":     {"", "3iab" + esc + ":wq\r", "ababab\n"},
		"repeat change":     {"a\nb\nc\n", "ddj.:wq\r", "b\n"},
		"backspace":         {"", "iabc\x7f\x7fX" + esc + ":wq\r", "aX\n"},
		"backspace lines":   {"ab\ncd\n", "ji\x7f" + esc + ":wq\r", "abcd\n"},
		"utf8":              {"äöü\n", "xlix" + esc + ":wq\r", "öxü\n"},
		"not utf8":          {"a\xff\xfeb\n", "lx$r.:wq\r", "a\xfe.\n"},
		"no end":            {"abc", "x:wq\r", "bc"},
		"arrows":            {"abc\ndef\n", "\x1b[B\x1b[Cx:wq\r", "abc\ndf\n"},
		"arrows inserting":  {"abc\n", "i\x1b[CX" + esc + ":wq\r", "aXbc\n"},
		"indent":            {"a\nb\n", ">jj<<:wq\r", "\ta\nb\n"},
		"quit":              {"abc\n", "x:q!\r", "abc\n"},
		"refuses":           {"abc\n", "x:q\ru:wq\r", "abc\n"},
		"mark":              {"1\n2\n3\n", "majjd'a:wq\r", ""},
		"end of word":       {"one two\n", "ede:wq\r", "on\n"},
		"back":              {"one two\n", "$bD:wq\r", "one \n"},
		"paste twice":       {"ab\n", "x2p:wq\r", "baa\n"},
		"change line":       {"  a\nb\n", "ccX" + esc + ":wq\r", "  X\nb\n"},
		"paragraph":         {"a\n\nb\n\nc\n", "d}:wq\r", "\nb\n\nc\n"},
		"star":              {"foo x\nfoo\n", "*x:wq\r", "foo x\noo\n"},
		"last line":         {"a\nb\n", "Gdd:wq\r", "a\n"},
		"all":               {"a\nb\n", "dG:wq\r", ""},
		"write elsewhere":   {"abc\n", "x:w other\r:q!\r", "abc\n"},
		"abandoned command": {"abc\n", "d" + esc + "x:wq\r", "bc\n"},
		"unknown":           {"abc\n", ":nonsense\rx:wq\r", "bc\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			k, got := drive(t, dir, "", c.keys, "vi", "f")
			text, err := os.ReadFile(filepath.Join(dir, "f"))
			if err != nil || string(text) != c.want || got.status != 0 || len(k.keys) > 0 {
				t.Errorf("got %q, want %q; %v %+v, keys left %q, screen:\n%s", text, c.want, err, got, k.keys, k.frames[len(k.frames)-1])
			}
		})
	}
}

func TestViScreen(t *testing.T) {
	dir := tree(t, map[string]string{"f": strings.Repeat("line of text\n", 20) + "a\tb\x01\n" + strings.Repeat("wide ", 20) + "\n"})
	k, _ := drive(t, dir, "", "G:set nu\r:q\r", "vi", "f")
	last := k.frames[len(k.frames)-1]
	for _, want := range []string{"     22 wide wide", "     21 a       b^A", ":q"} {
		if !strings.Contains(last, want) {
			t.Errorf("%q is not on the screen:\n%s", want, last)
		}
	}
	if _, got := drive(t, dir, "", "", "vi", "."); got.status == 0 {
		t.Error("a folder was edited")
	}
	if got := run(t, dir, "", "vi", "f"); got.status == 0 || !strings.Contains(got.stderr, "terminal") {
		t.Errorf("without a terminal: %+v", got)
	}
}

func TestLess(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		text.WriteString("line " + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "\n")
	}
	dir := tree(t, map[string]string{"f": text.String(), "g": strings.Repeat("0123456789", 12) + "\nend\n", "e": ""})
	for _, c := range []struct {
		keys  string
		args  []string
		first string // of the screen, when all keys were taken
		has   string
	}{
		{"", []string{"less", "f"}, "line 00", ":"},
		{" ", []string{"less", "f"}, "line 07", ""},
		{"jjjk", []string{"less", "f"}, "line 02", ""},
		{"G", []string{"less", "f"}, "line 93", "(END)"},
		{"Gg", []string{"less", "f"}, "line 00", ""},
		{"50g", []string{"less", "f"}, "line 49", ""},
		{"/4[2]\r", []string{"less", "f"}, "line 42", ""},
		{"/5$\rnn", []string{"less", "f"}, "line 25", ""},
		{"G?5$\r", []string{"less", "f"}, "line 85", ""},
		{"/nothing\r", []string{"less", "f"}, "line 00", "not found"},
		{"j", []string{"less", "g"}, "0123456789", ""},
		{"", []string{"less", "-S", "g"}, "0123456789", "end"},
		{"", []string{"less", "-N", "f"}, "      1 line 00", ""},
		{":n", []string{"less", "f", "g"}, "0123456789", ""},
		{"", []string{"less", "e"}, "~", "(END)"},
		{"=", []string{"less", "f"}, "line 00", "f line 1/100"},
	} {
		k, got := drive(t, dir, "", c.keys, c.args...)
		last := k.frames[len(k.frames)-1]
		if !strings.HasPrefix(last, c.first) || !strings.Contains(last, c.has) || got.status != 0 {
			t.Errorf("%v %q: %+v\n%s", c.args, c.keys, got, last)
		}
	}
	if got := run(t, dir, "", "less", "f"); got.stdout != text.String() {
		t.Error("without a terminal less is not cat")
	}
	if _, got := drive(t, dir, "", "", "less", "gone"); got.status == 0 {
		t.Error("less has shown a file that is not there")
	}
}
