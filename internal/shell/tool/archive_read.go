package tool

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// read lists an archive, or unpacks it. It never writes outside of the folder it
// unpacks to, whatever names and links the archive has: os.Root sees to that.
func (a *archiver) read(unpack bool) error {
	name := a.o.value('f')
	if name == "" {
		name = "-"
	}
	f, err := a.c.open(name)
	if err != nil {
		return fmt.Errorf("%s: %s", name, reason(err))
	}
	defer closeRead(f)
	r, err := decompress(f)
	if err != nil {
		return fmt.Errorf("%s: %s", name, reason(err))
	}
	var root *os.Root
	if unpack && !a.o.has("O") {
		if root, err = os.OpenRoot(a.dir); err != nil {
			return fmt.Errorf("%s: %s", a.dir, reason(err))
		}
		defer closeRead(root)
	}
	u := unpacker{archiver: a, root: root}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %s", reason(err))
		}
		if a.c.Err() != nil {
			return a.c.Err()
		}
		if !a.wanted(h.Name) || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.entry(h, t, unpack); err != nil {
			return err
		}
	}
	u.finish()
	return nil
}

// An unpacker remembers what can be set only when all is there: the modes and
// times of folders.
type unpacker struct {
	*archiver
	root    *os.Root
	folders []*tar.Header
}

func (u *unpacker) entry(h *tar.Header, r io.Reader, unpack bool) error {
	if unpack && u.place(h.Name) == "" {
		return nil
	}
	switch {
	case u.o.has("v") && !unpack:
		u.long(h)
	case u.o.has("v") || !unpack:
		u.out.line(h.Name)
	}
	switch {
	case !unpack:
	case u.o.has("O"):
		if h.Typeflag == tar.TypeReg {
			_, err := io.Copy(u.out, r)
			return err
		}
	default:
		if err := u.unpack(h, r); err != nil {
			u.miss(h.Name, err)
			var full *os.PathError
			if errors.As(err, &full) && errors.Is(err, unix.ENOSPC) {
				return errors.New("the disk is full")
			}
		}
	}
	return nil
}

func (u *unpacker) long(h *tar.Header) {
	n := inode{mode: uint32(h.Mode) & 0o7777}
	switch h.Typeflag {
	case tar.TypeDir:
		n.mode |= unix.S_IFDIR
	case tar.TypeSymlink:
		n.mode |= unix.S_IFLNK
	default:
		n.mode |= unix.S_IFREG
	}
	owner := func(name string, id int) string {
		if name != "" && !u.o.has("5") {
			return name
		}
		return fmt.Sprint(id)
	}
	who := owner(h.Uname, h.Uid) + "/" + owner(h.Gname, h.Gid)
	u.out.printf("%s %s %*d %s %s", n.modes(), who, max(0, 18-len(who)), h.Size, h.ModTime.In(zone(u.c)).Format("2006-01-02 15:04"), h.Name)
	switch h.Typeflag {
	case tar.TypeSymlink:
		u.out.text(" -> " + h.Linkname)
	case tar.TypeLink:
		u.out.text(" link to " + h.Linkname)
	}
	u.out.byte('\n')
}

// place is where an entry goes below the root; "" if it is stripped away.
func (u *unpacker) place(name string) string {
	parts := strings.Split(strings.Trim(filepath.Clean("/"+name), "/"), "/")
	if parts[0] == "" && u.strip == 0 {
		return "."
	}
	if len(parts) <= u.strip || parts[0] == "" {
		return ""
	}
	return filepath.Join(parts[u.strip:]...)
}

func (u *unpacker) unpack(h *tar.Header, r io.Reader) error {
	at := u.place(h.Name)
	if at == "" || at == "." && h.Typeflag != tar.TypeDir {
		return nil
	}
	if dir := filepath.Dir(at); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		if err := u.root.MkdirAll(at, 0o755); err != nil {
			return err
		}
		u.folders = append(u.folders, h)
		return nil
	}
	if info, err := u.root.Lstat(at); err == nil && !info.IsDir() {
		if u.o.has("k") {
			return errors.New("it is there already")
		}
		if err := u.root.Remove(at); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if err := u.file(at, h, r); err != nil {
			return err
		}
		return u.attributes(at, h)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		if os.Geteuid() == 0 && !u.o.has("4") {
			return u.root.Lchown(at, h.Uid, h.Gid)
		}
		return nil
	case tar.TypeLink:
		return u.root.Link(u.place(h.Linkname), at)
	}
	return errors.New("devices and the like are not made")
}

func (u *unpacker) file(at string, h *tar.Header, r io.Reader) error {
	f, err := u.root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, r, h.Size)
	return errors.Join(err, f.Close())
}

// attributes sets owner, mode and time, in that order: another owner takes away
// the bits for set-uid.
func (u *unpacker) attributes(at string, h *tar.Header) error {
	mode := uint32(h.Mode) & 0o7777
	if os.Geteuid() == 0 && !u.o.has("4") {
		if err := u.root.Lchown(at, h.Uid, h.Gid); err != nil {
			return err
		}
	} else if !u.o.has("p") {
		mode &^= umask()
	}
	if err := u.root.Chmod(at, fileMode(mode)); err != nil {
		return err
	}
	if u.o.has("m") {
		return nil
	}
	return u.root.Chtimes(at, time.Time{}, h.ModTime)
}

func (u *unpacker) finish() {
	for i := len(u.folders) - 1; i >= 0; i-- {
		if h := u.folders[i]; u.place(h.Name) != "" {
			if err := u.attributes(u.place(h.Name), h); err != nil {
				u.miss(h.Name, err)
			}
		}
	}
}
