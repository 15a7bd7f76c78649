package tool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A grepper is one run of grep.
type grepper struct {
	c   *Context
	o   options
	out *output

	matcher
	names, numbers, colour    bool
	invert, only, count, list bool // list is of -l and -L
	quiet                     bool
	before, after, limit      int64
	hits                      bool // something was found
	status                    int  // 2 once something went wrong
	buf                       []byte
	lastEnd                   bool // a group of lines with context was shown before
}

func grep(c *Context) int  { return grepAs(c, 'G') }
func egrep(c *Context) int { return grepAs(c, 'E') }
func fgrep(c *Context) int { return grepAs(c, 'F') }

func grepAs(c *Context, syntax byte) int {
	o, ok := c.parse("EFGPe:f:ivwxcnlLqsohHrRm:A:B:C:azI1:2:3:0::bU4", "extended-regexp=E", "fixed-strings=F", "basic-regexp=G",
		"perl-regexp=P", "regexp=e", "file=f", "ignore-case=i", "invert-match=v", "word-regexp=w", "line-regexp=x", "count=c",
		"line-number=n", "files-with-matches=l", "files-without-match=L", "quiet=q", "silent=q", "no-messages=s",
		"only-matching=o", "no-filename=h", "with-filename=H", "recursive=r", "dereference-recursive=R", "max-count=m",
		"after-context=A", "before-context=B", "context=C", "text=a", "include=1", "exclude=2", "exclude-dir=3",
		"color=0", "colour=0", "line-buffered=4")
	if !ok {
		return 2
	}
	g := &grepper{
		c: c, o: o, out: c.output(), invert: o.has("v"), only: o.has("o"), count: o.has("c"), list: o.has("lL"),
		quiet: o.has("q"), numbers: o.has("n"),
	}
	if last := o.last("EFGP"); last != 0 {
		syntax = last
	}
	files, err := g.patterns(syntax)
	for _, v := range []struct {
		flag byte
		to   *int64
	}{{'C', &g.before}, {'C', &g.after}, {'A', &g.after}, {'B', &g.before}} {
		if o.has(string(v.flag)) && err == nil {
			*v.to, err = o.number(v.flag, 0)
		}
	}
	if err == nil {
		g.limit, err = o.number('m', -1)
	}
	if err != nil {
		return c.Usage("%s", reason(err))
	}
	recursive := o.has("rR")
	if len(files) == 0 && recursive {
		files = []string{""}
	}
	g.names = (len(files) > 1 || recursive || o.has("H")) && o.last("hH") != 'h'
	when := o.value('0')
	g.colour = c.StdoutTTY && when != "never" && c.Env("NO_COLOR") == "" || o.has("0") && when == "always"
	g.files(files, recursive)
	if g.out.flush(); g.status != 0 && (!g.quiet || !g.hits) {
		return g.status
	}
	if g.hits {
		return 0
	}
	return 1
}

// patterns makes the matcher, and returns the names of the files.
func (g *grepper) patterns(syntax byte) (files []string, err error) {
	files = g.o.operands
	patterns := g.o.values('e')
	for _, name := range g.o.values('f') {
		r, err := g.c.open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", name, reason(err))
		}
		text, err := io.ReadAll(r)
		closeRead(r)
		if err != nil {
			return nil, err
		}
		if len(text) > 0 {
			patterns = append(patterns, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
		}
	}
	if !g.o.has("ef") {
		if len(files) == 0 {
			return nil, errors.New("a pattern is needed")
		}
		patterns, files = []string{files[0]}, files[1:]
	}
	var all []string
	for _, p := range patterns {
		all = append(all, strings.Split(p, "\n")...)
	}
	g.matcher, err = newMatcher(all, syntax, g.o.has("i"), g.o.has("w"), g.o.has("x"))
	return files, err
}

func (g *grepper) files(names []string, recursive bool) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		info, err := os.Stat(g.c.Path(cmp.Or(name, ".")))
		switch {
		case name == "-":
			g.scan("(standard input)", patient{g.c.Stdin, g.out})
		case err != nil:
			g.complain(name, err)
		case !info.IsDir():
			g.file(name)
		case recursive:
			g.folder(name)
		default:
			g.complain(name, errors.New("Is a directory")) //nolint:staticcheck // as the system's own messages
		}
		if g.stopped() {
			return
		}
	}
}

func (g *grepper) stopped() bool {
	return g.out.failed() || g.c.Err() != nil || g.quiet && g.hits
}

func (g *grepper) complain(name string, err error) {
	g.status = 2
	if !g.o.has("s") {
		g.out.flush()
		g.c.fail(name, err)
	}
}

