package tool

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An inode is what stat(2) says of a file, the same on every system.
type inode struct {
	mode                   uint32 // with the type, as S_IFMT has it
	uid, gid               uint32
	dev, rdev, ino, links  uint64
	size, blocks, block    int64 // blocks are of 512 bytes; block is the size of one transfer
	access, change, modify time.Time
}

// lstat and stat read an inode; stat follows symbolic links.
func lstat(path string) (inode, error) { return newInode("lstat", path, unix.Lstat) }
func stat(path string) (inode, error)  { return newInode("stat", path, unix.Stat) }

func newInode(op, path string, call func(string, *unix.Stat_t) error) (inode, error) {
	var st unix.Stat_t
	for {
		err := call(path, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR { //nolint:errorlint // the call returns nothing else
			return inode{}, &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	return inode{
		mode: uint32(wide(st.Mode)), uid: st.Uid, gid: st.Gid,
		dev: wide(st.Dev), rdev: wide(st.Rdev), ino: st.Ino, links: wide(st.Nlink),
		size: st.Size, blocks: st.Blocks, block: int64(wide(st.Blksize)),
		access: time.Unix(st.Atim.Unix()), change: time.Unix(st.Ctim.Unix()), modify: time.Unix(st.Mtim.Unix()),
	}, nil
}

// wide is a number of which systems differ in the size.
func wide[T ~int16 | ~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64](n T) uint64 { return uint64(n) }

func (n inode) kind() uint32      { return n.mode & unix.S_IFMT }
func (n inode) isDir() bool       { return n.kind() == unix.S_IFDIR }
func (n inode) isLink() bool      { return n.kind() == unix.S_IFLNK }
func (n inode) isRegular() bool   { return n.kind() == unix.S_IFREG }
func (n inode) isDevice() bool    { return n.kind() == unix.S_IFCHR || n.kind() == unix.S_IFBLK }
func (n inode) perm() uint32      { return n.mode & 0o7777 }
func (n inode) same(o inode) bool { return n.dev == o.dev && n.ino == o.ino }

// letter is the type as ls -l and find -type (with f for regular) write it.
func (n inode) letter() byte {
	switch n.kind() {
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFLNK:
		return 'l'
	case unix.S_IFCHR:
		return 'c'
	case unix.S_IFBLK:
		return 'b'
	case unix.S_IFIFO:
		return 'p'
	case unix.S_IFSOCK:
		return 's'
	}
	return '-'
}

// word is the type as stat(1) writes it.
func (n inode) word() string {
	switch n.letter() {
	case 'd':
		return "directory"
	case 'l':
		return "symbolic link"
	case 'c':
		return "character special file"
	case 'b':
		return "block special file"
	case 'p':
		return "fifo"
	case 's':
		return "socket"
	}
	if n.size == 0 {
		return "regular empty file"
	}
	return "regular file"
}

// modes is the mode as ls -l writes it.
func (n inode) modes() string {
	const rwx = "rwxrwxrwx"
	b := [10]byte{'-', '-', '-', '-', '-', '-', '-', '-', '-', '-'}
	b[0] = n.letter()
	for i := range rwx {
		if n.mode&(1<<(8-i)) != 0 {
			b[i+1] = rwx[i]
		}
	}
	for _, s := range []struct {
		bit uint32
		at  int
		set byte // with x; a capital without
	}{{unix.S_ISUID, 3, 's'}, {unix.S_ISGID, 6, 's'}, {unix.S_ISVTX, 9, 't'}} {
		switch {
		case n.mode&s.bit == 0:
		case b[s.at] == 'x':
			b[s.at] = s.set
		default:
			b[s.at] = s.set - 'a' + 'A'
		}
	}
	return string(b[:])
}

// fileMode turns permission bits of stat(2) into those of package os.
func fileMode(perm uint32) os.FileMode {
	m := os.FileMode(perm & 0o777)
	for bit, mode := range map[uint32]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid, unix.S_ISVTX: os.ModeSticky} {
		if perm&bit != 0 {
			m |= mode
		}
	}
	return m
}

// An accounts has the names of users and groups, as far as the image has them.
type accounts struct {
	users, groups map[uint32]string
}

func newAccounts() accounts {
	return accounts{namesIn("/etc/passwd"), namesIn("/etc/group")}
}

// namesIn reads the names and numbers of a file like /etc/passwd; without the
// file there are none.
func namesIn(path string) map[uint32]string {
	names := map[uint32]string{}
	f, err := os.Open(path)
	if err != nil {
		return names
	}
	defer closeRead(f)
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Split(s.Text(), ":")
		if len(fields) < 3 {
			continue
		}
		if id, err := strconv.ParseUint(fields[2], 10, 32); err == nil && names[uint32(id)] == "" {
			names[uint32(id)] = fields[0]
		}
	}
	return names
}

// user and group are names, or numbers of which nothing knows a name.
func (a accounts) user(id uint32) string  { return nameOr(a.users, id) }
func (a accounts) group(id uint32) string { return nameOr(a.groups, id) }

func nameOr(names map[uint32]string, id uint32) string {
	if name := names[id]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// number is the other way round; false if there is no such name.
func number(names map[uint32]string, s string) (uint32, bool) {
	for id, name := range names {
		if name == s {
			return id, true
		}
	}
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err == nil
}

// human is a size as ls -h and df -h write it, in powers of 1024, rounded up.
func human(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	units := "KMGTPE"
	div, unit := int64(1024), 0
	for n/div >= 1024 && unit < len(units)-1 {
		div, unit = div*1024, unit+1
	}
	tenths := (n/div)*10 + (n%div*10+div-1)/div
	if tenths >= 100 {
		whole := (n + div - 1) / div
		if whole == 1024 && unit < len(units)-1 {
			return "1.0" + units[unit+1:unit+2]
		}
		return strconv.FormatInt(whole, 10) + units[unit:unit+1]
	}
	return strconv.FormatInt(tenths/10, 10) + "." + strconv.FormatInt(tenths%10, 10) + units[unit:unit+1]
}

// join is filepath.Join for a folder as the user wrote it: what they wrote stays.
func join(dir, name string) string {
	if dir == "" || strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + string(filepath.Separator) + name
}
