package runtime

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Whiteouts: github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // of aufs, without meaning here
)

// unpacker applies one layer to a tree.
type unpacker struct {
	tree *tree
	// made are the paths of this layer, which an opaque whiteout spares wherever it
	// stands in the layer.
	made map[string]bool
	// dirs get their times at the end: making an entry in a directory changes them.
	dirs []*tar.Header
}

// unpackLayer applies an uncompressed layer to the tree. A regular file that exists is
// never written to but replaced, because its inode may belong to another tree, too.
func unpackLayer(ctx context.Context, t *tree, layer io.Reader) error {
	u := &unpacker{tree: t, made: map[string]bool{}}
	r := tar.NewReader(layer)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading archive: %w", err)
		}
		if err := u.apply(h, r); err != nil {
			return fmt.Errorf("writing /%s: %w", inTree(h.Name), bare(err))
		}
	}
	// Padding after the end of the archive is part of what the digest covers.
	_, err := io.Copy(io.Discard, layer)
	return errors.Join(err, u.finish())
}

// bare takes away the operation and the path of an error that names /proc/self/fd.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (u *unpacker) apply(h *tar.Header, content io.Reader) error {
	name := path.Clean("/" + h.Name)
	if name == "/" || h.Typeflag == tar.TypeXGlobalHeader {
		return u.applyRoot(h)
	}
	dir, base, err := u.tree.parent(name)
	if err != nil {
		return err
	}
	defer discardClose(dir)
	switch {
	case base == whiteoutOpaque:
		return u.clear(path.Dir(name))
	case strings.HasPrefix(base, whiteoutMeta):
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		hidden := strings.TrimPrefix(base, whiteoutPrefix)
		if hidden == "" || hidden == "." || hidden == ".." {
			return fmt.Errorf("whiteout of %q", hidden)
		}
		return removeAll(dir, hidden)
	}
	if err := u.makeRoom(dir, base, h); err != nil {
		return err
	}
	u.made[name] = true
	if err := u.create(dir, base, h, content); err != nil {
		return err
	}
	return u.setMetadata(dir, base, h)
}

// applyRoot takes over owner and mode of the root directory.
func (u *unpacker) applyRoot(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return nil
	}
	h.Name = "."
	return u.setMetadata(u.tree.dir, ".", h)
}

// makeRoom removes what exists, except for a directory that stays one.
func (u *unpacker) makeRoom(dir *os.File, base string, h *tar.Header) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	return removeAll(dir, base)
}

func (u *unpacker) create(dir *os.File, base string, h *tar.Header, content io.Reader) error {
	fd := int(dir.Fd())
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(fd, base, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	case tar.TypeReg:
		return createFile(dir, base, content)
	case tar.TypeLink:
		return u.link(dir, base, h.Linkname)
	case tar.TypeSymlink:
		return unix.Symlinkat(h.Linkname, fd, base)
	case tar.TypeFifo:
		return unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		mode := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			mode = unix.S_IFBLK
		}
		dev := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		return unix.Mknodat(fd, base, mode|0o600, int(dev))
	}
	return fmt.Errorf("entry of unknown type %q", h.Typeflag)
}

func createFile(dir *os.File, base string, content io.Reader) error {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), base, flags, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func (u *unpacker) link(dir *os.File, base, target string) error {
	targetDir, targetBase, err := u.tree.parent(target)
	if err != nil {
		return err
	}
	defer discardClose(targetDir)
	if err := unix.Linkat(int(targetDir.Fd()), targetBase, int(dir.Fd()), base, 0); err != nil {
		return fmt.Errorf("linking to %s: %w", target, err)
	}
	return nil
}

// setMetadata sets owner, mode, extended attributes and times, in this order: a
// change of the owner clears set-ID bits and file capabilities.
func (u *unpacker) setMetadata(dir *os.File, base string, h *tar.Header) error {
	if h.Typeflag == tar.TypeLink {
		return nil // of the inode that it links to
	}
	fd := int(dir.Fd())
	if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("changing owner to %d:%d: %w", h.Uid, h.Gid, err)
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(fd, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
	}
	if err := setXattrs(under(dir, base), h.PAXRecords); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		u.dirs = append(u.dirs, h)
		return nil
	}
	return setTimes(dir, base, h.ModTime)
}

func setXattrs(name string, records map[string]string) error {
	const prefix = "SCHILY.xattr."
	for key, value := range records {
		attr, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		err := unix.Lsetxattr(name, attr, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("setting %s: %w", attr, err)
		}
	}
	return nil
}

func setTimes(dir *os.File, base string, mtime time.Time) error {
	ts, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return nil //nolint:nilerr // a time that this machine cannot say is no reason not to run
	}
	return unix.UtimesNanoAt(int(dir.Fd()), base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// clear removes what lower layers have in a directory.
func (u *unpacker) clear(name string) error {
	dir, err := u.tree.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer discardClose(dir)
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		child := path.Join(name, e.Name())
		switch {
		case !u.made[child]:
			err = removeAll(dir, e.Name())
		case e.IsDir():
			err = u.clear(child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) finish() error {
	for _, h := range u.dirs {
		dir, err := u.tree.open(h.Name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // replaced by a later entry of the layer
		}
		if err != nil {
			return err
		}
		err = setTimes(dir, ".", h.ModTime)
		if err := errors.Join(err, dir.Close()); err != nil {
			return fmt.Errorf("setting the time of /%s: %w", inTree(h.Name), err)
		}
	}
	return nil
}
