package tool

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A listing is one run of ls.
type listing struct {
	c   *Context
	out *output
	o   options

	all, almost, long, columns, recursive bool
	classify                              byte // F, p or 0
	follow, colour, inodes, blocks, human bool
	sort                                  byte // t, S, X, U or 0: by name
	reverse, needStat                     bool
	accounts                              accounts
	zone                                  *time.Location
	now                                   time.Time
	status                                int
	started                               bool // something was printed: the next folder starts with an empty line
}

// A listed is one file of a listing. info is valid only if stated is set.
type listed struct {
	name, path string
	info       inode
	stated     bool
	isDir      bool
	isLink     bool
}

func ls(c *Context) int {
	o, ok := c.parse("aAlhRrtSXU1dFpinsLHCxcugoGfNqQvw:T:k90::", "all=a", "almost-all=A", "human-readable=h", "recursive=R",
		"reverse=r", "directory=d", "classify=F", "inode=i", "numeric-uid-gid=n", "size=s", "dereference=L", "color=0",
		"full-time=9",
		"tabsize=T", "no-group=G")
	if !ok {
		return 2
	}
	l := &listing{
		c: c, out: c.output(), o: o,
		all: o.has("af"), almost: o.has("A"), long: o.has("lngo"), recursive: o.has("R"),
		classify: o.last("Fp"), follow: o.has("L"), inodes: o.has("i"), blocks: o.has("s"), human: o.has("h"),
		sort: o.last("tSXUf"), reverse: o.has("r"),
	}
	l.columns = c.StdoutTTY && !o.has("1l") || o.has("Cx")
	when := o.value('0')
	l.colour = o.has("0") && (when == "always" || when == "") || c.StdoutTTY && when != "never" && c.Env("NO_COLOR") == ""
	l.needStat = l.long || l.inodes || l.blocks || l.follow || l.colour || l.classify == 'F' || l.sort == 't' || l.sort == 'S'
	l.zone, l.now = zone(c), time.Now()
	if l.long && !o.has("n") {
		l.accounts = newAccounts()
	}
	return l.out.done(l.run(o.operands))
}

func (l *listing) run(names []string) int {
	if len(names) == 0 {
		names = []string{"."}
	}
	var files, dirs []listed
	for _, name := range names {
		e := listed{name: name, path: l.c.Path(name)}
		if err := l.stat(&e, !l.long && !l.o.has("d") && l.classify != 'F' || l.o.has("H")); err != nil {
			l.status = l.c.fail(name, err) + 1
			continue
		}
		if e.isDir && !l.o.has("d") {
			dirs = append(dirs, e)
		} else {
			files = append(files, e)
		}
	}
	l.order(files)
	l.order(dirs)
	l.print(files, false)
	for _, d := range dirs {
		l.folder(d, len(names) > 1 || l.recursive)
		if l.out.failed() {
			break
		}
	}
	return l.status
}

// stat reads what the listing needs to know of a file.
func (l *listing) stat(e *listed, follow bool) (err error) {
	if l.follow || follow {
		if e.info, err = stat(e.path); err != nil { // a link to nowhere is listed as itself
			e.info, err = lstat(e.path)
		}
	} else {
		e.info, err = lstat(e.path)
	}
	e.stated, e.isDir, e.isLink = err == nil, e.info.isDir(), e.info.isLink()
	return err
}

// folder lists what is in a folder, and with -R the folders in it.
func (l *listing) folder(d listed, title bool) {
	entries, err := readDir(d.path)
	if err != nil {
		l.status = max(l.status, l.c.fail(d.name, err))
	}
	if err != nil && len(entries) == 0 {
		return
	}
	if title {
		if l.started {
			l.out.byte('\n')
		}
		l.out.text(d.name)
		l.out.text(":\n")
	}
	l.started = true
	found := make([]listed, 0, len(entries)+2)
	if l.all {
		found = append(found, listed{name: ".", path: d.path, isDir: true}, listed{name: "..", path: d.path + "/..", isDir: true})
	}
	for _, e := range entries {
		if e.Name()[0] == '.' && !l.all && !l.almost {
			continue
		}
		found = append(found, listed{name: e.Name(), isDir: e.IsDir(), isLink: e.Type()&os.ModeSymlink != 0})
	}
	if l.needStat {
		found = l.statAll(d.path, found)
	}
	l.order(found)
	l.print(found, true)
	if !l.recursive || l.c.Err() != nil || l.out.failed() {
		return
	}
	for _, e := range found {
		if e.isDir && e.name != "." && e.name != ".." {
			l.folder(listed{name: join(d.name, e.name), path: join(d.path, e.name)}, true)
		}
	}
}

func (l *listing) statAll(dir string, found []listed) []listed {
	kept := found[:0]
	for _, e := range found {
		if e.path == "" {
			e.path = join(dir, e.name)
		}
		if err := l.stat(&e, false); err != nil {
			l.status = max(l.status, l.c.fail(e.name, err)) // it has gone since the folder was read
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// readDir reads a folder in the order in which it is stored.
func readDir(path string) ([]os.DirEntry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer closeRead(f)
	return f.ReadDir(-1)
}

func (l *listing) order(found []listed) {
	byName := func(a, b listed) int { return strings.Compare(a.name, b.name) }
	by := byName
	switch l.sort {
	case 'U', 'f':
		return
	case 't':
		by = func(a, b listed) int { return cmp.Or(l.time(b).Compare(l.time(a)), byName(a, b)) }
	case 'S':
		by = func(a, b listed) int { return cmp.Or(cmp.Compare(b.info.size, a.info.size), byName(a, b)) }
	case 'X':
		by = func(a, b listed) int {
			return cmp.Or(strings.Compare(extension(a.name), extension(b.name)), byName(a, b))
		}
	}
	slices.SortFunc(found, by)
	if l.reverse {
		slices.Reverse(found)
	}
}

func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[i:]
	}
	return ""
}

// suffix is what -F and -p put behind a name.
func (l *listing) suffix(e listed) string {
	switch {
	case l.classify == 0:
	case e.isDir:
		return "/"
	case l.classify == 'p':
	case e.isLink:
		if !l.long {
			return "@"
		}
	case e.info.kind() == unix.S_IFIFO:
		return "|"
	case e.info.kind() == unix.S_IFSOCK:
		return "="
	case e.info.perm()&0o111 != 0:
		return "*"
	}
	return ""
}

// shown is the name in its colour, with its suffix. What would move the cursor
// is not written to a terminal.
func (l *listing) shown(e listed) string {
	name := e.name
	if l.c.StdoutTTY {
		name = visible(name)
	}
	if !l.colour {
		return name + l.suffix(e)
	}
	colour := ""
	switch {
	case e.isDir:
		colour = "1;34"
	case e.isLink:
		colour = "1;36"
	case e.info.isDevice():
		colour = "1;33"
	case e.info.kind() == unix.S_IFIFO, e.info.kind() == unix.S_IFSOCK:
		colour = "35"
	case e.stated && e.info.perm()&0o111 != 0:
		colour = "1;32"
	default:
		return name + l.suffix(e)
	}
	return "\x1b[" + colour + "m" + name + "\x1b[0m" + l.suffix(e)
}

// visible replaces control characters by question marks.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
