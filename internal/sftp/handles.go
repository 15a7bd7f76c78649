//go:build linux || darwin

package sftp

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A handle is an open file or directory. Its fields are set before the client
// hears of it; what is guarded says so.
type handle struct {
	fd     int      // of a file
	dir    *os.File // of a directory, else nil
	name   string   // as opened
	append bool     // writes go to the end, wherever the client wants them
	device uint64
	inode  uint64 // 0: not known
	number uint32

	// Only a job that is alone with the file looks at these.
	closed bool
	list   listing
}

// sameFile reports whether what is done to one handle shows in the other.
func (h *handle) sameFile(o *handle) bool {
	return h == o || h.inode != 0 && h.inode == o.inode && h.device == o.device && h.dir == nil && o.dir == nil
}

func (h *handle) close() error {
	h.closed = true
	if h.dir != nil {
		return h.dir.Close()
	}
	return unix.Close(h.fd)
}

// The most files one session may have open, if the process may have eight
// times as many: others live in it, too.
const maxHandles = 1024

// handleLimit is how many files a session may have open.
func handleLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur/8 >= maxHandles {
		return maxHandles
	}
	return max(int(limit.Cur/8), 16)
}

// handles are the handles of a session. Numbers are not used again, so that a
// client that confuses them does not get another's file.
type handles struct {
	limit int

	mu   sync.Mutex
	open map[uint32]*handle
	last uint32
}

var (
	errHandle   = status{fxFailure, "Not an open handle"}
	errHandles  = status{fxFailure, "Too many open files in this session"}
	errNotFile  = status{fxFailure, "Not a file's handle"}
	errNotDir   = status{fxFailure, "Not a directory's handle"}
	errEOF      = status{fxEOF, "End of file"}
	errTooLarge = status{fxFailure, "The answer is too long"}
)

// full reports whether no more may be opened.
func (h *handles) full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open) >= h.limit
}

// add takes a handle on and answers with its number; if there are too many, it
// closes it.
func (h *handles) add(f *handle, m *message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) >= h.limit {
		f.close() //nolint:errcheck // nothing was done with it
		return errHandles
	}
	if h.open == nil {
		h.open = map[uint32]*handle{}
	}
	for h.last++; h.open[h.last] != nil; h.last++ { // after four thousand million of them
	}
	f.number = h.last
	h.open[h.last] = f
	m.is(fxpHandle)
	m.uint32(4)
	m.uint32(h.last)
	return nil
}

// find is the handle that a client names, nil if there is none.
func (h *handles) find(name []byte) *handle {
	if len(name) != 4 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[binary.BigEndian.Uint32(name)]
}

// remove closes a handle.
func (h *handles) remove(f *handle) error {
	if f.closed {
		return errHandle
	}
	h.mu.Lock()
	delete(h.open, f.number)
	h.mu.Unlock()
	return f.close()
}

// closeAll closes all handles and says how many there were.
func (h *handles) closeAll() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.open)
	for _, f := range h.open {
		f.close() //nolint:errcheck // the client did not stay to hear
	}
	clear(h.open)
	return n
}
