package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// connectionGone is how long a connection may be without any request, or
	// without a first frame, before it is given up.
	connectionGone = 30 * time.Second
	// lingerTime is how long an ended connection can still be asked for what
	// was written to it.
	lingerTime = 5 * time.Second
)

// An httpConn is the agent's end of a connection made of HTTP requests. It is
// the wire, and the requests' handlers meet it there.
type httpConn struct {
	id        string
	principal string
	started   sync.Once
	ended     chan struct{}
	forget    func(*httpConn) // takes it off the list

	mu       sync.Mutex
	arrived  *sync.Cond // the reader waits here for bodies
	advanced *sync.Cond // handlers of POSTs wait here for their body's turn
	waiting  *sync.Cond // handlers of downward requests wait here for frames
	taken    *sync.Cond // the writer waits here for its frames to go
	heard    func()

	next    uint64 // sequence number of the body that is read from
	bodies  map[uint64]*httpBody
	out     []byte // records for the downward requests
	sending bool   // the stream's handler has records in its hands
	polling bool   // downward requests are polls
	stream  bool   // a stream carries frames down
	turn    uint64 // sequence number of the poll that is answered next
	answers map[uint64]httpAnswer
	open    int // requests under way
	idle    *time.Timer
	closed  bool
}

// An httpBody is the body of a POST as far as it has come.
type httpBody struct {
	buf      []byte
	rest     []byte // of buf: what has not been read yet
	received int
	attempt  int // rises when the request comes again, over a new connection
	complete bool
}

// An httpAnswer is what a poll was given, in case it has to be given again.
type httpAnswer struct {
	records []byte
	last    bool
}

func newHTTPConn(id, principal string, forget func(*httpConn)) *httpConn {
	c := &httpConn{
		id: id, principal: principal, forget: forget,
		ended:  make(chan struct{}),
		bodies: map[uint64]*httpBody{}, answers: map[uint64]httpAnswer{},
	}
	c.arrived, c.advanced, c.waiting, c.taken = sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = time.AfterFunc(connectionGone, func() { c.close() }) //nolint:errcheck // it has no error
	return c
}

func (c *httpConn) name() string { return WireHTTP.String() }

func (c *httpConn) progress(heard func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = heard
}

func (c *httpConn) read() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.closed {
			return nil, net.ErrClosed
		}
		if b := c.bodies[c.next]; b != nil {
			frame, rest, err := splitRecord(b.rest)
			b.rest = rest
			switch {
			case err != nil || frame != nil:
				return frame, err
			case b.complete && len(rest) > 0:
				return nil, &protocolError{"a request that ends within a frame"}
			case b.complete:
				delete(c.bodies, c.next)
				c.next++
				c.advanced.Broadcast()
				continue
			}
		}
		c.arrived.Wait()
	}
}

func (c *httpConn) write(frames ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, frame := range frames {
		for len(c.out)+frameHead+len(frame) > maxBody && !c.closed {
			c.taken.Wait()
		}
		if c.closed {
			return net.ErrClosed
		}
		c.out = appendRecord(c.out, frame)
		c.waiting.Broadcast()
	}
	for c.stream && !c.closed && (len(c.out) > 0 || c.sending) {
		c.taken.Wait()
	}
	return nil
}

// close ends the wire. What was written can still be fetched for a moment.
func (c *httpConn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	close(c.ended)
	clear(c.bodies)
	for _, waiters := range []*sync.Cond{c.arrived, c.advanced, c.waiting, c.taken} {
		waiters.Broadcast()
	}
	c.idle.Stop()
	if !c.stream {
		time.AfterFunc(lingerTime, func() { c.forget(c) })
		return nil
	}
	go c.forget(c) // not here: our mutex is held
	return nil
}

// begin says that a request is under way that a client keeps open while it is
// there; the returned function, that it is over.
func (c *httpConn) begin() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.idle.Stop()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open--; c.open == 0 && !c.closed {
			c.idle.Reset(connectionGone)
		}
	}
}

