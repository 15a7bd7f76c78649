package tool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parseMode applies a mode such as 755, u+x,go-w or a=rX to the bits of a file.
func parseMode(s string, mode uint32, dir bool, umask uint32) (uint32, error) {
	if n, err := strconv.ParseUint(s, 8, 32); err == nil && n <= 0o7777 {
		return uint32(n), nil
	}
	bad := errors.New("not a mode, such as 755 or u+x,go-w")
	for _, clause := range strings.Split(s, ",") {
		at := strings.IndexAny(clause, "+-=")
		mask, ok := whose(clause[:max(at, 0)], umask)
		if at < 0 || !ok {
			return 0, bad
		}
		for rest := clause[at:]; rest != ""; {
			op := rest[0]
			end := 1 + strings.IndexAny(rest[1:], "+-=")
			if end == 0 {
				end = len(rest)
			}
			bits, ok := modeBits(rest[1:end], mode, dir)
			if !ok || strings.IndexByte("+-=", op) < 0 {
				return 0, bad
			}
			rest = rest[end:]
			switch bits &= mask; op {
			case '+':
				mode |= bits
			case '-':
				mode &^= bits
			case '=':
				keep := uint32(0)
				if dir { // a folder keeps these, as with coreutils
					keep = mode & 0o6000
				}
				mode = mode&^mask | bits | keep
			}
		}
	}
	return mode, nil
}

// whose are the bits of u, g, o and a; of nobody, all but the umask.
func whose(who string, umask uint32) (mask uint32, ok bool) {
	for _, w := range who {
		bits, ok := map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o1007, 'a': 0o7777}[w]
		if !ok {
			return 0, false
		}
		mask |= bits
	}
	if who == "" {
		mask = 0o7777 &^ umask
	}
	return mask, true
}

// modeBits are those of letters such as rwX, or of u, g or o now, for everybody.
func modeBits(letters string, mode uint32, dir bool) (uint32, bool) {
	var bits uint32
	for _, l := range letters {
		switch l {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if dir || mode&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		case 'u':
			bits |= mode >> 6 & 7 * 0o111
		case 'g':
			bits |= mode >> 3 & 7 * 0o111
		case 'o':
			bits |= mode & 7 * 0o111
		default:
			return 0, false
		}
	}
	return bits, true
}

// umask is the one of the process, read without changing it.
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o022
	}
	_, after, _ := strings.Cut(string(status), "\nUmask:")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseUint(strings.TrimSpace(line), 8, 32)
	if err != nil {
		return 0o022
	}
	return uint32(n)
}

// below calls f with each named file, and with all below it if recursive. It
// complains about what cannot be read or what f returns.
func (c *Context) below(names []string, recursive bool, f func(name, path string) error) (status int) {
	for _, name := range names {
		path := c.Path(name)
		if !recursive {
			if err := f(name, path); err != nil {
				status = c.fail(name, err)
			}
			continue
		}
		err := filepath.WalkDir(path, func(at string, _ fs.DirEntry, err error) error {
			if c.Err() != nil {
				return fs.SkipAll
			}
			shown := name + strings.TrimPrefix(at, path)
			if err == nil {
				err = f(shown, at)
			}
			if err != nil {
				status = c.fail(shown, err)
			}
			return nil
		})
		if err != nil {
			status = c.fail(name, err)
		}
	}
	return status
}

func chmod(c *Context) int {
	// A mode such as -x looks like a flag: what is none is taken for the mode.
	if args := c.Args; len(args) > 1 && len(args[1]) > 1 && args[1][0] == '-' && strings.Trim(args[1][1:], "rwxXstugo,+-=") == "" {
		n := *c
		n.Args = append([]string{args[0], "--"}, args[1:]...)
		c = &n
	}
	o, ok := c.parse("Rvcf1:", "recursive=R", "verbose=v", "silent=f", "quiet=f", "reference=1")
	if !ok {
		return 2
	}
	names, mode := o.operands, ""
	if o.has("1") {
		like, err := stat(c.Path(o.value('1')))
		if err != nil {
			return c.fail(o.value('1'), err)
		}
		mode = strconv.FormatUint(uint64(like.perm()), 8)
	} else if len(names) > 0 {
		mode, names = names[0], names[1:]
	}
	if len(names) == 0 {
		return c.Usage("a mode and a file are needed")
	}
	mask := umask()
	if _, err := parseMode(mode, 0, false, mask); err != nil {
		return c.fail(mode, err)
	}
	return c.below(names, o.has("R"), func(_, path string) error {
		n, err := lstat(path)
		if err == nil && n.isLink() {
			if o.has("R") {
				return nil
			}
			n, err = stat(path)
		}
		if err != nil {
			return err
		}
		perm, err := parseMode(mode, n.perm(), n.isDir(), mask)
		if err != nil {
			return err
		}
		return os.Chmod(path, fileMode(perm))
	})
}

