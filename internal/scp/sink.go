package scp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// serveSink receives files.
func (l *link) serveSink(names []string) error {
	if len(names) != 1 {
		return fatal("ambiguous target")
	}
	target := names[0]
	if l.directory {
		info, err := os.Stat(l.path(target))
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return fatal("%s: %s", target, reason(err))
		}
	}
	return l.receive(target, true)
}

// receive takes what is sent into target: into it, if it is a directory, else in
// its place. It returns at the end of the directory, or of the transfer.
func (l *link) receive(target string, outermost bool) error {
	if err := l.answer(); err != nil {
		return errLost
	}
	info, err := os.Stat(l.path(target))
	isDir := err == nil && info.IsDir()
	var times record // of what comes next, if its kind is T
	for {
		r, err := l.record(outermost)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		name := target
		if isDir {
			name = strings.TrimSuffix(target, "/") + "/" + r.name
		}
		switch r.kind {
		case 1: // could not be sent
			l.failed = true
			continue
		case 2:
			return errLost
		case 'E':
			return l.answer()
		case 'T':
			times = r
			if err := l.answer(); err != nil {
				return err
			}
			continue
		case 'D':
			err = l.receiveDirectory(name, r, times)
		case 'C':
			err = l.receiveFile(name, r, times)
		}
		if err != nil {
			return err
		}
		times = record{}
	}
}

// record reads a control line; io.EOF is the client's end, which is one only
// outside of all directories.
func (l *link) record(outermost bool) (record, error) {
	if _, err := l.in.Peek(1); err != nil {
		if outermost {
			return record{}, io.EOF
		}
		return record{}, errLost
	}
	text, err := readLine(l.in)
	if err != nil {
		return record{}, err
	}
	l.log("Sink: %s", text)
	return parseRecord(text)
}

func (l *link) receiveDirectory(name string, r, times record) error {
	if !l.recursive {
		return fatal("protocol error: received directory without -r")
	}
	path := l.path(name)
	mode := l.mode(r.mode)
	info, err := os.Stat(path)
	existed := err == nil
	switch {
	case !existed:
		// What is in it must be written before it may be closed to us.
		err = os.Mkdir(path, fileMode(mode|0o700))
	case !info.IsDir():
		err = syscall.ENOTDIR
	}
	if err != nil {
		return l.warn(name, err) // now it is not sent
	}
	if err := l.receive(name, false); err != nil {
		return err
	}
	// The end of the directory is answered, so that errors are heard of only in
	// the exit status and, by who wants to, on stderr.
	if times.kind == 'T' {
		l.note(os.Chtimes(path, times.atime, times.mtime))
	}
	if l.preserve || !existed && mode&0o700 != 0o700 {
		l.note(l.chmod(path, mode))
	}
	return nil
}

func (l *link) note(err error) {
	if err != nil {
		l.failed = true
		fmt.Fprintf(l.stderr, "scp: %v\n", err) //nolint:errcheck // nobody else to tell
	}
}

// mode is what the client's mode comes to: without -p nothing is made setuid.
func (l *link) mode(bits uint32) uint32 {
	if l.preserve {
		return bits
	}
	return bits & 0o777
}

// chmod sets the mode, without -p less the umask, which is in what the file or
// directory has been made with: with more permissions than these.
func (l *link) chmod(path string, bits uint32) error {
	if !l.preserve {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		bits &= modeBits(info.Mode())
	}
	return os.Chmod(path, fileMode(bits))
}

// receiveFile takes one file. Nothing but the end of the transfer is an error:
// the rest is told to the client after it has sent all it announced.
func (l *link) receiveFile(name string, r, times record) error {
	path := l.path(name)
	before, err := os.Stat(path)
	existed := err == nil
	flags := os.O_WRONLY | os.O_CREATE
	if existed && !before.Mode().IsRegular() {
		flags |= syscall.O_NONBLOCK // a pipe that nobody reads
	}
	mode := l.mode(r.mode)
	// Not truncated: it may be the file that the client reads.
	f, err := os.OpenFile(path, flags, fileMode(mode|0o200))
	if err != nil {
		return l.warn(name, err)
	}
	w := &writer{f: f, regular: !existed || before.Mode().IsRegular()}
	if existed {
		w.old = before.Size()
	}
	if err := l.receiveContent(w, r.size); err != nil {
		return errors.Join(err, w.abandon(path, existed))
	}
	if l.preserve || !existed && mode&0o200 == 0 {
		w.note(l.chmod(path, mode))
	}
	w.note(f.Close())
	// The last word is the client's: what it sent may not be the file.
	intact, err := l.response()
	if err != nil {
		return errors.Join(err, w.abandon(path, existed))
	}
	if w.err == nil && intact && times.kind == 'T' {
		w.note(os.Chtimes(path, times.atime, times.mtime))
	}
	return l.conclude(name, w, existed, intact)
}

// conclude answers the end of a file. One that is not what was sent does not
// stay, unless there was one of the name before, whose content is lost.
func (l *link) conclude(name string, w *writer, existed, intact bool) error {
	if w.damaged || !intact {
		if err := w.abandon(l.path(name), existed); err != nil {
			w.note(err)
		}
	}
	switch {
	case w.err == nil:
		return l.answer()
	case w.damaged && existed:
		return l.message(1, name+": "+reason(w.err)+"; what is there now is incomplete")
	}
	return l.warn(name, w.err)
}

// receiveContent reads a file's content, all of it even if it cannot be written.
func (l *link) receiveContent(w *writer, size int64) error {
	if err := l.answer(); err != nil {
		return errLost
	}
	for left := size; left > 0; {
		chunk := l.buf[:min(int64(len(l.buf)), left)]
		if _, err := io.ReadFull(l.in, chunk); err != nil {
			return errLost
		}
		w.write(chunk)
		left -= int64(len(chunk))
	}
	w.finish(size)
	return nil
}

// A writer writes a file from its beginning and keeps the first error.
type writer struct {
	f       *os.File
	regular bool
	old     int64 // its size before
	at      int64 // what is written so far
	err     error
	damaged bool // the content is not what was sent
}

// holeSize is the unit in which a file's zeros are left out.
const holeSize = 64 << 10

func (w *writer) note(err error) {
	if err != nil && w.err == nil {
		w.err = err
	}
}

func (w *writer) write(p []byte) {
	for len(p) > 0 && !w.damaged {
		n := min(len(p), holeSize)
		// Behind the old end there are zeros already.
		if w.regular && w.at >= w.old && zero(p[:n]) {
			w.at += int64(n)
			p = p[n:]
			continue
		}
		var err error
		if w.regular {
			_, err = w.f.WriteAt(p[:n], w.at)
		} else {
			_, err = w.f.Write(p[:n])
		}
		w.at += int64(n)
		p = p[n:]
		if err != nil {
			w.damaged = true
			w.note(err)
		}
	}
}

// zero tells whether there are only zeros: the first is, and each is like the
// one before it.
func zero(p []byte) bool { return p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:]) }

// finish gives the file its size.
func (w *writer) finish(size int64) {
	if w.damaged || !w.regular {
		return
	}
	if err := w.f.Truncate(size); err != nil {
		w.damaged = true
		w.note(err)
	}
}

// abandon removes a file that did not become what it should, if it is new.
func (w *writer) abandon(path string, existed bool) error {
	w.damaged = true
	w.f.Close() //nolint:errcheck // closed already, or of no interest
	if existed {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the incomplete %s: %w", filepath.Base(path), err)
	}
	return nil
}
