//go:build linux || darwin

package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxListing is how long a reply with names becomes: what any client takes. One
// more name can exceed it by less than a kilobyte.
const maxListing = 32 << 10

// A listing is how far a directory was read.
type listing struct {
	begun bool
	names []string // read and not yet sent
	end   bool
}

// next is the next name, empty at the end: first the two that Go leaves out.
func (h *handle) next() (string, error) {
	l := &h.list
	if !l.begun {
		l.begun, l.names = true, []string{".", ".."}
	}
	if len(l.names) == 0 && !l.end {
		var err error
		l.names, err = h.dir.Readdirnames(256)
		if errors.Is(err, io.EOF) {
			l.end, err = true, nil
		}
		if err != nil {
			return "", err
		}
	}
	if len(l.names) == 0 {
		return "", nil
	}
	name := l.names[0]
	l.names = l.names[1:]
	return name, nil
}

func (s *server) readDir(h *handle) job {
	if h == nil {
		return job{run: refuse(errHandle)}
	}
	if h.dir == nil {
		return job{run: refuse(errNotDir)}
	}
	return job{order: lists, files: [2]*handle{h}, weight: maxListing, run: func(m *message) error {
		if h.closed {
			return errHandle
		}
		return s.list(h, m)
	}}
}

// list answers with the next names of a directory.
func (s *server) list(h *handle, m *message) error {
	user, group := s.accounts.look()
	now := time.Now()
	fd := int(h.dir.Fd())
	m.buf = append(s.buffers.get(maxListing + 1<<10)[:0], m.buf...)
	m.is(fxpName)
	at, count := len(m.buf), uint32(0)
	m.uint32(0)
	for len(m.buf) < maxListing-1<<10 {
		name, err := h.next()
		if err != nil && count == 0 {
			return err
		}
		if err != nil || name == "" {
			break // an error comes again with the next request
		}
		var st unix.Stat_t
		_, err = retry(func() (int, error) { return 0, unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		if errors.Is(err, syscall.ENOENT) {
			continue // it was removed since
		}
		a := attributes{}
		if err == nil {
			a = statAttributes(&st)
		}
		m.string(name)
		m.string(longname(name, &st, user, group, now))
		m.attributes(a)
		count++
	}
	if count == 0 {
		return errEOF
	}
	binary.BigEndian.PutUint32(m.buf[at:], count)
	return nil
}

// longname is a line of `ls -l`: clients print it, and some take it apart.
func longname(name string, st *unix.Stat_t, user, group func(uint32) string, now time.Time) string {
	owner, team := user(st.Uid), group(st.Gid)
	if owner == "" {
		owner = strconv.FormatUint(uint64(st.Uid), 10)
	}
	if team == "" {
		team = strconv.FormatUint(uint64(st.Gid), 10)
	}
	modified := time.Unix(st.Mtim.Unix())
	date := modified.Format("Jan _2 15:04")
	// As ls: the year instead of the time after half a year, and for what
	// comes from the future.
	if modified.After(now) || modified.Before(now.Add(-365*24*time.Hour/2)) {
		date = modified.Format("Jan _2  2006")
	}
	return fmt.Sprintf("%s %3d %-8s %-8s %8d %s %s", modeString(uint32(st.Mode)), st.Nlink, owner, team, st.Size, date, name) //nolint:unconvert // Mode differs between systems
}

// modeString is a mode as ls prints it.
func modeString(mode uint32) string {
	kind := byte('?')
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		kind = '-'
	case unix.S_IFDIR:
		kind = 'd'
	case unix.S_IFLNK:
		kind = 'l'
	case unix.S_IFIFO:
		kind = 'p'
	case unix.S_IFSOCK:
		kind = 's'
	case unix.S_IFBLK:
		kind = 'b'
	case unix.S_IFCHR:
		kind = 'c'
	}
	s := []byte{kind, 'r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			s[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit       uint32
		at        int
		with, alt byte
	}{{unix.S_ISUID, 3, 's', 'S'}, {unix.S_ISGID, 6, 's', 'S'}, {unix.S_ISVTX, 9, 't', 'T'}} {
		if mode&special.bit == 0 {
			continue
		}
		if s[special.at] == 'x' {
			s[special.at] = special.with
		} else {
			s[special.at] = special.alt
		}
	}
	return string(s)
}
