package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// chunkSize is what one request carries, in bytes. It stays below the
	// 256 KiB that SFTP servers take as a packet.
	chunkSize = 128 << 10
	// window is how many chunks of one file are under way at once. Chunk n+window
	// is begun when chunk n has been written: so all that lies window chunks
	// before the end of a part was written, whatever cut it off. It is twice what
	// the window of an SSH channel lets through: more would only make small files
	// wait behind a large one.
	window = 32
	// maxChunks bounds the chunks of all files together, and so the memory.
	maxChunks = 96
)

var (
	buffers = sync.Pool{New: func() any { return new([chunkSize]byte) }} //nolint:gochecknoglobals // a pool
	zeros   [chunkSize]byte                                              //nolint:gochecknoglobals // a constant
)

// pipe moves the bytes [from, size) of a file, several chunks at a time.
type pipe struct {
	c        *copier
	src      io.ReaderAt
	dst      io.WriterAt
	from     int64
	size     int64
	holes    bool // zeros need not be written
	mu       sync.Mutex
	err      error // of the chunk that comes first
	errAt    int64
	shortAt  int64 // where the source ended too early; -1 if it did not
	lastByte int64 // the end of what was written
}

// run returns the end of what the source had, and the end of what was written.
func (p *pipe) run(ctx context.Context) (end, written int64, err error) {
	p.shortAt, p.lastByte = -1, p.from
	var slots [window]chan struct{}
	for n, at := 0, p.from; at < p.size && !p.stopped() && ctx.Err() == nil; n, at = n+1, at+chunkSize {
		if before := slots[n%window]; before != nil {
			<-before
		}
		p.c.tokens <- struct{}{}
		done := make(chan struct{})
		slots[n%window] = done
		go func() {
			defer close(done)
			defer func() { <-p.c.tokens }()
			p.chunk(at)
		}()
	}
	for _, s := range slots {
		if s != nil {
			<-s
		}
	}
	switch {
	case p.err != nil:
		return 0, p.lastByte, p.err
	case p.shortAt >= 0:
		return p.shortAt, p.lastByte, nil
	case ctx.Err() != nil:
		return 0, p.lastByte, context.Cause(ctx)
	}
	return max(p.size, p.from), p.lastByte, nil
}

func (p *pipe) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil || p.shortAt >= 0
}

// chunk moves one chunk.
func (p *pipe) chunk(at int64) {
	buf, ok := buffers.Get().(*[chunkSize]byte)
	if !ok { // the pool holds nothing else
		buf = new([chunkSize]byte)
	}
	defer buffers.Put(buf)
	want := min(chunkSize, p.size-at)
	n, err := p.src.ReadAt(buf[:want], at)
	if errors.Is(err, io.EOF) {
		if int64(n) < want {
			p.short(at + int64(n))
		}
		err = nil
	}
	hole := p.holes && n == chunkSize && bytes.Equal(buf[:], zeros[:])
	if err == nil && n > 0 && !hole {
		_, err = p.dst.WriteAt(buf[:n], at)
		p.wrote(at+int64(n), err)
	}
	if err != nil {
		p.failed(at, err)
		return
	}
	p.c.progress.bytes.Add(int64(n))
	if int64(n) < want {
		p.giveUp(at + int64(n))
	}
}

// giveUp tells a destination that waits for the bytes at a place that there are none.
func (p *pipe) giveUp(at int64) {
	if d, ok := p.dst.(interface{ giveUp(at int64) }); ok {
		d.giveUp(at)
	}
}

func (p *pipe) short(at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shortAt < 0 || at < p.shortAt {
		p.shortAt = at
	}
}

func (p *pipe) wrote(end int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && end > p.lastByte {
		p.lastByte = end
	}
}

func (p *pipe) failed(at int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || at < p.errAt {
		p.err, p.errAt = err, at
	}
	p.giveUp(at)
}

// move moves the content of src from a place on. Files of one chunk are moved
// here and now.
func (c *copier) move(ctx context.Context, src io.ReaderAt, dst io.WriterAt, from, size int64, holes bool) (end, written int64, err error) {
	if size == 0 { // or one whose size the system does not tell, as in /proc
		return c.moveUnsized(ctx, src, dst)
	}
	p := &pipe{c: c, src: src, dst: dst, from: from, size: size, holes: holes}
	if size-from > chunkSize {
		return p.run(ctx)
	}
	p.shortAt, p.lastByte = -1, from
	c.tokens <- struct{}{}
	p.chunk(from)
	<-c.tokens
	if p.shortAt >= 0 {
		size = p.shortAt
	}
	return size, p.lastByte, p.err
}

// moveUnsized moves what there is, one chunk after the other.
func (c *copier) moveUnsized(ctx context.Context, src io.ReaderAt, dst io.WriterAt) (end, written int64, err error) {
	buf := make([]byte, 32<<10)
	for at := int64(0); ; {
		if ctx.Err() != nil {
			return at, at, context.Cause(ctx)
		}
		n, err := src.ReadAt(buf, at)
		if n > 0 {
			if _, err := dst.WriteAt(buf[:n], at); err != nil {
				return at, at, err
			}
			at += int64(n)
			c.progress.bytes.Add(int64(n))
			c.progress.allBytes.Add(int64(n))
		}
		if errors.Is(err, io.EOF) {
			return at, at, nil
		}
		if err != nil {
			return at, at, err
		}
	}
}
