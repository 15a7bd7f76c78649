//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An input is what a tool reads: a file of which a Read ends when the tool's
// context does, also of a terminal or a pipe that this process has inherited,
// which cannot have deadlines. Of a stopped job it waits.
type input struct {
	file     *os.File
	ctx      context.Context
	job      *job
	terminal bool
	turn     turn
}

// A turn is whose it is to read the terminal: a tool that is stopped must have
// let go of it before the shell reads.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) pass() { <-t }

func (t turn) readPolled(ctx context.Context, file *os.File, p []byte) (int, error) {
	if t == nil {
		return readPolled(ctx, file, p)
	}
	if err := t.take(ctx); err != nil {
		return 0, err
	}
	defer t.pass()
	return readPolled(ctx, file, p)
}

// reader wraps a file for a tool. A regular file is left alone: it never blocks
// for long, and io.Copy is faster with a file.
func (s *Shell) reader(ctx context.Context, file *os.File, j *job) io.Reader {
	if file == nil {
		return closed{}
	}
	if regular(file) {
		return file
	}
	terminal := isTerminal(file)
	if terminal && !s.interactive && j.inBackground() {
		return closed{} // as if it were /dev/null
	}
	in := &input{file: file, ctx: ctx, job: j, terminal: terminal}
	if terminal && s.tty != nil {
		in.turn = s.tty.turn
	}
	return in
}

