package tool

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// statLong is what stat shows without a format.
func (f *finder) statLong(name string, n inode) {
	title := name
	if n.isLink() {
		title += " -> " + f.target(&visit{path: name})
	}
	const layout = "2006-01-02 15:04:05.000000000 -0700"
	at := zone(f.c)
	f.out.printf("  File: %s\n  Size: %-10d\tBlocks: %-10d IO Block: %-6d %s\n", title, n.size, n.blocks, n.block, n.word())
	f.out.printf("Device: %d,%d\tInode: %-11d Links: %d", unix.Major(n.dev), unix.Minor(n.dev), n.ino, n.links)
	if n.isDevice() {
		f.out.printf("     Device type: %d,%d", unix.Major(n.rdev), unix.Minor(n.rdev))
	}
	f.out.printf("\nAccess: (%04o/%s)  Uid: (%5d/%8s)   Gid: (%5d/%8s)\n", n.perm(), n.modes(), n.uid, unknownOr(f.accounts.users, n.uid),
		n.gid, unknownOr(f.accounts.groups, n.gid))
	f.out.printf("Access: %s\nModify: %s\nChange: %s\n", n.access.In(at).Format(layout), n.modify.In(at).Format(layout), n.change.In(at).Format(layout))
}

func unknownOr(names map[uint32]string, id uint32) string {
	if name := names[id]; name != "" {
		return name
	}
	return "UNKNOWN"
}

// statFormat is stat -c.
func (f *finder) statFormat(format, name string, n inode) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		switch {
		case format[i] == '%' && i+1 < len(format):
			i++
			b.WriteString(f.statField(format[i], name, n))
		case format[i] == '\\' && i+1 < len(format) && (format[i+1] == 'n' || format[i+1] == 't'):
			i++
			b.WriteByte(map[byte]byte{'n': '\n', 't': '\t'}[format[i]])
		default:
			b.WriteByte(format[i])
		}
	}
	return b.String()
}

func (f *finder) statField(field byte, name string, n inode) string {
	const layout = "2006-01-02 15:04:05.000000000 -0700"
	at := zone(f.c)
	numbers := map[byte]int64{
		's': n.size, 'b': n.blocks, 'o': n.block, 'u': int64(n.uid), 'g': int64(n.gid), 'i': int64(n.ino), 'h': int64(n.links),
		'd': int64(n.dev), 'B': 512, 'X': n.access.Unix(), 'Y': n.modify.Unix(), 'Z': n.change.Unix(), 'W': 0,
	}
	if v, ok := numbers[field]; ok {
		return strconv.FormatInt(v, 10)
	}
	switch field {
	case '%':
		return "%"
	case 'n':
		return name
	case 'N':
		if n.isLink() {
			return "'" + name + "' -> '" + f.target(&visit{path: name}) + "'"
		}
		return "'" + name + "'"
	case 'a':
		return strconv.FormatUint(uint64(n.perm()), 8)
	case 'A':
		return n.modes()
	case 'f':
		return strconv.FormatUint(uint64(n.mode), 16)
	case 'F':
		return n.word()
	case 'U':
		return unknownOr(f.accounts.users, n.uid)
	case 'G':
		return unknownOr(f.accounts.groups, n.gid)
	case 't':
		return fmt.Sprintf("%x", unix.Major(n.rdev))
	case 'T':
		return fmt.Sprintf("%x", unix.Minor(n.rdev))
	case 'x':
		return n.access.In(at).Format(layout)
	case 'y':
		return n.modify.In(at).Format(layout)
	case 'z':
		return n.change.In(at).Format(layout)
	}
	return "?"
}
