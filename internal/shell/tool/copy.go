package tool

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A copier is one run of cp, or of mv between file systems.
type copier struct {
	c       *Context
	o       options
	out     *output
	answers *bufio.Reader
	tree    bool   // folders, too
	links   byte   // L: follow all, H: those named, P: none
	keep    bool   // modes, owners and times
	into    *inode // the folder that is made: it must not be copied into itself
}

func cp(c *Context) int {
	o, ok := c.parse("rRafipPLHdnuvT1xlst:", "recursive=r", "archive=a", "force=f", "interactive=i", "no-dereference=P", "dereference=L",
		"no-clobber=n", "update=u", "verbose=v", "no-target-directory=T", "preserve=p", "link=l", "symbolic-link=s", "target-directory=t")
	if !ok {
		return 2
	}
	k := &copier{c: c, o: o, out: c.output(), answers: bufio.NewReader(c.Stdin), tree: o.has("rRa"), keep: o.has("pa"), links: o.last("LHP")}
	if k.links == 0 {
		k.links = 'L'
		if k.tree || o.has("ad") {
			k.links = 'P'
		}
	}
	return k.out.done(c.move(o, k.copy))
}

func mv(c *Context) int {
	o, ok := c.parse("finuvTt:", "force=f", "interactive=i", "no-clobber=n", "update=u", "verbose=v", "no-target-directory=T", "target-directory=t")
	if !ok {
		return 2
	}
	k := &copier{c: c, o: o, out: c.output(), answers: bufio.NewReader(c.Stdin), tree: true, keep: true, links: 'P'}
	return k.out.done(c.move(o, func(name, from, shown, to string) error {
		from, err := unslash(from)
		if err != nil {
			return err
		}
		to = strings.TrimRight(to, "/")
		n, err := lstat(from)
		if err != nil {
			return err
		}
		if ok, err := k.replaces(n, shown, to); !ok || err != nil {
			return err
		}
		err = os.Rename(from, to)
		if errors.Is(err, unix.EXDEV) {
			if t, terr := lstat(to); terr == nil && !t.isDir() {
				if err := os.Remove(to); err != nil {
					return err
				}
			}
			if err = k.one(name, from, shown, to, n); err == nil {
				err = os.RemoveAll(from)
			}
		}
		if err == nil && o.has("v") {
			k.out.line("renamed '" + name + "' -> '" + shown + "'")
		}
		return err
	}))
}

// move calls f for each source with where it goes to.
func (c *Context) move(o options, f func(name, from, shown, to string) error) int {
	names := o.operands
	if o.has("t") {
		names = append(names[:len(names):len(names)], o.value('t'))
	}
	if len(names) < 2 {
		return c.Usage("a source and a target are needed")
	}
	shown := names[len(names)-1]
	info, err := os.Stat(c.Path(shown))
	inDir := err == nil && info.IsDir() && !o.has("T")
	if !inDir && (len(names) > 2 || o.has("t") || strings.HasSuffix(shown, "/") && err != nil && !isFolder(c.Path(names[0]))) {
		return c.Errorf("%s is not a directory", shown)
	}
	return c.below(names[:len(names)-1], false, func(name, from string) error {
		at, to := shown, c.Path(shown)
		if inDir {
			last := base(name)
			at, to = join(at, last), join(to, last)
		}
		return f(name, from, at, to)
	})
}

func isFolder(path string) bool {
	n, err := stat(path)
	return err == nil && n.isDir()
}

// replaces is whether the target may be written: asked for, not newer, and not
// the source itself.
func (k *copier) replaces(from inode, shown, to string) (bool, error) {
	n, err := lstat(to)
	if err != nil {
		return true, nil //nolint:nilerr // there is nothing to replace; what else is wrong is seen by writing
	}
	behind, err := stat(to)
	if from.same(n) || err == nil && from.same(behind) && !from.isLink() {
		return false, errors.New("it and " + shown + " are the same file")
	}
	switch {
	case k.o.has("n"), k.o.has("u") && !from.modify.After(n.modify):
		return false, nil
	case k.o.last("fi") == 'i':
		return k.c.ask(k.answers, "overwrite '"+shown+"'?"), nil
	case n.isDir() && !from.isDir():
		return false, errors.New("cannot overwrite directory " + shown)
	case from.isDir() && !n.isDir() && (err != nil || !behind.isDir()):
		return false, errors.New("cannot overwrite " + shown + " with a directory")
	}
	return true, nil
}