func (i *input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := i.job.running(i.ctx); err != nil {
		return 0, err
	}
	if !i.terminal && i.file.SetReadDeadline(time.Time{}) == nil { // the runtime's poller has it
		stop := context.AfterFunc(i.ctx, func() { i.file.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it worked above
		n, err := i.file.Read(p)
		if !stop() && errors.Is(err, os.ErrDeadlineExceeded) {
			i.file.SetReadDeadline(time.Time{}) //nolint:errcheck // it worked above
			err = context.Cause(i.ctx)
		}
		return n, err
	}
	return i.readPolled(p)
}

// readPolled lets go of the terminal while the job is stopped, and stops a job
// of the background that wants to read it.
func (i *input) readPolled(p []byte) (int, error) {
	for {
		if i.terminal && i.job.inBackground() {
			i.job.suspend()
		}
		if err := i.job.running(i.ctx); err != nil {
			return 0, err
		}
		ctx, cancel := i.job.untilStopped(i.ctx)
		n, err := i.turn.readPolled(ctx, i.file, p)
		cancel()
		if n > 0 || !errors.Is(err, errStopped) {
			return n, err
		}
	}
}

// readPolled reads a file that may block for ever, until ctx ends.
func readPolled(ctx context.Context, file *os.File, p []byte) (n int, err error) {
	fd := int(file.Fd())
	for {
		if err := waitReadable(ctx, fd); err != nil {
			return 0, err
		}
		n, err := unix.Read(fd, p)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, &os.PathError{Op: "read", Path: file.Name(), Err: err}
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// waitReadable waits until fd can be read or ctx is done.
func waitReadable(ctx context.Context, fd int) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if ready, err := poll(fd, -1, false); ready || err != nil {
		return err // the common case needs no second descriptor
	}
	wake, wakeW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wake.Close() //nolint:errcheck // it was only waited for
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		wakeW.Close() //nolint:errcheck // it wakes, that is all
	})
	defer func() {
		if stop() {
			wakeW.Close() //nolint:errcheck // nothing was written
		} else {
			<-woken
		}
	}()
	if ready, err := poll(fd, int(wake.Fd()), true); ready || err != nil {
		return err
	}
	return context.Cause(ctx)
}

// An output is what a tool writes. A failed write ends the tool's context.
type output struct {
	file io.Writer
	ctx  context.Context
	gone func() // nobody reads any more
	job  *job
}

// writer wraps a stream for a tool; regular files are left alone.
func (s *Shell) writer(ctx context.Context, w io.Writer, j *job, gone func()) io.Writer {
	if file, ok := w.(*os.File); ok && regular(file) {
		return file
	}
	return &output{file: w, ctx: ctx, gone: gone, job: j}
}

func (o *output) Write(p []byte) (n int, err error) {
	if err := o.job.running(o.ctx); err != nil {
		return 0, err
	}
	if file, ok := o.file.(*os.File); ok && file.SetWriteDeadline(time.Time{}) == nil {
		stop := context.AfterFunc(o.ctx, func() { file.SetWriteDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it worked above
		n, err = file.Write(p)
		if !stop() && errors.Is(err, os.ErrDeadlineExceeded) {
			file.SetWriteDeadline(time.Time{}) //nolint:errcheck // it worked above
			return n, context.Cause(o.ctx)
		}
	} else {
		n, err = o.file.Write(p)
	}
	if err != nil {
		o.gone()
	}
	return n, err
}

// ReadFrom lets io.Copy move a file without the bytes passing through here.
func (o *output) ReadFrom(r io.Reader) (int64, error) {
	if file, ok := o.file.(*os.File); ok && file.SetWriteDeadline(time.Time{}) == nil {
		if source, ok := r.(*os.File); ok && regular(source) && o.job.running(o.ctx) == nil {
			stop := context.AfterFunc(o.ctx, func() { file.SetWriteDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it worked above
			n, err := file.ReadFrom(source)
			if !stop() {
				file.SetWriteDeadline(time.Time{}) //nolint:errcheck // it worked above
			}
			if err != nil {
				o.gone()
			}
			return n, err
		}
	}
	return io.CopyBuffer(struct{ io.Writer }{o}, struct{ io.Reader }{r}, make([]byte, 128<<10))
}

// closed is a stream that was closed with <&- or has nothing to say.
type closed struct{}

func (closed) Read([]byte) (int, error) { return 0, io.EOF }

// streams finds the files behind a tool's streams, for a program to inherit.
// What is no file gets a pipe, and a goroutine that copies.
type streams struct {
	files  []*os.File // the program's 0, 1 and 2
	ours   []io.Closer
	copies sync.WaitGroup
	feeds  []*os.File
}

func (st *streams) add(file *os.File) { st.files = append(st.files, file) }

func (st *streams) input(r io.Reader) error {
	switch r := r.(type) {
	case *os.File:
		if r == nil {
			break
		}
		st.add(r)
		return nil
	case *input:
		st.add(r.file)
		return nil
	case closed, nil:
	default:
		return st.feed(r)
	}
	pr, pw, err := os.Pipe() // an empty one needs no /dev/null
	if err != nil {
		return err
	}
	pw.Close() //nolint:errcheck // nothing was written
	st.add(pr)
	st.ours = append(st.ours, pr)
	return nil
}

// feed copies what a tool made up for the program, such as xargs' empty input.
func (st *streams) feed(r io.Reader) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	st.add(pr)
	st.ours = append(st.ours, pr)
	st.feeds = append(st.feeds, pw)
	go func() {
		io.Copy(pw, r) //nolint:errcheck // the program need not read it all
		pw.Close()     //nolint:errcheck // as above
	}()
	return nil
}

func (st *streams) output(w io.Writer) error {
	switch f := w.(type) {
	case *os.File:
		st.add(f)
		return nil
	case *output:
		if file, ok := f.file.(*os.File); ok {
			st.add(file)
			return nil
		}
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	st.add(pw)
	st.ours = append(st.ours, pw)
	st.copies.Go(func() {
		io.Copy(w, pr) //nolint:errcheck // the program sees it
		pr.Close()     //nolint:errcheck // it was only read
	})
	return nil
}

// started closes this process's copies of the program's ends.
func (st *streams) started() {
	for _, c := range st.ours {
		c.Close() //nolint:errcheck // the program has its own
	}
}

// ended waits for what the program has written, and stops feeding it.
func (st *streams) ended() {
	for _, f := range st.feeds {
		f.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // pipes have deadlines
	}
	st.copies.Wait()
}

func regular(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// readerGone says whether w is a pipe that nobody reads any more.
func readerGone(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Control(func(fd uintptr) { gone = hungUp(int(fd)) })
	return err == nil && gone
}
