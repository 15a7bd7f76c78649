package tool

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An archiver is one run of tar.
type archiver struct {
	c        *Context
	o        options
	out      *output // names, of -t and -v
	dir      string  // of -C
	strip    int
	accounts accounts
	links    map[[2]uint64]string // names of files with several links
	status   int
}

func tarTool(c *Context) int {
	if args := c.Args; len(args) > 1 && args[1] != "" && args[1][0] != '-' { // tar xf FILE
		n := *c
		n.Args = oldFlags(args)
		c = &n
	}
	o, ok := c.parse("cxtrvzjaf:C:OpmkhPT:1:2:3456", "create=c", "extract=x", "get=x", "list=t", "verbose=v", "gzip=z", "bzip2=j",
		"auto-compress=a", "file=f", "directory=C", "to-stdout=O", "preserve-permissions=p", "touch=m", "keep-old-files=k",
		"dereference=h", "absolute-names=P", "files-from=T", "exclude=1", "strip-components=2", "no-recursion=3",
		"no-same-owner=4", "numeric-owner=5", "no-same-permissions=6")
	if !ok {
		return 2
	}
	a := &archiver{c: c, o: o, out: c.output(), dir: c.Dir, accounts: newAccounts(), links: map[[2]uint64]string{}}
	for _, d := range o.values('C') {
		n := *c
		n.Dir = a.dir
		a.dir = strings.TrimSuffix(n.Path(d), "/")
	}
	strip, err := o.number('2', 0)
	if err != nil {
		return c.Usage("--strip-components needs a number")
	}
	a.strip = int(strip)
	switch o.last("cxtr") {
	case 'c':
		err = a.create()
	case 'x', 't':
		err = a.read(o.last("cxt") == 'x')
	case 'r':
		return c.Usage("archives cannot be appended to")
	default:
		return c.Usage("one of -c, -x and -t is needed")
	}
	if err != nil {
		a.out.flush()
		a.status = max(c.Errorf("%s", err), 2)
	}
	return a.out.done(a.status)
}

// oldFlags are letters without a minus sign: each that takes a value has it
// among the next words.
func oldFlags(args []string) []string {
	all, rest := []string{args[0]}, args[2:]
	for _, l := range args[1] {
		all = append(all, "-"+string(l))
		if strings.ContainsRune("fCT", l) && len(rest) > 0 {
			all, rest = append(all, rest[0]), rest[1:]
		}
	}
	return append(all, rest...)
}

// within is a path of the archive in the folder of -C.
func (a *archiver) within(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return a.dir + "/" + name
}

func (a *archiver) create() (err error) {
	names := a.o.operands
	if a.o.has("T") {
		list, err := a.c.open(a.o.value('T'))
		if err != nil {
			return fmt.Errorf("%s: %s", a.o.value('T'), reason(err))
		}
		defer closeRead(list)
		if err := lines(list, func(line []byte, _ bool) bool { names = append(names, string(line)); return true }); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return errors.New("an archive of nothing is not made")
	}
	to, name := a.c.Stdout, a.o.value('f')
	if name != "" && name != "-" {
		f, err := os.Create(a.c.Path(name))
		if err != nil {
			return fmt.Errorf("%s: %s", name, reason(err))
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	} else {
		a.out = newOutput(a.c.Stderr)
	}
	buffer := bufio.NewWriterSize(to, chunk)
	defer func() { err = errors.Join(err, buffer.Flush()) }()
	to = buffer
	switch {
	case a.o.has("z"), a.o.has("a") && (strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".tgz")):
		z := gzip.NewWriter(to)
		defer func() { err = errors.Join(err, z.Close()) }()
		to = z
	case a.o.has("j"):
		return errors.New("bzip2 is only read here; use -z")
	}
	w := tar.NewWriter(to)
	for _, name := range names {
		if err := a.pack(w, name); err != nil {
			return err
		}
	}
	return w.Close()
}

