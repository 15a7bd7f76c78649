package tool

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func mkdir(c *Context) int {
	o, ok := c.parse("pm:v", "parents=p", "mode=m", "verbose=v")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a name is needed")
	}
	out := c.output()
	status := c.below(o.operands, false, func(name, path string) error {
		path = strings.TrimRight(path, "/")
		var err error
		if o.has("p") {
			err = os.MkdirAll(path, 0o777) //nolint:gosec // less the umask, as with any folder
		} else {
			err = os.Mkdir(path, 0o777) //nolint:gosec // as above
		}
		if err != nil {
			return err
		}
		if o.has("v") {
			out.line("mkdir: created directory '" + name + "'")
		}
		if !o.has("m") {
			return nil
		}
		mode, err := parseMode(o.value('m'), 0o777, true, umask())
		if err != nil {
			return err
		}
		return os.Chmod(path, fileMode(mode))
	})
	return out.done(status)
}

func rmdir(c *Context) int {
	o, ok := c.parse("pv1", "parents=p", "verbose=v", "ignore-fail-on-non-empty=1")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a name is needed")
	}
	return c.below(o.operands, false, func(name, path string) error {
		for {
			n, err := lstat(strings.TrimRight(path, "/"))
			if err == nil && !n.isDir() {
				return errors.New("Not a directory") //nolint:staticcheck // as the system says it
			}
			if err := os.Remove(path); err != nil {
				if o.has("1") {
					return nil
				}
				return err
			}
			name, path = filepath.Dir(strings.TrimRight(name, "/")), filepath.Dir(strings.TrimRight(path, "/"))
			if !o.has("p") || name == "." || name == "/" {
				return nil
			}
		}
	})
}

// A remover is one run of rm.
type remover struct {
	c       *Context
	o       options
	out     *output
	answers *bufio.Reader
}

func rm(c *Context) int {
	o, ok := c.parse("rRfiIvd1", "recursive=r", "force=f", "verbose=v", "dir=d", "interactive=i", "no-preserve-root=1", "one-file-system=1")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		if o.has("f") {
			return 0
		}
		return c.Usage("a file is needed")
	}
	r := &remover{c, o, c.output(), bufio.NewReader(c.Stdin)}
	status := c.below(o.operands, false, func(name, path string) error {
		path, err := unslash(path)
		if err != nil {
			return err
		}
		if last := base(name); last == "." || last == ".." || path == "" {
			return errors.New("that is never removed")
		}
		n, err := lstat(path)
		switch {
		case err != nil:
			if o.has("f") && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid)) {
				return nil
			}
			return err
		case n.isDir() && !o.has("rRd"):
			return errors.New("Is a directory") //nolint:staticcheck // as the system says it
		case n.isDir() && o.has("rR"):
			return r.tree(name, path)
		}
		return r.one(name, path, "")
	})
	return r.out.done(status)
}

// one removes a file or an empty folder.
func (r *remover) one(name, path, what string) error {
	if r.o.last("if") == 'i' && !r.c.ask(r.answers, "remove '"+name+"'?") {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if r.o.has("v") {
		r.out.line("removed " + what + "'" + name + "'")
	}
	return nil
}

// tree removes a folder and all in it. What cannot be removed is left, the rest
// is removed all the same.
func (r *remover) tree(name, path string) error {
	if r.c.Err() != nil {
		return r.c.Err()
	}
	entries, err := readDir(path)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		shown, at := join(name, e.Name()), join(path, e.Name())
		if e.IsDir() {
			err = r.tree(shown, at)
		} else {
			err = r.one(shown, at, "")
		}
		if err != nil {
			if !errors.Is(err, errSaid) {
				r.c.fail(shown, err)
			}
			failed = errSaid
		}
	}
	if failed != nil {
		return failed
	}
	return r.one(name, path, "directory ")
}

// unslash takes off the slashes behind a name. They ask for a folder: a link to one
// is none.
func unslash(path string) (string, error) {
	short := strings.TrimRight(path, "/")
	if n, err := lstat(short); short != path && err == nil && !n.isDir() {
		return short, unix.ENOTDIR
	}
	return short, nil
}

// errSaid is a failure of which the user knows the reason already.
var errSaid = errors.New("something in it could not be removed")

// ask asks the user, who must begin with a y to agree.
func (c *Context) ask(answers *bufio.Reader, question string) bool {
	c.complain("%s: %s ", c.Args[0], question)
	answer, err := answers.ReadString('\n')
	return (err == nil || answer != "") && strings.HasPrefix(strings.ToLower(answer), "y")
}

func ln(c *Context) int {
	o, ok := c.parse("sfnvrT", "symbolic=s", "force=f", "no-dereference=n", "verbose=v", "relative=r", "no-target-directory=T")
	if !ok {
		return 2
	}
	names := o.operands
	if len(names) == 0 {
		return c.Usage("a target is needed")
	}
	if len(names) == 1 {
		names = append(names, ".")
	}
	to := names[len(names)-1]
	info, err := os.Stat(c.Path(to))
	if o.has("n") {
		info, err = os.Lstat(c.Path(to))
	}
	inDir := err == nil && info.IsDir() && !o.has("T")
	if len(names) > 2 && !inDir {
		return c.Errorf("%s is not a directory", to)
	}
	return c.below(names[:len(names)-1], false, func(name, path string) error {
		at := c.Path(to)
		if inDir {
			at = join(at, base(name))
		}
		return link(o, name, path, at)
	})
}

