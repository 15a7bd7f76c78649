package tool

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A findParser reads find's expression; lower binds weaker.
type findParser struct {
	*finder
	args []string
}

func (f *finder) parse(args []string) error {
	p := &findParser{f, args}
	f.test = func(*visit) bool { return true }
	if len(args) > 0 {
		t, err := p.list()
		if err != nil {
			return err
		}
		if len(p.args) > 0 {
			return fmt.Errorf("%s is not expected here", p.args[0])
		}
		f.test = t
	}
	if !f.acts {
		t := f.test
		f.test = func(v *visit) bool { return t(v) && f.print(v, '\n') }
	}
	return nil
}

func (p *findParser) accept(words ...string) bool {
	for _, w := range words {
		if len(p.args) > 0 && p.args[0] == w {
			p.args = p.args[1:]
			return true
		}
	}
	return false
}

func (p *findParser) list() (test, error) {
	t, err := p.or()
	for err == nil && p.accept(",") {
		left := t
		var right test
		right, err = p.or()
		t = func(v *visit) bool { left(v); return right(v) }
	}
	return t, err
}

func (p *findParser) or() (test, error) {
	t, err := p.and()
	for err == nil && p.accept("-o", "-or") {
		left := t
		var right test
		right, err = p.and()
		t = func(v *visit) bool { return left(v) || right(v) }
	}
	return t, err
}

func (p *findParser) and() (test, error) {
	t, err := p.not()
	for err == nil && len(p.args) > 0 && p.args[0] != "-o" && p.args[0] != "-or" && p.args[0] != ")" && p.args[0] != "," {
		p.accept("-a", "-and")
		left := t
		var right test
		right, err = p.not()
		t = func(v *visit) bool { return left(v) && right(v) }
	}
	return t, err
}

func (p *findParser) not() (test, error) {
	switch {
	case p.accept("!", "-not"):
		t, err := p.not()
		return func(v *visit) bool { return !t(v) }, err
	case p.accept("("):
		t, err := p.list()
		if err == nil && !p.accept(")") {
			err = errors.New("a ( is not closed")
		}
		return t, err
	case len(p.args) == 0:
		return nil, errors.New("the expression ends too early")
	}
	name := p.args[0]
	p.args = p.args[1:]
	if t, ok := p.plain(name); ok {
		return t, nil
	}
	if t, ok, err := p.action(name); ok || err != nil {
		return t, err
	}
	if len(p.args) == 0 {
		return nil, fmt.Errorf("%s is unknown, or lacks its value", name)
	}
	value := p.args[0]
	p.args = p.args[1:]
	for _, group := range []func(string, string) (test, bool, error){p.names, p.numbers, p.files} {
		t, ok, err := group(name, value)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %s", name, value, reason(err))
		}
		if ok {
			return t, nil
		}
	}
	return nil, fmt.Errorf("unknown test %s", name)
}

// plain are the tests and options without a value.
func (p *findParser) plain(name string) (test, bool) {
	always := func(*visit) bool { return true }
	access := func(how uint32) test {
		return func(v *visit) bool { return unix.Access(p.c.Path(v.path), how) == nil }
	}
	switch name {
	case "-true", "-daystart", "-noleaf", "-warn", "-nowarn":
		return always, true
	case "-follow":
		p.links = 'L'
		return always, true
	case "-depth", "-d":
		p.depthFirst = true
		return always, true
	case "-xdev", "-mount":
		p.oneDev = true
		return always, true
	case "-false":
		return func(*visit) bool { return false }, true
	case "-empty":
		return p.empty, true
	case "-readable":
		return access(unix.R_OK), true
	case "-writable":
		return access(unix.W_OK), true
	case "-executable":
		return access(unix.X_OK), true
	case "-nouser":
		return func(v *visit) bool { return p.accounts.users[p.inode(v).uid] == "" }, true
	case "-nogroup":
		return func(v *visit) bool { return p.accounts.groups[p.inode(v).gid] == "" }, true
	case "-prune":
		return func(v *visit) bool { v.prune = true; return true }, true
	case "-quit":
		p.acts = true
		return func(*visit) bool { p.quit = true; return true }, true
	}
	return nil, false
}

