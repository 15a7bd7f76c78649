package scp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// serveSource sends files.
func (l *link) serveSource(names []string) error {
	// The client's first word is that it is there.
	if _, err := l.response(); err != nil {
		return err
	}
	for _, name := range names {
		if trimmed := strings.TrimRight(name, "/"); trimmed != "" {
			name = trimmed
		}
		if err := l.send(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// send sends a file, or a directory with all that is in it. An error is the end
// of the transfer; what cannot be sent is told to the client.
func (l *link) send(name string, above []fs.FileInfo) error {
	// Asked first: opening some devices does things. Links are followed.
	info, err := os.Stat(l.path(name))
	if err != nil {
		return l.warn(name, err)
	}
	switch {
	case info.IsDir() && l.recursive:
	case !info.Mode().IsRegular():
		return l.message(1, name+": not a regular file")
	}
	f, err := os.OpenFile(l.path(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return l.warn(name, err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	if info.IsDir() {
		return l.sendDirectory(name, f, info, above)
	}
	return l.sendFile(name, f)
}

func (l *link) sendFile(name string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return l.warn(name, err)
	}
	size := info.Size()
	if ok, err := l.announce('C', size, name, info); !ok {
		return err
	}
	failure, err := l.sendContent(f, size)
	if err != nil {
		return err
	}
	if failure != nil {
		err = l.warn(name, failure)
	} else {
		err = l.answer()
	}
	if err != nil {
		return err
	}
	_, err = l.response()
	return err
}

// sendContent sends as many bytes as were announced, whatever happens, so that
// the sides stay in step. failure is why they are not the file's.
func (l *link) sendContent(f io.Reader, size int64) (failure, err error) {
	for size > 0 {
		chunk := l.buf[:min(int64(len(l.buf)), size)]
		if failure == nil {
			var n int
			n, failure = io.ReadFull(f, chunk)
			if errors.Is(failure, io.EOF) || errors.Is(failure, io.ErrUnexpectedEOF) {
				failure = errors.New("it became shorter while it was read")
			}
			if failure != nil {
				clear(chunk[n:])
			}
		} else {
			clear(chunk)
		}
		if _, err := l.out.Write(chunk); err != nil {
			return nil, errLost
		}
		size -= int64(len(chunk))
	}
	return failure, nil
}

// announce sends the lines before a file's or directory's content. ok is false
// if the client does not want it.
func (l *link) announce(kind byte, size int64, name string, info fs.FileInfo) (ok bool, err error) {
	if l.preserve {
		mtime, atime := max(info.ModTime().Unix(), 0), max(accessTime(info).Unix(), 0)
		if ok, err := l.line(fmt.Sprintf("T%d 0 %d 0", mtime, atime)); !ok {
			return false, err
		}
	}
	return l.line(fmt.Sprintf("%c%04o %d %s", kind, modeBits(info.Mode())&0o6777, size, base(name)))
}

func (l *link) line(text string) (ok bool, err error) {
	l.log("Sending file modes: %s", text)
	l.out.WriteString(text + "\n") //nolint:errcheck // bufio keeps the error for Flush
	if l.out.Flush() != nil {
		return false, errLost
	}
	return l.response()
}

// sendDirectory sends a directory. above are those that it lies in: a link back
// to one of them would have no end.
func (l *link) sendDirectory(name string, f *os.File, info fs.FileInfo, above []fs.FileInfo) error {
	for _, one := range above {
		if os.SameFile(one, info) {
			return l.message(1, name+": it is a link to a directory it lies in, and not followed")
		}
	}
	if ok, err := l.announce('D', 0, name, info); !ok {
		return err
	}
	above = append(above, info)
	for {
		entries, err := f.Readdirnames(256)
		for _, entry := range entries {
			if err := l.send(strings.TrimSuffix(name, "/")+"/"+entry, above); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if err := l.warn(name, err); err != nil {
				return err
			}
			break
		}
	}
	_, err := l.line("E")
	return err
}

// modeBits are the bits that chmod knows.
func modeBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for i, flag := range [...]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if mode&flag != 0 {
			bits |= 0o1000 << i
		}
	}
	return bits
}

// fileMode is the opposite of modeBits.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	for i, flag := range [...]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if bits&(0o1000<<i) != 0 {
			mode |= flag
		}
	}
	return mode
}

// reason is an error as other implementations of scp word it: the system's
// sentence, without the name, which stands before it.
func reason(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