// folder looks into all files below a folder. Links in it are not followed save
// with -R, and devices are not read.
func (g *grepper) folder(name string) {
	entries, err := readDir(g.c.Path(cmp.Or(name, ".")))
	if err != nil {
		g.complain(name, err)
	}
	for _, e := range entries {
		full := join(name, e.Name())
		mode := e.Type()
		if mode&os.ModeSymlink != 0 && g.o.has("R") {
			if info, err := os.Stat(g.c.Path(full)); err == nil {
				mode = info.Mode()
			}
		}
		switch {
		case mode.IsDir():
			if !anyMatch(g.o.values('3'), e.Name()) {
				g.folder(full)
			}
		case mode.IsRegular():
			included := !g.o.has("1") || anyMatch(g.o.values('1'), e.Name())
			if included && !anyMatch(g.o.values('2'), e.Name()) {
				g.file(full)
			}
		}
		if g.stopped() {
			return
		}
	}
}

func anyMatch(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := filepath.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

func (g *grepper) file(name string) {
	f, err := os.Open(g.c.Path(name))
	if err != nil {
		g.complain(name, err)
		return
	}
	defer closeRead(f)
	g.scan(name, f)
}

// A matcher finds the patterns of grep in text.
type matcher struct {
	fixed []byte         // the only pattern, if it is no more than this text
	re    *regexp.Regexp // else
	exact *regexp.Regexp // re, with the longest match: slower, for -o and colours
	needs [][]byte       // one of them is in all that re matches; none if that is not known
	at    []int          // where in the text each of them is next
	fold  bool           // needs are in lower case, and may be in any in the text
	lower []byte         // the text, in lower case
	all   bool           // an empty pattern: every line matches
}

func newMatcher(patterns []string, syntax byte, fold, word, whole bool) (matcher, error) {
	if len(patterns) == 1 && !fold && !word && !whole && patterns[0] != "" &&
		(syntax == 'F' || regexp.QuoteMeta(patterns[0]) == patterns[0]) {
		return matcher{fixed: []byte(patterns[0])}, nil
	}
	var texts []string
	for _, p := range patterns {
		text := p
		var err error
		switch syntax {
		case 'F':
			text = regexp.QuoteMeta(p)
		case 'P':
		default:
			text, err = translate(p, syntax == 'E')
		}
		if err != nil {
			return matcher{}, err
		}
		if p == "" && !whole {
			return matcher{all: true, exact: regexp.MustCompile("$^")}, nil
		}
		texts = append(texts, text)
	}
	text := strings.Join(texts, "|")
	switch {
	case whole:
		text = "^(?:" + text + ")$"
	case word:
		text = `(?:^|\b)(?:` + text + `)(?:\b|$)`
	}
	if fold {
		text = "(?i:" + text + ")"
	}
	re, err := regexp.Compile("(?m)" + text)
	if err != nil {
		return matcher{}, why(err)
	}
	m := matcher{re: re, exact: regexp.MustCompile("(?m)" + text)}
	if syntax != 'P' {
		m.exact.Longest()
	}
	needs, lower := required(text)
	for _, need := range needs {
		m.needs = append(m.needs, []byte(need))
	}
	m.at, m.fold = make([]int, len(needs)), lower
	return m, nil
}

// candidate is the first place at or behind from where a match may be, or -1.
// fits is set if there is no doubt about it.
func (m *matcher) candidate(text []byte, from int) (at int, fits bool) {
	var i int
	switch {
	case m.all:
		return from, true
	case m.fixed != nil:
		i, fits = bytes.Index(text[from:], m.fixed), true
	case len(m.needs) > 0 && m.fold:
		return m.nearest(m.lower, from), false
	case len(m.needs) > 0:
		return m.nearest(text, from), false
	default:
		loc := m.re.FindIndex(text[from:])
		if i = -1; loc != nil {
			i = loc[0]
		}
	}
	if i < 0 {
		return -1, false
	}
	return from + i, fits
}

// nearest is where the first of the needed texts is, or -1.
func (m *matcher) nearest(text []byte, from int) int {
	first := len(text)
	for i, need := range m.needs {
		if m.at[i] < from {
			m.at[i] = len(text)
			if at := bytes.Index(text[from:], need); at >= 0 {
				m.at[i] = from + at
			}
		}
		first = min(first, m.at[i])
	}
	if first == len(text) {
		return -1
	}
	return first
}

// prepare is called before candidate with a text it has not seen.
func (m *matcher) prepare(text []byte) {
	for i := range m.at {
		m.at[i] = -1
	}
	if !m.fold {
		return
	}
	m.lower = append(m.lower[:0], text...)
	for i, b := range m.lower {
		if b >= 'A' && b <= 'Z' {
			m.lower[i] = b + 'a' - 'A'
		}
	}
}

// matches is whether one line matches.
func (m *matcher) matches(line []byte) bool {
	switch {
	case m.all:
		return true
	case m.fixed != nil:
		return bytes.Contains(line, m.fixed)
	}
	return m.re.Match(line)
}

// find is where in a line the matches are.
func (m *matcher) find(line []byte) [][]int {
	if m.fixed == nil {
		return m.exact.FindAllIndex(line, -1)
	}
	var all [][]int
	for from := 0; ; {
		i := bytes.Index(line[from:], m.fixed)
		if i < 0 {
			return all
		}
		all = append(all, []int{from + i, from + i + len(m.fixed)})
		from += i + len(m.fixed)
	}
}