func chown(c *Context) int {
	o, ok := c.parse("Rhvcf1:", "recursive=R", "no-dereference=h", "reference=1")
	if !ok {
		return 2
	}
	names, uid, gid := o.operands, -1, -1
	if o.has("1") {
		like, err := stat(c.Path(o.value('1')))
		if err != nil {
			return c.fail(o.value('1'), err)
		}
		uid, gid = int(like.uid), int(like.gid)
	} else if len(names) > 0 {
		var err error
		if uid, gid, err = parseOwner(names[0], c.Args[0] == "chgrp"); err != nil {
			return c.fail(names[0], err)
		}
		names = names[1:]
	}
	if len(names) == 0 {
		return c.Usage("an owner and a file are needed")
	}
	return c.below(names, o.has("R"), func(_, path string) error {
		if o.has("hR") {
			return os.Lchown(path, uid, gid)
		}
		return os.Chown(path, uid, gid)
	})
}

// parseOwner reads user, user:group, :group, or for chgrp a group.
func parseOwner(s string, group bool) (uid, gid int, err error) {
	a := newAccounts()
	uid, gid = -1, -1
	user, of, both := strings.Cut(s, ":")
	if group {
		user, of, both = "", s, true
	}
	if user != "" {
		id, ok := number(a.users, user)
		if !ok {
			return 0, 0, errors.New("nobody of that name")
		}
		uid = int(id)
	}
	if both && of != "" {
		id, ok := number(a.groups, of)
		if !ok {
			return 0, 0, errors.New("no group of that name")
		}
		gid = int(id)
	}
	return uid, gid, nil
}

func touch(c *Context) int {
	o, ok := c.parse("acmd:r:t:h", "no-create=c", "date=d", "reference=r", "no-dereference=h")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a file is needed")
	}
	at, mt, err := touchTimes(c, o)
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	return c.below(o.operands, false, func(_, path string) error {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			if o.has("c") {
				return nil
			}
			f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666) //nolint:gosec // less the umask, as with any file
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		now, err := lstat(path)
		if err != nil {
			return err
		}
		times := []unix.Timespec{unixTime(at), unixTime(mt)}
		if o.has("m") && !o.has("a") {
			times[0] = unixTime(now.access)
		}
		if o.has("a") && !o.has("m") {
			times[1] = unixTime(now.modify)
		}
		flags := 0
		if o.has("h") {
			flags = unix.AT_SYMLINK_NOFOLLOW
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, flags)
	})
}

func unixTime(t time.Time) unix.Timespec { return unix.NsecToTimespec(t.UnixNano()) }

// touchTimes are the times that files get: of access, of modification.
func touchTimes(c *Context, o options) (at, mt time.Time, err error) {
	now := time.Now()
	switch {
	case o.has("r"):
		n, err := stat(c.Path(o.value('r')))
		return n.access, n.modify, err
	case o.has("t"):
		text := o.value('t') // [[CC]YY]MMDDhhmm[.ss]
		text, seconds, _ := strings.Cut(text, ".")
		layout := map[int]string{8: "01021504", 10: "0601021504", 12: "200601021504"}[len(text)]
		t, err := time.ParseInLocation(layout+"05", text+(seconds + "00")[:2], zone(c))
		if len(text) == 8 {
			t = t.AddDate(now.Year(), 0, 0)
		}
		if err != nil || layout == "" {
			err = errors.New("not a time of the form [[CC]YY]MMDDhhmm[.ss]")
		}
		return t, t, err
	case o.has("d"):
		t, err := parseDate(o.value('d'), now, zone(c))
		return t, t, err
	}
	return now, now, nil
}
