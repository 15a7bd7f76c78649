//go:build linux || darwin

package sftp

import (
	"io"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// How to open, section 6.3.
const (
	openRead   = 1
	openWrite  = 2
	openAppend = 4
	openCreate = 8
	openTrunc  = 16
	openExcl   = 32
)

// openFlags are the system's flags. Nothing may hang in open, as pipes do that
// nobody has at the other end, and a terminal must not become the agent's.
func openFlags(flags uint32) int {
	f := unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	switch flags & (openRead | openWrite) {
	case openRead | openWrite:
		f |= unix.O_RDWR
	case openWrite:
		f |= unix.O_WRONLY
	}
	for _, o := range []struct {
		asked uint32
		flag  int
	}{{openAppend, unix.O_APPEND}, {openCreate, unix.O_CREAT}, {openTrunc, unix.O_TRUNC}, {openExcl, unix.O_EXCL}} {
		if flags&o.asked != 0 {
			f |= o.flag
		}
	}
	return f
}

func (s *server) openFile(name string, flags uint32, a attributes) job {
	j := job{order: looks}
	if flags&(openCreate|openTrunc) != 0 {
		j.order = barrier
	}
	j.run = func(m *message) error {
		if s.handles.full() {
			return errHandles // before anything is made or truncated
		}
		fd, err := retry(func() (int, error) { return unix.Open(s.path(name), openFlags(flags), a.mode(0o666)) })
		if err != nil {
			return err
		}
		h := &handle{fd: fd, name: name, append: flags&openAppend != 0}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil {
			h.device, h.inode = uint64(st.Dev), st.Ino //nolint:unconvert // Dev differs between systems
		}
		return s.handles.add(h, m)
	}
	return j
}

func (s *server) closeHandle(h *handle) job {
	if h == nil {
		return job{run: refuse(errHandle)}
	}
	j := job{order: changes, files: [2]*handle{h}}
	if h.dir != nil {
		j.order = lists
	}
	j.run = func(*message) error { return s.handles.remove(h) }
	return j
}

// onFile is a job on an open file.
func onFile(h *handle, o order, run func(*message) error) job {
	if h == nil {
		return job{run: refuse(errHandle)}
	}
	if h.dir != nil {
		return job{run: refuse(errNotFile)}
	}
	return job{order: o, files: [2]*handle{h}, run: func(m *message) error {
		if h.closed {
			return errHandle
		}
		return run(m)
	}}
}

// offset checks that the system takes a position.
func offset(at, length uint64) (int64, error) {
	if at > math.MaxInt64-length {
		return 0, syscall.EINVAL
	}
	return int64(at), nil
}

func (s *server) readFile(h *handle, at uint64, length uint32) job {
	length = min(length, maxData)
	j := onFile(h, reads, func(m *message) error {
		off, err := offset(at, uint64(length))
		if err != nil {
			return err
		}
		const head = 4 + 1 + 4 + 4
		id := m.buf[5:9]
		buf := s.buffers.get(head + int(length))
		n, err := retry(func() (int, error) { return unix.Pread(h.fd, buf[head:], off) })
		if err == nil && n == 0 && length > 0 {
			err = errEOF
		}
		if err != nil {
			s.buffers.put(buf)
			return err
		}
		m.buf = append(append(buf[:4], fxpData), id...)
		m.uint32(uint32(n))
		m.buf = m.buf[:head+n]
		return nil
	})
	j.offset, j.length, j.weight = at, uint64(length), int(length)
	return j
}

func (s *server) writeFile(h *handle, at uint64, data []byte) job {
	j := onFile(h, changes, func(*message) error {
		off, err := offset(at, uint64(len(data)))
		if err != nil {
			return err
		}
		return h.write(data, off)
	})
	j.weight = len(data)
	return j
}

// write writes all of the data: a file system that is nearly full takes a part
// and tells why only when asked for more.
func (h *handle) write(data []byte, at int64) error {
	for len(data) > 0 {
		n, err := retry(func() (int, error) {
			if h.append {
				return unix.Write(h.fd, data)
			}
			return unix.Pwrite(h.fd, data, at)
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

func fstat(h *handle) job {
	run := func(m *message) error {
		var st unix.Stat_t
		if err := unix.Fstat(h.fd, &st); err != nil {
			return err
		}
		m.is(fxpAttrs)
		m.attributes(statAttributes(&st))
		return nil
	}
	return onFile(h, reads, run)
}

func fsetstat(h *handle, a attributes) job {
	return onFile(h, changes, func(*message) error {
		return apply(a, setters{
			size:  func(size int64) error { return unix.Ftruncate(h.fd, size) },
			owner: func(uid, gid int) error { return unix.Fchown(h.fd, uid, gid) },
			mode:  func(mode uint32) error { return unix.Fchmod(h.fd, mode) },
			times: func(atime, mtime unix.Timespec) error { return setTimes(h.fd, atime, mtime) },
		})
	})
}

func fsync(h *handle) job {
	return onFile(h, changes, func(*message) error {
		_, err := retry(func() (int, error) { return 0, unix.Fsync(h.fd) })
		return err
	})
}

// A copying is what copy-data asks for; a length of 0 means to the end.
type copying struct {
	from, to             *handle
	fromOffset, toOffset uint64
	length               uint64
}

func (s *server) copyData(c copying) job {
	switch {
	case c.from == nil || c.to == nil:
		return job{run: refuse(errHandle)}
	case c.from.dir != nil || c.to.dir != nil:
		return job{run: refuse(errNotFile)}
	}
	return job{order: changes, files: [2]*handle{c.from, c.to}, run: func(*message) error {
		if c.from.closed || c.to.closed {
			return errHandle
		}
		if c.from.sameFile(c.to) {
			return status{fxFailure, "A file cannot be copied onto itself"}
		}
		return s.copy(c)
	}}
}

func (s *server) copy(c copying) error {
	toEnd := c.length == 0
	if toEnd {
		c.length = math.MaxInt64
	}
	buf := s.buffers.get(maxData)
	defer s.buffers.put(buf)
	for c.length > 0 {
		if s.gone.Load() { // and files can be endless
			return status{fxFailure, "The connection is gone"}
		}
		piece := buf[:min(uint64(len(buf)), c.length)]
		from, err := offset(c.fromOffset, uint64(len(piece)))
		if err != nil {
			return err
		}
		to, err := offset(c.toOffset, uint64(len(piece)))
		if err != nil {
			return err
		}
		n, err := retry(func() (int, error) { return unix.Pread(c.from.fd, piece, from) })
		if err == nil && n == 0 && !toEnd {
			err = errEOF
		}
		if err == nil && n > 0 {
			err = c.to.write(piece[:n], to)
		}
		if err != nil || n == 0 {
			return err
		}
		c.fromOffset, c.toOffset, c.length = c.fromOffset+uint64(n), c.toOffset+uint64(n), c.length-uint64(n)
	}
	return nil
}

// retry calls again what a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR { //nolint:errorlint // the system calls return it as it is
			return n, err
		}
	}
}

// openDir opens a directory for reading; what is no directory fails.
func (s *server) openDir(name string) job {
	return job{order: looks, run: func(m *message) error {
		if s.handles.full() {
			return errHandles
		}
		fd, err := retry(func() (int, error) {
			return unix.Open(s.path(name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		})
		if err != nil {
			return err
		}
		return s.handles.add(&handle{dir: os.NewFile(uintptr(fd), name), name: name}, m)
	}}
}
