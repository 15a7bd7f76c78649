//go:build linux || darwin

package sftp

import (
	"errors"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// path is what the system gets for a client's name. It is not cleaned: a/link/..
// is where the link leads. The process's own directory is not ours to change.
func (s *server) path(name string) string {
	if name == "" || name[0] == '/' {
		return name
	}
	if s.dir == "/" {
		return "/" + name
	}
	return s.dir + "/" + name
}

func statAttributes(st *unix.Stat_t) attributes {
	return attributes{
		flags: attrSize | attrOwner | attrPermissions | attrTimes,
		size:  uint64(st.Size), uid: st.Uid, gid: st.Gid,
		permissions: uint32(st.Mode), //nolint:unconvert // differs between systems
		atime:       seconds(st.Atim.Unix()), mtime: seconds(st.Mtim.Unix()),
	}
}

// seconds is a time as the protocol has it, up to 2106.
func seconds(sec, _ int64) uint32 { return uint32(max(0, min(sec, math.MaxUint32))) }

func (s *server) stat(name string, follow bool) job {
	return job{order: looks, run: func(m *message) error {
		call := unix.Lstat
		if follow {
			call = unix.Stat
		}
		var st unix.Stat_t
		if _, err := retry(func() (int, error) { return 0, call(s.path(name), &st) }); err != nil {
			return err
		}
		m.is(fxpAttrs)
		m.attributes(statAttributes(&st))
		return nil
	}}
}

// setters set attributes of one file.
type setters struct {
	size  func(int64) error
	owner func(uid, gid int) error
	mode  func(uint32) error
	times func(atime, mtime unix.Timespec) error
}

// apply sets what a names. The rest is tried after an error, too, and the first
// is returned: a user who may not give files away still wants their times. The
// order is such that none undoes another: a new owner clears the set-user-id
// bit, and a new size is a new time.
func apply(a attributes, set setters) error {
	var errs []error
	try := func(flag uint32, call func() error) {
		if a.flags&flag == 0 {
			return
		}
		if _, err := retry(func() (int, error) { return 0, call() }); err != nil {
			errs = append(errs, err)
		}
	}
	try(attrSize, func() error {
		size, err := offset(a.size, 0)
		if err != nil {
			return err
		}
		return set.size(size)
	})
	try(attrOwner, func() error { return set.owner(int(int32(a.uid)), int(int32(a.gid))) })
	try(attrPermissions, func() error { return set.mode(a.permissions & 0o7777) })
	try(attrTimes, func() error {
		return set.times(unix.Timespec{Sec: int64(a.atime)}, unix.Timespec{Sec: int64(a.mtime)})
	})
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

// setstat sets attributes of a file, or of a link itself.
func (s *server) setstat(name string, a attributes, follow bool) job {
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	return job{order: barrier, run: func(*message) error {
		path := s.path(name)
		return apply(a, setters{
			size: func(size int64) error {
				if !follow {
					return syscall.EINVAL // links have none
				}
				return unix.Truncate(path, size)
			},
			owner: func(uid, gid int) error { return unix.Fchownat(unix.AT_FDCWD, path, uid, gid, flags) },
			mode: func(mode uint32) error {
				if follow {
					return unix.Chmod(path, mode)
				}
				return lchmod(path, mode)
			},
			times: func(atime, mtime unix.Timespec) error {
				return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{atime, mtime}, flags)
			},
		})
	}}
}

// lchmod changes the mode of what is no link. For links, few systems can.
func lchmod(path string, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.Fchmodat(unix.AT_FDCWD, path, mode, unix.AT_SYMLINK_NOFOLLOW)
	}
	return unix.Chmod(path, mode)
}

// change is a job that changes names.
func change(call func() error) job {
	return job{order: barrier, run: func(*message) error {
		_, err := retry(func() (int, error) { return 0, call() })
		return err
	}}
}

func (s *server) remove(name string) job {
	return change(func() error { return unix.Unlink(s.path(name)) })
}

func (s *server) mkdir(name string, a attributes) job {
	return change(func() error { return unix.Mkdir(s.path(name), a.mode(0o777)) })
}

func (s *server) rmdir(name string) job {
	return change(func() error { return unix.Rmdir(s.path(name)) })
}

// symlink makes a link; the target stays as given, relative to the link.
func (s *server) symlink(target, name string) job {
	return change(func() error { return unix.Symlink(target, s.path(name)) })
}

func (s *server) link(existing, name string) job {
	return change(func() error { return unix.Link(s.path(existing), s.path(name)) })
}

// rename renames; only if replace is set may the new name exist.
func (s *server) rename(from, to string, replace bool) job {
	return change(func() error {
		if replace {
			return unix.Rename(s.path(from), s.path(to))
		}
		err := renameNew(s.path(from), s.path(to))
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
			return renameChecked(s.path(from), s.path(to))
		}
		return err
	})
}

// renameChecked is for file systems that cannot check and rename at once.
func renameChecked(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	switch err := unix.Lstat(to, &st); {
	case err == nil:
		return syscall.EEXIST
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	return unix.Rename(from, to)
}

func (s *server) readlink(name string) job {
	return job{order: looks, run: func(m *message) error {
		target, err := readlink(s.path(name))
		if err != nil {
			return err
		}
		m.name(target)
		return nil
	}}
}

func readlink(path string) (string, error) {
	buf := make([]byte, maxPath)
	n, err := retry(func() (int, error) { return unix.Readlink(path, buf) })
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func (s *server) statvfs(name string) job {
	return job{order: looks, run: func(m *message) error {
		var st unix.Statfs_t
		if _, err := retry(func() (int, error) { return 0, unix.Statfs(s.path(name), &st) }); err != nil {
			return err
		}
		m.space(spaceOf(&st))
		return nil
	}}
}

func fstatvfs(h *handle) job {
	return onFile(h, reads, func(m *message) error {
		var st unix.Statfs_t
		if _, err := retry(func() (int, error) { return 0, unix.Fstatfs(h.fd, &st) }); err != nil {
			return err
		}
		m.space(spaceOf(&st))
		return nil
	})
}

// space is the reply to statvfs, in its order.
type space struct {
	block, fragment                        uint64 // bytes
	blocks, free, available                uint64 // fragments
	files, filesFree, filesAvailable, fsid uint64
	readOnly, noSetuid                     bool
	nameMax                                uint64
}

func (m *message) space(v space) {
	m.is(fxpExtendedReply)
	flags := uint64(0)
	if v.readOnly {
		flags |= 1
	}
	if v.noSetuid {
		flags |= 2
	}
	for _, n := range []uint64{v.block, v.fragment, v.blocks, v.free, v.available, v.files, v.filesFree, v.filesAvailable, v.fsid, flags, v.nameMax} {
		m.uint64(n)
	}
}