// names are the tests of a file's name and type.
func (p *findParser) names(name, value string) (test, bool, error) {
	fold := strings.HasPrefix(name, "-i")
	switch name {
	case "-name", "-iname":
		if rest, ok := strings.CutPrefix(value, "*"); ok && !fold && !strings.ContainsAny(rest, `*?[\`) {
			return func(v *visit) bool { return strings.HasSuffix(v.name, rest) }, true, nil
		}
		return func(v *visit) bool { return matchGlob(value, v.name, fold) }, true, nil
	case "-path", "-ipath", "-wholename", "-iwholename":
		return func(v *visit) bool { return matchGlob(value, v.path, fold) }, true, nil
	case "-lname", "-ilname":
		return func(v *visit) bool { return v.mode&fs.ModeSymlink != 0 && matchGlob(value, p.target(v), fold) }, true, nil
	case "-regex", "-iregex":
		text, err := translate(value, false)
		if err != nil {
			return nil, true, err
		}
		flags := "(?s)"
		if fold {
			flags = "(?is)"
		}
		re, err := regexp.Compile(flags + "^(?:" + text + ")$")
		return func(v *visit) bool { return re.MatchString(v.path) }, true, err
	case "-type", "-xtype":
		for _, t := range strings.Split(value, ",") {
			if len(t) != 1 || !strings.Contains("fdlcbps", t) {
				return nil, true, errors.New("no type, they are f d l c b p s")
			}
		}
		return func(v *visit) bool {
			mode := v.mode
			if name == "-xtype" {
				if n, err := stat(p.c.Path(v.path)); err == nil {
					mode = typeOf(n)
				}
			}
			return strings.IndexByte(value, typeLetter(mode)) >= 0
		}, true, nil
	}
	return nil, false, nil
}

func typeLetter(mode fs.FileMode) byte {
	switch {
	case mode.IsDir():
		return 'd'
	case mode&fs.ModeSymlink != 0:
		return 'l'
	case mode&fs.ModeCharDevice != 0:
		return 'c'
	case mode&fs.ModeDevice != 0:
		return 'b'
	case mode&fs.ModeNamedPipe != 0:
		return 'p'
	case mode&fs.ModeSocket != 0:
		return 's'
	}
	return 'f'
}

// numbers are the tests with a number: -size, -mtime and so on.
func (p *findParser) numbers(name, value string) (test, bool, error) {
	switch name {
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(value)
		if name == "-maxdepth" {
			p.maxDepth = n
		} else {
			p.minDepth = n
		}
		return func(*visit) bool { return true }, true, err
	case "-size":
		unit := int64(512)
		if at := strings.IndexByte("cwbkMG", value[max(0, len(value)-1):][0]); value != "" && at >= 0 {
			unit = []int64{1, 2, 512, 1 << 10, 1 << 20, 1 << 30}[at]
			value = value[:len(value)-1]
		}
		s, err := newSpan(value)
		return func(v *visit) bool { return s.holds((p.inode(v).size + unit - 1) / unit) }, true, err
	case "-links", "-inum", "-uid", "-gid":
		s, err := newSpan(value)
		return func(v *visit) bool {
			n := p.inode(v)
			return s.holds(map[string]int64{
				"-links": int64(n.links), "-inum": int64(n.ino), "-uid": int64(n.uid), "-gid": int64(n.gid),
			}[name])
		}, true, err
	}
	unit := 24 * time.Hour
	which, ok := strings.CutSuffix(name, "time")
	if !ok {
		which, ok = strings.CutSuffix(name, "min")
		unit = time.Minute
	}
	if !ok || len(which) != 2 || !strings.Contains("amc", which[1:]) {
		return nil, false, nil
	}
	s, err := newSpan(value)
	return func(v *visit) bool {
		age := p.now.Sub(timeOf(p.inode(v), which[1]))
		if unit == time.Minute { // these round up, days round down
			return s.holds(int64((age + unit - 1) / unit))
		}
		return s.holds(int64(age / unit))
	}, true, err
}

func timeOf(n inode, which byte) time.Time {
	switch which {
	case 'a':
		return n.access
	case 'c':
		return n.change
	}
	return n.modify
}

// files are the tests that compare with another file, a mode or an account.
func (p *findParser) files(name, value string) (test, bool, error) {
	switch name {
	case "-newer", "-anewer", "-cnewer":
		than, err := stat(p.c.Path(value))
		return func(v *visit) bool { return timeOf(p.inode(v), name[1]).After(than.modify) }, true, err
	case "-newermt":
		than, err := parseDate(value, p.now, zone(p.c))
		return func(v *visit) bool { return p.inode(v).modify.After(than) }, true, err
	case "-samefile":
		n, err := stat(p.c.Path(value))
		return func(v *visit) bool { return p.inode(v).same(n) }, true, err
	case "-user", "-group":
		names, of := p.accounts.users, func(n inode) uint32 { return n.uid }
		if name == "-group" {
			names, of = p.accounts.groups, func(n inode) uint32 { return n.gid }
		}
		id, ok := number(names, value)
		if !ok {
			return nil, true, errors.New("nobody of that name")
		}
		return func(v *visit) bool { return of(p.inode(v)) == id }, true, nil
	case "-perm":
		sign := value[:min(1, len(value))]
		want, err := parseMode(strings.TrimLeft(value, "-/"), 0, false, 0)
		return func(v *visit) bool {
			mode := p.inode(v).perm()
			switch sign {
			case "-":
				return mode&want == want
			case "/":
				return want == 0 || mode&want != 0
			}
			return mode == want
		}, true, err
	}
	return nil, false, nil
}
