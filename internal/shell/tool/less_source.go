package tool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// What less keeps of a pipe, and shows of one line, in bytes. Of a file it keeps
// only where the lines begin.
const (
	maxPiped = 64 << 20
	maxLine  = 256 << 10
)

// A source is the text that less shows, as far as it has been read.
type source struct {
	file *os.File // nil: text has all
	more chan struct{}

	mu     sync.Mutex
	text   []byte
	starts []int64 // of the lines
	size   int64
	done   bool
	err    error
}

func newSource(r io.Reader) *source {
	s := &source{more: make(chan struct{}, 1)}
	if f, ok := fileOf(r); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			s.file = f
		}
	}
	return s
}

// read reads all of r, and tells whoever waits at more.
func (s *source) read(r io.Reader) {
	buf := make([]byte, chunk)
	begins := true
	for {
		n, err := r.Read(buf)
		s.mu.Lock()
		if s.file == nil {
			s.text = append(s.text, buf[:n]...)
			if len(s.text) > maxPiped && err == nil {
				err = errors.New("only the first 64 MiB are shown")
			}
		}
		for at := 0; at < n; {
			if begins {
				s.starts = append(s.starts, s.size+int64(at))
				begins = false
			}
			next := bytes.IndexByte(buf[at:n], '\n')
			if next < 0 {
				break
			}
			at += next + 1
			begins = true
		}
		s.size += int64(n)
		s.done = err != nil
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// count is the number of lines, and whether these are all.
func (s *source) count() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.starts), s.done
}

// wait waits until there are so many lines, or all. Of a pipe, for which nobody
// knows how long that takes, it does not wait long.
func (s *source) wait(ctx context.Context, lines int) {
	if s.file == nil {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		ctx = short
	}
	for ctx.Err() == nil {
		if n, all := s.count(); all || n >= lines {
			return
		}
		select {
		case <-s.more:
		case <-ctx.Done():
		}
	}
}

// line is one of them without its end, "" behind the last.
func (s *source) line(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 || i >= len(s.starts) {
		return ""
	}
	start, end := s.starts[i], s.size
	if i+1 < len(s.starts) {
		end = s.starts[i+1]
	}
	end = min(end, start+maxLine)
	var b []byte
	if s.file == nil {
		b = s.text[start:end]
	} else {
		b = make([]byte, end-start)
		n, err := s.file.ReadAt(b, start)
		if err != nil && !errors.Is(err, io.EOF) {
			return "(" + reason(err) + ")"
		}
		b = b[:n]
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	return string(bytes.TrimSuffix(b, []byte("\r")))
}