// receive takes a POST's body. A body that came before is taken again for as
// much as it lacked, because a client, or a proxy, sends a request again when
// its connection breaks.
func (c *httpConn) receive(sequence uint64, r io.Reader, size int64) error {
	body, attempt, skip, err := c.admit(sequence, size)
	if err != nil || body == nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, int64(skip)); err != nil {
		return fmt.Errorf("reading a body again: %w", err)
	}
	piece := make([]byte, min(max(size, 512), 32<<10))
	for {
		n, err := r.Read(piece)
		if !c.take(body, attempt, piece[:n], errors.Is(err, io.EOF)) {
			return net.ErrClosed
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a body: %w", err)
		}
	}
}

// admit waits until a body may be kept in memory. A nil body without an error
// is one that was read already.
func (c *httpConn) admit(sequence uint64, size int64) (body *httpBody, attempt, skip int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && sequence >= c.next+maxPosts {
		if sequence >= c.next+2*maxPosts {
			return nil, 0, 0, &protocolError{"a request far ahead of its turn"}
		}
		c.advanced.Wait()
	}
	if c.closed {
		return nil, 0, 0, net.ErrClosed
	}
	if sequence < c.next {
		return nil, 0, 0, nil
	}
	body = c.bodies[sequence]
	if body == nil {
		body = &httpBody{buf: make([]byte, 0, min(max(size, 0), maxBody))}
		c.bodies[sequence] = body
	}
	if body.complete {
		return nil, 0, 0, nil
	}
	body.attempt++
	return body, body.attempt, body.received, nil
}

// take adds to a body; false says that nobody wants it any more.
func (c *httpConn) take(b *httpBody, attempt int, piece []byte, complete bool) bool {
	c.mu.Lock()
	heard := c.heard
	defer func() {
		c.mu.Unlock()
		if heard != nil && len(piece) > 0 {
			heard()
		}
	}()
	if c.closed || b.attempt != attempt {
		return false
	}
	// Frames that were read alias the old array if it has to grow.
	read := len(b.buf) - len(b.rest)
	b.buf = append(b.buf, piece...)
	b.rest = b.buf[read:]
	b.received += len(piece)
	b.complete = complete
	c.arrived.Signal()
	return true
}

// records waits for something to send down the stream; nil is the end. Until
// the next call the writer waits for what was returned.
func (c *httpConn) records(spare []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending = false
	c.taken.Broadcast()
	for len(c.out) == 0 && !c.closed {
		c.waiting.Wait()
	}
	if len(c.out) == 0 {
		return nil
	}
	records := c.out
	c.out, c.sending = spare[:0], true
	return records
}

// answer waits for its turn and something to answer a poll with, for pollTime
// at most.
func (c *httpConn) answer(ctx context.Context, sequence uint64) (httpAnswer, error) {
	late := false
	defer time.AfterFunc(pollTime, func() { c.wake(&late) }).Stop()
	defer context.AfterFunc(ctx, func() { c.wake(new(bool)) })()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polling = true
	for old := range c.answers { // a poll says that those maxPolls before it were answered
		if old+maxPolls <= sequence {
			delete(c.answers, old)
		}
	}
	for {
		if given, ok := c.answers[sequence]; ok {
			return given, nil
		}
		if sequence < c.turn || sequence >= c.turn+2*maxPolls {
			return httpAnswer{}, &protocolError{"a poll out of turn"}
		}
		if ctx.Err() != nil {
			return httpAnswer{}, context.Cause(ctx)
		}
		if sequence == c.turn && (len(c.out) > 0 || c.closed || late) {
			given := httpAnswer{records: c.out, last: c.closed}
			c.out = nil
			c.turn++
			c.answers[sequence] = given
			c.taken.Broadcast()
			c.waiting.Broadcast()
			return given, nil
		}
		c.waiting.Wait()
	}
}

// wake makes polls look again, at a flag among others.
func (c *httpConn) wake(flag *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*flag = true
	c.waiting.Broadcast()
}