func (k *copier) copy(name, from, shown, to string) error {
	read := lstat
	if k.links != 'P' {
		read = stat
	}
	n, err := read(from)
	if err != nil {
		return err
	}
	if n.isDir() && !k.tree {
		return errors.New("-r is needed to copy a directory")
	}
	if strings.HasPrefix(filepath.Clean(to)+"/", filepath.Clean(from)+"/") && n.isDir() {
		return errors.New("a directory cannot be copied into itself")
	}
	to = strings.TrimRight(to, "/")
	if ok, err := k.replaces(n, shown, to); !ok || err != nil {
		return err
	}
	return k.one(name, from, shown, to, n)
}

// one copies a file or a folder, of which n is the inode to go by.
func (k *copier) one(name, from, shown, to string, n inode) error {
	if k.c.Err() != nil {
		return k.c.Err()
	}
	if k.o.has("v") && k.c.Args[0] == "cp" {
		k.out.line("'" + name + "' -> '" + shown + "'")
	}
	var err error
	switch n.letter() {
	case 'd':
		err = k.folder(name, from, shown, to, n)
	case 'l':
		err = k.link(from, to)
	case '-', 'b':
		err = k.file(from, to, n)
	case 'p', 'c':
		if !k.tree {
			return k.file(from, to, n)
		}
		err = unix.Mknod(to, n.mode, int(n.rdev))
	default:
		return errors.New("a socket cannot be copied")
	}
	if err != nil || !k.keep {
		return err
	}
	return keepAttributes(to, n)
}

// keepAttributes gives a copy the owner, mode and time of its original. Only root
// can give files away: that others cannot is no error.
func keepAttributes(to string, n inode) error {
	if err := os.Lchown(to, int(n.uid), int(n.gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if !n.isLink() {
		if err := os.Chmod(to, fileMode(n.perm())); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{unixTime(n.access), unixTime(n.modify)}, unix.AT_SYMLINK_NOFOLLOW)
}

func (k *copier) link(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if n, err := lstat(to); err == nil && !n.isDir() {
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	return os.Symlink(target, to)
}

func (k *copier) folder(name, from, shown, to string, n inode) error {
	if err := os.Mkdir(to, fileMode(n.perm()|0o700)); err != nil && !isFolder(to) {
		return err
	}
	made, err := lstat(to)
	if err != nil {
		return err
	}
	if k.into == nil {
		k.into = &made
		defer func() { k.into = nil }()
	}
	entries, err := readDir(from)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		read := lstat
		if k.links == 'L' {
			read = stat
		}
		source, target := join(from, e.Name()), join(to, e.Name())
		child, err := read(source)
		switch {
		case err == nil && child.same(*k.into):
			continue
		case err == nil:
			if t, terr := lstat(target); terr == nil && child.same(t) {
				err = errors.New("it and its target are the same file")
			} else if k.o.has("n") && terr == nil && !child.isDir() {
				continue
			} else {
				err = k.one(join(name, e.Name()), source, join(shown, e.Name()), target, child)
			}
		}
		if err != nil {
			if !errors.Is(err, errPart) {
				k.c.fail(join(name, e.Name()), err)
			}
			failed = errPart
		}
	}
	return failed
}

// errPart is a failure of which the user knows the reason already.
var errPart = errors.New("something in it could not be copied")

func (k *copier) file(from, to string, n inode) error {
	if k.o.has("l") && k.c.Args[0] == "cp" {
		return os.Link(from, to)
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer closeRead(r)
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode(n.perm()&0o777))
	if err != nil && k.o.has("f") {
		if os.Remove(to) == nil {
			w, err = os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode(n.perm()&0o777))
		}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(w, interruptible{r, k.c})
	return errors.Join(err, w.Close())
}

// statTool is stat.
func statTool(c *Context) int {
	o, ok := c.parse("Lc:ft", "dereference=L", "format=c", "printf=c", "file-system=f", "terse=t")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a file is needed")
	}
	f := &finder{c: c, out: c.output(), accounts: newAccounts(), now: time.Now()}
	read := lstat
	if o.has("L") {
		read = stat
	}
	status := c.below(o.operands, false, func(name, path string) error {
		n, err := read(path)
		if err != nil {
			return err
		}
		if o.has("c") {
			f.out.line(f.statFormat(o.value('c'), name, n))
			return nil
		}
		f.statLong(name, n)
		return nil
	})
	return f.out.done(status)
}