// link makes one link at a place to what the user calls name.
func link(o options, name, path, at string) error {
	if n, err := lstat(at); o.has("f") && err == nil && !n.isDir() {
		if err := os.Remove(at); err != nil {
			return err
		}
	}
	if !o.has("s") {
		return os.Link(path, at)
	}
	if o.has("r") {
		if short, err := filepath.Rel(filepath.Dir(at), path); err == nil {
			name = short
		}
	}
	return os.Symlink(name, at)
}

func readlink(c *Context) int {
	o, ok := c.parse("femnqsvz", "canonicalize=f", "canonicalize-existing=e", "canonicalize-missing=m", "no-newline=n", "zero=z")
	if !ok {
		return 2
	}
	return links(c, o, c.Args[0] == "realpath" || o.has("fem"))
}

// links is readlink and realpath.
func links(c *Context, o options, whole bool) int {
	out, status := c.output(), 0
	if len(o.operands) == 0 {
		return c.Usage("a file is needed")
	}
	for _, name := range o.operands {
		var to string
		var err error
		switch {
		case !whole:
			to, err = os.Readlink(c.Path(name))
		case o.has("s"):
			to = filepath.Clean(c.Path(name))
		default:
			to, err = canonical(c.Path(name), o.has("e"), o.has("m"))
		}
		if err != nil {
			status = 1
			if whole || o.has("v") {
				c.fail(name, err)
			}
			continue
		}
		out.text(to)
		if !o.has("n") {
			out.byte('\n')
		}
	}
	return out.done(status)
}

// canonical is a path without links. Its last element may be missing unless
// existing is set, any if missing is.
func canonical(path string, existing, missing bool) (string, error) {
	to, err := filepath.EvalSymlinks(path)
	if err == nil || existing || !errors.Is(err, fs.ErrNotExist) && !missing {
		return to, err
	}
	path = filepath.Clean(path)
	if target, rerr := os.Readlink(path); rerr == nil { // a link to nowhere
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return canonical(target, false, missing)
	}
	if missing {
		dir, err := canonical(filepath.Dir(path), false, true)
		return filepath.Join(dir, filepath.Base(path)), err
	}
	dir, derr := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), derr
}

func mktemp(c *Context) int {
	o, ok := c.parse("dqup:t", "directory=d", "quiet=q", "dry-run=u", "tmpdir=p")
	if !ok {
		return 2
	}
	dir := c.Env("TMPDIR")
	if o.has("p") {
		dir = o.value('p')
	}
	if dir == "" {
		dir = "/tmp"
	}
	template := "tmp.XXXXXXXXXX"
	if len(o.operands) > 0 {
		if template = o.operands[0]; !o.has("pt") {
			dir = filepath.Dir(template)
			template = filepath.Base(template)
		}
	}
	end := strings.LastIndexByte(template, 'X') + 1
	start := len(strings.TrimRight(template[:end], "X"))
	if end-start < 3 {
		return c.Errorf("%s: at least three X are needed", template)
	}
	pattern := template[:start] + "*" + template[end:]
	var path string
	var err error
	if o.has("d") {
		path, err = os.MkdirTemp(c.Path(dir), pattern)
	} else {
		var f *os.File
		if f, err = os.CreateTemp(c.Path(dir), pattern); err == nil {
			path, err = f.Name(), f.Close()
		}
	}
	if err == nil && o.has("u") {
		err = os.Remove(path)
	}
	if err != nil {
		return c.fail(dir, err)
	}
	if !filepath.IsAbs(dir) {
		path = join(strings.TrimPrefix(dir, "."), filepath.Base(path))
	}
	out := c.output()
	out.line(path)
	return out.done(0)
}

func truncate(c *Context) int {
	o, ok := c.parse("cs:r:", "no-create=c", "size=s", "reference=r")
	if !ok {
		return 2
	}
	text := o.value('s')
	if o.has("r") {
		n, err := stat(c.Path(o.value('r')))
		if err != nil {
			return c.fail(o.value('r'), err)
		}
		text = strconv.FormatInt(n.size, 10)
	}
	to, err := size(strings.TrimLeft(text, "+-"))
	if err != nil || len(o.operands) == 0 {
		return c.Usage("truncate -s SIZE FILE...")
	}
	return c.below(o.operands, false, func(_, path string) error {
		n, err := stat(path)
		if errors.Is(err, fs.ErrNotExist) && o.has("c") {
			return nil
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666) //nolint:gosec // less the umask
		if err != nil {
			return err
		}
		end := to
		switch {
		case strings.HasPrefix(text, "+"):
			end = n.size + to
		case strings.HasPrefix(text, "-"):
			end = max(0, n.size-to)
		}
		return errors.Join(f.Truncate(end), f.Close())
	})
}
