package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Send copies a stream of unknown length to a file, which appears under its
// name when the stream has ended. An existing file keeps its permissions.
func Send(ctx context.Context, r io.Reader, dst Place, o Options) (Report, error) {
	c := newCopier(o)
	to, err := c.target(dst)
	switch {
	case err != nil:
		return c.report, err
	case to.dir || endsInSlash(dst):
		return c.report, fmt.Errorf("%s: is a directory; standard input needs the name of a file", dst)
	}
	e := &entry{c: c, src: Place{Local{}, "-"}, dst: dst, from: info{modified: time.Unix(0, 0), mode: 0o666}}
	if to.exists {
		e.old = &to.is
		if e.dst.Path, err = dst.FS.realPath(dst.Path); err != nil {
			return c.report, fmt.Errorf("resolving %s: %w", dst, plain(err))
		}
	}
	name := "standard input"
	c.progress.current.Store(&name)
	c.progress.allFiles.Add(1)
	n, err := e.send(ctx, r)
	if err != nil {
		if lost := dst.FS.lost(); lost != nil && ctx.Err() == nil {
			err = lost
		}
		return c.report, err
	}
	c.progress.files.Add(1)
	c.report.Files, c.report.Bytes, c.report.Moved = 1, n, n
	return c.report, nil
}

// send writes the stream beside the target, or over one that cannot be
// replaced.
func (e *entry) send(ctx context.Context, r io.Reader) (int64, error) {
	if e.old != nil && !e.old.mode.IsRegular() {
		return e.sendOver(ctx, r)
	}
	e.c.NoResume = true
	p, err := e.openPart(nil)
	if err != nil {
		if e.old != nil && refused(err) {
			if n, err := e.sendOver(ctx, r); err == nil || n > 0 {
				return n, err
			}
		}
		return 0, fmt.Errorf("writing to %s: %w", e.dst, plain(err))
	}
	n, err := e.c.pour(ctx, r, p.file)
	if err == nil {
		err = p.settle()
	}
	if err = errors.Join(err, p.close()); err == nil {
		err = p.rename(ctx, n)
	}
	if err != nil {
		return 0, e.abandon(ctx, p, err)
	}
	return n, nil
}

func (e *entry) sendOver(ctx context.Context, r io.Reader) (int64, error) {
	f, err := e.dst.FS.rewrite(e.dst.Path)
	if err != nil {
		return 0, err
	}
	n, err := e.c.pour(ctx, r, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return n, fmt.Errorf("writing over %s: %w; %w", e.dst, plain(err), errPartial)
	}
	return n, nil
}

// pour writes a stream, several chunks at a time.
func (c *copier) pour(ctx context.Context, r io.Reader, dst io.WriterAt) (int64, error) {
	p := &pipe{c: c, dst: dst, shortAt: -1}
	var slots [window]chan struct{}
	var end int64
	readErr := error(nil)
	for n := 0; readErr == nil && !p.stopped() && ctx.Err() == nil; n++ {
		if before := slots[n%window]; before != nil {
			<-before
		}
		var buf []byte
		if buf, readErr = readChunk(ctx, r); len(buf) == 0 {
			break
		}
		done, at := make(chan struct{}), end
		slots[n%window] = done
		end += int64(len(buf))
		go func() {
			defer close(done)
			if _, err := dst.WriteAt(buf, at); err != nil {
				p.failed(at, err)
				return
			}
			c.progress.bytes.Add(int64(len(buf)))
		}()
	}
	for _, s := range slots {
		if s != nil {
			<-s
		}
	}
	switch {
	case p.err != nil:
		return end, p.err
	case ctx.Err() != nil:
		return end, context.Cause(ctx)
	case readErr != nil && !errors.Is(readErr, io.EOF):
		return end, fmt.Errorf("reading standard input: %w", readErr)
	}
	return end, nil
}

// readChunk reads one chunk, less at the end. A read from a terminal or a pipe
// cannot be interrupted, so it may outlive ctx.
func readChunk(ctx context.Context, r io.Reader) ([]byte, error) {
	type result struct {
		buf []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		buf := make([]byte, chunkSize)
		n, err := io.ReadFull(r, buf)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		read <- result{buf[:n], err}
	}()
	select {
	case got := <-read:
		return got.buf, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Fetch writes the content of files to w, one after the other.
func Fetch(ctx context.Context, sources []Place, w io.Writer, o Options) (Report, error) {
	c := newCopier(o)
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.stop = cancel
	sources = c.expand(working, sources)
	c.progress.allFiles.Add(int64(len(sources)))
	for _, src := range sources {
		if working.Err() != nil {
			break
		}
		n, err := c.fetch(working, src, w)
		c.report.Moved += n
		var out *outputError
		if errors.As(err, &out) {
			return c.report, out.error // nobody reads on
		}
		if err != nil {
			c.fail(working, src, err, src.FS)
		} else {
			c.report.Files++
			c.report.Bytes += n
		}
		c.progress.files.Add(1)
	}
	return c.result(ctx)
}

// outputError is a failure of the writer, not of a file.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

func (c *copier) fetch(ctx context.Context, src Place, w io.Writer) (int64, error) {
	i, err := src.FS.stat(src.Path)
	switch {
	case err != nil:
		return 0, plain(err)
	case i.mode.IsDir():
		return 0, errors.New("is a directory, which standard output cannot take")
	case !i.mode.IsRegular():
		return 0, errSpecial
	}
	f, err := src.FS.open(src.Path)
	if err != nil {
		return 0, plain(err)
	}
	defer f.Close() //nolint:errcheck // only read
	name := src.String()
	c.progress.current.Store(&name)
	c.progress.allBytes.Add(i.size)
	line := newInOrder(w)
	n, _, err := c.move(ctx, f, line, 0, i.size, false)
	if line.err != nil {
		return n, &outputError{line.err}
	}
	if err == nil && n < i.size {
		if now, err := f.info(); err == nil && now.size != i.size {
			return n, fmt.Errorf("it shrank while it was copied: %d of %d bytes were written", n, i.size)
		}
	}
	return n, err
}

// inOrder writes chunks that come in any order one after the other. A chunk
// waits for its turn.
type inOrder struct {
	w io.Writer

	mu    sync.Mutex
	turn  *sync.Cond
	at    int64
	limit int64 // nothing from here on will be written
	err   error
}

func newInOrder(w io.Writer) *inOrder {
	l := &inOrder{w: w, limit: math.MaxInt64}
	l.turn = sync.NewCond(&l.mu)
	return l
}

// WriteAt waits until all before off has been written.
func (l *inOrder) WriteAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.at < off && off < l.limit && l.err == nil {
		l.turn.Wait()
	}
	switch {
	case l.err != nil:
		return 0, l.err
	case off >= l.limit:
		return len(p), nil // whoever gave up has told
	}
	n, err := l.w.Write(p)
	l.at, l.err = l.at+int64(n), err
	l.turn.Broadcast()
	return n, err
}

// giveUp says that nothing comes at a place.
func (l *inOrder) giveUp(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = min(l.limit, at)
	l.turn.Broadcast()
}
