package tool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// action are -print and the like.
func (p *findParser) action(name string) (test, bool, error) {
	p.acts = true
	switch name {
	case "-print":
		return func(v *visit) bool { return p.print(v, '\n') }, true, nil
	case "-print0":
		return func(v *visit) bool { return p.print(v, 0) }, true, nil
	case "-ls":
		return p.long, true, nil
	case "-delete":
		p.depthFirst = true
		return p.delete, true, nil
	case "-printf":
		if len(p.args) == 0 {
			return nil, true, errors.New("-printf lacks its format")
		}
		format := p.args[0]
		p.args = p.args[1:]
		return func(v *visit) bool { return p.printf(v, format) }, true, nil
	case "-exec", "-execdir":
		t, err := p.exec(name)
		return t, true, err
	}
	p.acts = false
	return nil, false, nil
}

func (f *finder) print(v *visit, end byte) bool {
	f.out.text(v.path)
	f.out.byte(end)
	return true
}

func (f *finder) target(v *visit) string {
	to, err := os.Readlink(f.c.Path(v.path))
	if err != nil {
		return ""
	}
	return to
}

func (f *finder) long(v *visit) bool {
	n := f.inode(v)
	arrow := ""
	if n.isLink() {
		arrow = " -> " + f.target(v)
	}
	f.out.printf("%9d %6d %s %3d %-8s %-8s %8d %s %s%s\n", n.ino, (n.blocks+1)/2, n.modes(), n.links,
		f.accounts.user(n.uid), f.accounts.group(n.gid), n.size, n.modify.In(zone(f.c)).Format("Jan _2 15:04"), v.path, arrow)
	return true
}

func (f *finder) delete(v *visit) bool {
	if v.path == "." {
		return true
	}
	if err := os.Remove(f.c.Path(v.path)); err != nil {
		f.fail(v.path, err)
		return false
	}
	return true
}

// A batch is the files of an -exec with a plus sign, which gets many at once.
type batch struct {
	args  []string
	files []string
	bytes int
}

const batchBytes = 128 << 10

func (b *batch) run(f *finder) {
	if len(b.files) == 0 {
		return
	}
	if f.start(append(b.args[:len(b.args):len(b.args)], b.files...), f.c.Dir) != 0 {
		f.status = 1
	}
	b.files, b.bytes = nil, 0
}

func (f *finder) start(args []string, dir string) int {
	f.out.flush()
	n := *f.c
	n.Args, n.Dir = args, dir
	return f.c.Start(&n)
}

// exec reads a command up to its semicolon, or its plus sign behind {}.
func (p *findParser) exec(name string) (test, error) {
	for i, arg := range p.args {
		plus := arg == "+" && i > 1 && p.args[i-1] == "{}"
		if arg != ";" && !plus {
			continue
		}
		args := p.args[:i]
		p.args = p.args[i+1:]
		if len(args) == 0 {
			break
		}
		if !plus || name == "-execdir" {
			return p.one(name == "-execdir", args), nil
		}
		b := &batch{args: args[:len(args)-1]}
		p.batches = append(p.batches, b)
		return func(v *visit) bool {
			b.files, b.bytes = append(b.files, v.path), b.bytes+len(v.path)+1
			if b.bytes > batchBytes {
				b.run(p.finder)
			}
			return true
		}, nil
	}
	return nil, fmt.Errorf("%s lacks its command, or the ; behind it", name)
}

// one runs the command for each file, with inDir in the file's folder.
func (p *findParser) one(inDir bool, args []string) test {
	return func(v *visit) bool {
		path, dir := v.path, p.c.Dir
		if inDir {
			path, dir = "./"+v.name, filepath.Dir(p.c.Path(v.path))
		}
		all := make([]string, len(args))
		for i, arg := range args {
			all[i] = strings.ReplaceAll(arg, "{}", path)
		}
		return p.start(all, dir) == 0
	}
}

// printf is -printf.
func (f *finder) printf(v *visit, format string) bool {
	for i := 0; i < len(format); i++ {
		if i+1 == len(format) || format[i] != '%' && format[i] != '\\' {
			f.out.byte(format[i])
			continue
		}
		lead := format[i]
		i++
		if lead == '\\' {
			if at := strings.IndexByte("ntr0\\", format[i]); at >= 0 {
				f.out.byte("\n\t\r\x00\\"[at])
			}
			continue
		}
		start := i
		for i < len(format)-1 && strings.IndexByte("-0123456789", format[i]) >= 0 {
			i++
		}
		flags := format[start:i]
		if strings.IndexByte("TAC", format[i]) >= 0 && i+1 < len(format) {
			i++
			t := timeOf(f.inode(v), strings.ToLower(format[i-1 : i])[0])
			f.out.printf("%"+flags+"s", f.moment(t, format[i]))
			continue
		}
		f.out.printf("%"+flags+"s", f.field(v, format[i]))
	}
	return true
}

func (f *finder) moment(t time.Time, how byte) string {
	t = t.In(zone(f.c))
	if how == '@' {
		return fmt.Sprintf("%d.%010d", t.Unix(), int64(t.Nanosecond())*10)
	}
	if how == '+' {
		return t.Format("2006-01-02+15:04:05.0000000000")
	}
	return strftime("%"+string(rune(how)), t)
}

func (f *finder) field(v *visit, name byte) string {
	switch name {
	case '%':
		return "%"
	case 'p':
		return v.path
	case 'f':
		return v.name
	case 'h':
		if i := strings.LastIndexByte(v.path, '/'); i >= 0 {
			return v.path[:i]
		}
		return "."
	case 'P':
		rest := v.path
		for range v.depth {
			rest = rest[:max(0, strings.LastIndexByte(rest, '/'))]
		}
		return strings.TrimPrefix(v.path[len(rest):], "/")
	case 'd':
		return strconv.Itoa(v.depth)
	case 'y':
		return string(rune(typeLetter(v.mode)))
	case 'l':
		return f.target(v)
	}
	return f.inodeField(f.inode(v), name)
}

func (f *finder) inodeField(n inode, name byte) string {
	dec := func(n uint64) string { return strconv.FormatUint(n, 10) }
	switch name {
	case 's':
		return strconv.FormatInt(n.size, 10)
	case 'k':
		return strconv.FormatInt((n.blocks+1)/2, 10)
	case 'b':
		return strconv.FormatInt(n.blocks, 10)
	case 'm':
		return strconv.FormatUint(uint64(n.perm()), 8)
	case 'M':
		return n.modes()
	case 'u':
		return f.accounts.user(n.uid)
	case 'g':
		return f.accounts.group(n.gid)
	case 'U':
		return dec(uint64(n.uid))
	case 'G':
		return dec(uint64(n.gid))
	case 'i':
		return dec(n.ino)
	case 'n':
		return dec(n.links)
	case 't':
		return n.modify.In(zone(f.c)).Format("Mon Jan _2 15:04:05.0000000000 2006")
	}
	return "%" + string(rune(name))
}