// pack adds a file, and what is below it. What cannot be read is said and left
// out; an error is one of the archive.
func (a *archiver) pack(w *tar.Writer, name string) error {
	root := a.within(name)
	clean := filepath.Clean(root)
	return filepath.WalkDir(root, func(at string, _ fs.DirEntry, err error) error {
		shown := name
		if rest := strings.TrimPrefix(strings.TrimPrefix(at, clean), "/"); rest != "" {
			shown = join(name, rest)
		}
		if a.c.Err() != nil {
			return a.c.Err()
		}
		if err != nil {
			a.miss(shown, err)
			return nil
		}
		if a.excluded(shown) {
			return fs.SkipDir
		}
		err = a.add(w, shown, at)
		var failed *fs.PathError
		if errors.As(err, &failed) {
			a.miss(shown, err)
			err = nil
		}
		if err == nil && a.o.has("3") {
			return fs.SkipAll
		}
		return err
	})
}

func (a *archiver) miss(name string, err error) {
	a.out.flush()
	a.c.fail(name, err)
	a.status = 2
}

func (a *archiver) excluded(name string) bool {
	for _, p := range a.o.values('1') {
		if matchGlob(p, name, false) || matchGlob(p, path.Base(name), false) || matchGlob("*/"+p, name, false) {
			return true
		}
	}
	return false
}

func (a *archiver) add(w *tar.Writer, name, at string) error {
	n, err := lstat(at)
	if err == nil && a.o.has("h") {
		n, err = stat(at)
	}
	if err != nil {
		return err
	}
	h := &tar.Header{
		Name: name, Mode: int64(n.perm()), Uid: int(n.uid), Gid: int(n.gid), ModTime: n.modify.Truncate(time.Second),
		Uname: a.accounts.users[n.uid], Gname: a.accounts.groups[n.gid], Format: tar.FormatGNU,
	}
	if !a.o.has("P") {
		h.Name = strings.TrimLeft(h.Name, "/")
	}
	key := [2]uint64{n.dev, n.ino}
	switch n.letter() {
	case 'd':
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
	case 'l':
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(at); err != nil {
			return err
		}
	case '-':
		h.Typeflag, h.Size = tar.TypeReg, n.size
		if first := a.links[key]; first != "" {
			h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
		} else if n.links > 1 {
			a.links[key] = h.Name
		}
	case 'c', 'b', 'p':
		h.Typeflag = map[byte]byte{'c': tar.TypeChar, 'b': tar.TypeBlock, 'p': tar.TypeFifo}[n.letter()]
		h.Devmajor, h.Devminor = int64(unix.Major(n.rdev)), int64(unix.Minor(n.rdev))
	default:
		return nil // a socket is nothing that could be kept
	}
	if h.Name == "/" || h.Name == "" {
		h.Name = "./"
	}
	return a.write(w, h, at)
}

// write writes one entry. A file that shrinks meanwhile is filled up, as its size
// has been written before it.
func (a *archiver) write(w *tar.Writer, h *tar.Header, at string) error {
	var f *os.File
	if h.Typeflag == tar.TypeReg {
		var err error
		if f, err = os.Open(at); err != nil {
			return err
		}
		defer closeRead(f)
	}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("writing the archive: %s", reason(err))
	}
	if a.o.has("v") {
		a.out.line(h.Name)
		a.out.flush()
	}
	if f == nil {
		return nil
	}
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if n < h.Size {
		a.miss(h.Name, cmpErr(err, "it became shorter while it was read"))
		_, err = io.Copy(w, io.LimitReader(zeros{}, h.Size-n))
	}
	if err != nil {
		return fmt.Errorf("writing the archive: %s", reason(err))
	}
	return nil
}

func cmpErr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

// zeros is read without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// decompress reads what is compressed with gzip or bzip2, and all else as it is.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, chunk)
	magic, err := b.Peek(4)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(b), nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X'}):
		return nil, errors.New("zstd and xz cannot be read here")
	}
	return b, nil
}

// wanted is whether an entry was asked for: it, or a folder it is in.
func (a *archiver) wanted(name string) bool {
	if a.excluded(strings.TrimSuffix(name, "/")) {
		return false
	}
	return len(a.o.operands) == 0 || slices.ContainsFunc(a.o.operands, func(o string) bool {
		o = strings.TrimSuffix(o, "/")
		return strings.TrimSuffix(name, "/") == o || strings.HasPrefix(name, o+"/")
	})
}
