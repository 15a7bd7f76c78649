package tool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// chunk is what is read or written at once, in bytes.
const chunk = 64 << 10

// An output is Stdout behind a buffer. An error is kept until it is asked for.
type output struct {
	w      *bufio.Writer
	closer io.Closer // what is behind it, if whoever made it is to close it
	err    error
}

// output buffers Stdout. Whoever takes it ends with done.
func (c *Context) output() *output { return newOutput(c.Stdout) }

func newOutput(w io.Writer) *output { return &output{w: bufio.NewWriterSize(w, chunk)} }

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.keep(err)
	return n, err
}

func (o *output) text(s string) {
	_, err := o.w.WriteString(s)
	o.keep(err)
}

func (o *output) byte(b byte) { o.keep(o.w.WriteByte(b)) }

func (o *output) line(s string) {
	o.text(s)
	o.byte('\n')
}

func (o *output) printf(format string, args ...any) {
	_, err := fmt.Fprintf(o.w, format, args...)
	o.keep(err)
}

func (o *output) keep(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *output) flush() { o.keep(o.w.Flush()) }

// failed reports whether there is nobody to write to any more.
func (o *output) failed() bool { return o.err != nil }

// done writes what is left; the status is 1 if anything could not be written.
func (o *output) done(status int) int {
	if o.flush(); o.err != nil && status == 0 {
		return 1
	}
	return status
}

// A patient reader writes out what there is before it waits for more: what was
// made of the input so far is seen while the next of it is not there yet.
type patient struct {
	r io.Reader
	o *output
}

func (p patient) Read(b []byte) (int, error) {
	if p.o.flush(); p.o.err != nil {
		return 0, p.o.err
	}
	return p.r.Read(b)
}

// open opens a file to read; "-" is Stdin.
func (c *Context) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.Stdin), nil
	}
	f, err := os.Open(c.Path(name))
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.Join(syscall.EISDIR, f.Close())
	}
	return interruptible{f, c}, nil
}

// An interruptible file cannot be read any more once the run has been given up:
// there are endless ones.
type interruptible struct {
	*os.File
	c *Context
}

func (i interruptible) Read(p []byte) (int, error) {
	if err := i.c.Err(); err != nil {
		return 0, err
	}
	return i.File.Read(p)
}

// WriteTo lets the kernel copy, a piece at a time.
func (i interruptible) WriteTo(w io.Writer) (sum int64, err error) {
	const piece = 16 << 20
	for i.c.Err() == nil {
		n, err := io.CopyN(w, i.File, piece)
		if sum += n; err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return sum, err
		}
	}
	return sum, i.c.Err()
}

// fileOf is the file that is read, if it is one.
func fileOf(r io.Reader) (*os.File, bool) {
	if i, ok := r.(interruptible); ok {
		return i.File, true
	}
	f, ok := r.(*os.File)
	return f, ok
}

// each calls f with each of the named files, or with Stdin if none is named,
// until f says that nobody wants more. The status is 1 if one failed.
func (c *Context) each(names []string, f func(name string, r io.Reader) error) (status int) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if c.Err() != nil {
			return 1
		}
		r, err := c.open(name)
		if err == nil {
			err = f(name, r)
			closeRead(r)
		}
		if err != nil {
			if errors.Is(err, errStop) {
				return status
			}
			status = c.fail(name, err)
		}
	}
	return status
}

// errStop ends each without a complaint.
var errStop = errors.New("stop")

// closeRead closes what was only read: whether that succeeds makes no difference.
func closeRead(r io.Closer) { _ = r.Close() }

// fail complains about a file, and returns status 1.
func (c *Context) fail(name string, err error) int { return c.Errorf("%s: %s", name, reason(err)) }

// reason is what went wrong, without the name of the file that it went wrong
// with: users know the name they gave, not the one that it was turned into.
func reason(err error) string {
	var path *os.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	case errors.As(err, &call):
		err = call.Err
	}
	var number syscall.Errno
	text := err.Error()
	if errors.As(err, &number) && text != "" {
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}

// lines calls f with each line of r without its newline, until f returns false.
// last is true for a line that has none. The bytes are valid until f returns.
func lines(r io.Reader, f func(line []byte, last bool) bool) error {
	return records(r, '\n', f)
}

// records is lines with another end of line.
func records(r io.Reader, end byte, f func(record []byte, last bool) bool) error {
	b := bufio.NewReaderSize(r, chunk)
	var long []byte // the beginning of a line longer than the buffer
	for {
		part, err := b.ReadSlice(end)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if len(long) > 0 {
			long = append(long, part...)
			part = long
		}
		if err != nil && len(part) == 0 {
			return nil
		}
		whole, ended := bytes.CutSuffix(part, []byte{end})
		if !f(whole, !ended) || err != nil {
			return nil //nolint:nilerr // it is io.EOF, if anything
		}
		long = long[:0]
	}
}
