package tool

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// A finder is one run of find.
type finder struct {
	c        *Context
	out      *output
	accounts accounts
	now      time.Time

	links              byte // P, H or L: which symbolic links are followed
	depthFirst, oneDev bool
	minDepth, maxDepth int
	test               test
	acts               bool // the expression has an action: nothing is printed without one
	batches            []*batch
	status             int
	quit               bool
}

// A test is a part of the expression.
type test func(*visit) bool

// A visit is one file that find comes by.
type visit struct {
	path, name string // as the user is shown it; name is its last element
	depth      int
	mode       fs.FileMode // the type only
	prune      bool
	stated     bool
	info       inode
	err        error
}

func findFiles(c *Context) int {
	f := &finder{c: c, out: c.output(), now: time.Now(), maxDepth: 1 << 30, links: 'P', accounts: newAccounts()}
	args := c.Args[1:]
	for len(args) > 0 && (args[0] == "-H" || args[0] == "-L" || args[0] == "-P") {
		f.links = args[0][1]
		args = args[1:]
	}
	var roots []string
	for len(args) > 0 && !startsExpression(args[0]) {
		roots = append(roots, args[0])
		args = args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	if err := f.parse(args); err != nil {
		return c.Errorf("%s", reason(err))
	}
	for _, root := range roots {
		v := &visit{path: root, name: base(root)}
		follow := f.links != 'P'
		if err := f.root(v, follow); err != nil {
			f.fail(root, err)
			continue
		}
		f.walk(v, v.info.dev)
	}
	for _, b := range f.batches {
		b.run(f)
	}
	return f.out.done(f.status)
}

func startsExpression(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' || arg == "(" || arg == "!" || arg == ")" || arg == ","
}

// base is the last element of a path as it was written.
func base(path string) string {
	end := len(path)
	for end > 1 && path[end-1] == '/' {
		end--
	}
	start := end
	for start > 0 && path[start-1] != '/' {
		start--
	}
	if start == end {
		return path[:end]
	}
	return path[start:end]
}

func (f *finder) root(v *visit, follow bool) (err error) {
	if follow {
		v.info, err = stat(f.c.Path(v.path))
	}
	if !follow || err != nil {
		v.info, err = lstat(f.c.Path(v.path))
	}
	v.stated, v.mode = err == nil, typeOf(v.info)
	return err
}

func typeOf(n inode) fs.FileMode {
	switch n.letter() {
	case 'd':
		return fs.ModeDir
	case 'l':
		return fs.ModeSymlink
	case 'c':
		return fs.ModeDevice | fs.ModeCharDevice
	case 'b':
		return fs.ModeDevice
	case 'p':
		return fs.ModeNamedPipe
	case 's':
		return fs.ModeSocket
	}
	return 0
}

func (f *finder) fail(name string, err error) {
	f.out.flush()
	f.status = f.c.fail(name, err)
}

// inode reads what the directory did not say of a file.
func (f *finder) inode(v *visit) inode {
	if v.stated {
		return v.info
	}
	v.stated = true
	if f.links == 'L' {
		if v.info, v.err = stat(f.c.Path(v.path)); v.err == nil {
			return v.info
		}
	}
	if v.info, v.err = lstat(f.c.Path(v.path)); v.err != nil && !errors.Is(v.err, fs.ErrNotExist) {
		f.fail(v.path, v.err)
	}
	return v.info
}

// walk visits a file, and all below it if it is a folder.
func (f *finder) walk(v *visit, dev uint64) {
	if f.quit || f.out.failed() || f.c.Err() != nil {
		f.quit = true
		return
	}
	if f.links == 'L' && v.mode&fs.ModeSymlink != 0 {
		v.mode = typeOf(f.inode(v))
	}
	visitIt := func() {
		if v.depth >= f.minDepth && !f.quit {
			f.test(v)
		}
	}
	if !f.depthFirst {
		visitIt()
	}
	if v.mode.IsDir() && !v.prune && v.depth < f.maxDepth && (!f.oneDev || v.depth == 0 || f.inode(v).dev == dev) {
		f.children(v, dev)
	}
	if f.depthFirst {
		visitIt()
	}
}

func (f *finder) children(v *visit, dev uint64) {
	entries, err := readDir(f.c.Path(v.path))
	if err != nil {
		f.fail(v.path, err)
	}
	for _, e := range entries {
		f.walk(&visit{path: join(v.path, e.Name()), name: e.Name(), depth: v.depth + 1, mode: e.Type()}, dev)
		if f.quit {
			return
		}
	}
}

// A span is a number of find: exactly n, less, or more.
type span struct {
	n    int64
	sign byte // '+', '-' or 0
}

func newSpan(s string) (span, error) {
	var p span
	if s != "" && (s[0] == '+' || s[0] == '-') {
		p.sign, s = s[0], s[1:]
	}
	var err error
	p.n, err = strconv.ParseInt(s, 10, 64)
	return p, err
}

func (p span) holds(n int64) bool {
	switch p.sign {
	case '+':
		return n > p.n
	case '-':
		return n < p.n
	}
	return n == p.n
}

// empty is whether a file or a folder has nothing in it.
func (f *finder) empty(v *visit) bool {
	if v.mode.IsRegular() {
		return f.inode(v).size == 0 && v.err == nil
	}
	if !v.mode.IsDir() {
		return false
	}
	d, err := os.Open(f.c.Path(v.path))
	if err != nil {
		f.fail(v.path, err)
		return false
	}
	defer closeRead(d)
	names, err := d.Readdirnames(1)
	return len(names) == 0 && err != nil
}
