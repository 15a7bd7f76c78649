package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A delayNet is a network in memory on which everything takes a while, and
// which holds as much as there is to hold.
type delayNet struct {
	delay time.Duration
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newDelayNet(delay time.Duration) *delayNet {
	return &delayNet{delay: delay, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (n *delayNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *delayNet) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

func (n *delayNet) Addr() net.Addr { return addr("memory") }

func (n *delayNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	pass(2 * n.delay) // SYN and its answer
	a, b := newDelayPipe(n.delay)
	select {
	case n.conns <- b:
		return a, nil
	case <-n.done:
		return nil, errors.New("network closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipeRoom is how much a direction of a delayPipe holds.
const pipeRoom = 4 << 20

// newDelayPipe is a connection in memory with buffers and deadlines, as TCP has.
func newDelayPipe(delay time.Duration) (a, b *pipeEnd) {
	up, down := newPipeHalf(delay), newPipeHalf(delay)
	return &pipeEnd{in: down, out: up}, &pipeEnd{in: up, out: down}
}

type pipeEnd struct {
	in, out *pipeHalf
}

func (e *pipeEnd) Read(p []byte) (int, error) { return e.in.read(p) }

func (e *pipeEnd) Write(p []byte) (int, error) { return e.out.write(p) }

func (e *pipeEnd) Close() error {
	e.in.hangUp()
	e.out.finish()
	return nil
}

func (e *pipeEnd) LocalAddr() net.Addr { return addr("memory") }

func (e *pipeEnd) RemoteAddr() net.Addr { return addr("memory") }

func (e *pipeEnd) SetDeadline(t time.Time) error {
	e.in.setDeadline(&e.in.readBy, t)
	e.out.setDeadline(&e.out.writeBy, t)
	return nil
}

func (e *pipeEnd) SetReadDeadline(t time.Time) error {
	e.in.setDeadline(&e.in.readBy, t)
	return nil
}

func (e *pipeEnd) SetWriteDeadline(t time.Time) error {
	e.out.setDeadline(&e.out.writeBy, t)
	return nil
}

// A pipeHalf is one direction.
type pipeHalf struct {
	delay time.Duration
	// after is how many bytes pass before snap is called instead; negative: no end.
	after int
	snap  func()

	mu       sync.Mutex
	changed  *sync.Cond
	parcels  []parcel
	size     int
	finished bool  // the writer has closed
	unread   bool  // the reader has
	hole     bool  // nothing arrives any more, not even the end
	err      error // what reads and writes give at once
	readBy   time.Time
	writeBy  time.Time
}

type parcel struct {
	at   time.Time
	data []byte
}

func newPipeHalf(delay time.Duration) *pipeHalf {
	h := &pipeHalf{delay: delay, after: -1}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *pipeHalf) setDeadline(which *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = t
	h.changed.Broadcast()
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		h.wakeIn(wait)
	}
}

func (h *pipeHalf) wakeIn(wait time.Duration) {
	time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changed.Broadcast()
	})
}

func late(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

func (h *pipeHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.err != nil:
			return 0, h.err
		case h.unread:
			return 0, net.ErrClosed
		case late(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(h.parcels) == 0 && h.finished:
			return 0, io.EOF
		case len(h.parcels) == 0:
		case h.delay > 0 && time.Until(h.parcels[0].at) > 0:
			h.wakeIn(time.Until(h.parcels[0].at))
		default:
			first := &h.parcels[0]
			n := copy(p, first.data)
			first.data = first.data[n:]
			if len(first.data) == 0 {
				h.parcels = h.parcels[1:]
			}
			h.size -= n
			h.changed.Broadcast()
			return n, nil
		}
		h.changed.Wait()
	}
}

func (h *pipeHalf) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.err == nil && !h.finished && !h.unread && h.size+len(p) > pipeRoom {
		if late(h.writeBy) {
			return 0, os.ErrDeadlineExceeded
		}
		h.changed.Wait()
	}
	switch {
	case h.err != nil:
		return 0, h.err
	case h.finished:
		return 0, net.ErrClosed
	case h.hole:
		return len(p), nil
	case h.unread:
		return 0, syscall.EPIPE
	}
	n := len(p)
	if h.after >= 0 && n > h.after {
		n = h.after
	}
	if n > 0 {
		h.parcels = append(h.parcels, parcel{time.Now().Add(h.delay), bytes.Clone(p[:n])})
		h.size += n
		h.changed.Broadcast()
	}
	if h.after >= 0 {
		if h.after -= n; n < len(p) {
			h.mu.Unlock()
			h.snap()
			h.mu.Lock()
			return n, syscall.ECONNRESET
		}
	}
	return n, nil
}

// finish ends the direction after what was written.
func (h *pipeHalf) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finished = !h.hole
	h.changed.Broadcast()
}

// hangUp is the reader's close: what comes is not read.
func (h *pipeHalf) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unread = true
	h.parcels, h.size = nil, 0
	h.changed.Broadcast()
}

// cut ends it at once.
func (h *pipeHalf) cut(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.parcels, h.size = nil, 0
	h.changed.Broadcast()
}

// A frameWire is one end of a wire in memory.
type frameWire struct {
	in, out *frameQueue
	after   int // how many frames may be written before snap; 0: any number
	snap    func()
	last    []byte
}

type frameQueue struct {
	mu      sync.Mutex
	changed *sync.Cond
	frames  [][]byte
	spare   [][]byte
	closed  bool
	hole    bool
}

func newFrameWires() (a, b *frameWire) {
	up, down := &frameQueue{}, &frameQueue{}
	up.changed, down.changed = sync.NewCond(&up.mu), sync.NewCond(&down.mu)
	return &frameWire{in: down, out: up}, &frameWire{in: up, out: down}
}

func (w *frameWire) name() string { return WireWebSocket.String() }

func (w *frameWire) read() ([]byte, error) {
	q := w.in
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.last != nil {
		clear(w.last[:cap(w.last)][:min(cap(w.last), 32)]) // whoever still uses it finds out
		q.spare = append(q.spare, w.last[:0])
		w.last = nil
	}
	for len(q.frames) == 0 && !q.closed {
		q.changed.Wait()
	}
	if len(q.frames) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	w.last = q.frames[0]
	q.frames = q.frames[1:]
	q.changed.Broadcast()
	return w.last, nil
}

func (w *frameWire) write(frames ...[]byte) error {
	for _, f := range frames {
		if w.after > 0 {
			if w.after--; w.after == 0 {
				w.snap()
			}
		}
		if !w.out.put(f) {
			return syscall.ECONNRESET
		}
	}
	return nil
}

func (q *frameQueue) put(f []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) > 16 && !q.closed && !q.hole {
		q.changed.Wait()
	}
	if q.closed {
		return false
	}
	if q.hole {
		return true
	}
	var buf []byte
	if n := len(q.spare); n > 0 {
		buf, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	q.frames = append(q.frames, append(buf, f...))
	q.changed.Broadcast()
	return true
}

// swallow loses what is under way, and perhaps all that comes.
func (w *frameWire) swallow(all bool) {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	w.out.hole, w.out.frames = all, nil
	w.out.changed.Broadcast()
}

// close is heard by the other end too, after what was written, unless nothing is.
func (w *frameWire) close() error {
	for _, q := range []*frameQueue{w.in, w.out} {
		q.mu.Lock()
		if q == w.in {
			q.frames = nil
		}
		if !q.hole || q == w.in {
			q.closed = true
		}
		q.changed.Broadcast()
		q.mu.Unlock()
	}
	return nil
}
