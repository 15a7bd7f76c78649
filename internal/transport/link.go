package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// pingInterval is how long a side may send nothing before it sends a PING.
	// Intermediate proxies drop connections without data frames, some of them
	// after 30 seconds.
	pingInterval = 15 * time.Second
	// clientDead and serverDead are the silences after which the peer counts as
	// lost. The client is less patient: a person waits there, and it is the
	// side that can dial again.
	clientDead = 2 * pingInterval
	serverDead = 3 * pingInterval
	// readPiece is how much of a message is read before the clock of liveness
	// is set anew: on a slow path one frame may take longer than clientDead.
	readPiece = 16 << 10
)

// A link carries a stream over one WebSocket: a goroutine that reads, one that
// writes, one that watches the clock.
//
// The WebSocket is only ever given context.Background(), because the library
// closes a connection whose context ends; to stop a read or a write, the
// network connection below is closed.
type link struct {
	stream *stream
	ws     *websocket.Conn
	flush  func() error // sends what the client's write coalescing holds back
	raw    io.Closer    // the network connection
	cut    func()       // closes raw, once, without waiting
	dead   time.Duration
	start  time.Time
	heard  atomic.Int64 // since start, in nanoseconds: when something last came
	done   chan struct{}

	writing atomic.Bool // the writer is in a WebSocket write

	// The stream's mutex guards these.
	ping, pong bool // frames that are due
	paused     bool // the reader waits for Read, so silence means nothing
	sending    bool // a data frame is on its way out
	over       bool // nothing more can be sent
	sent       time.Time
	code       websocket.StatusCode // to close with, and why
	reason     string
}

// newLink makes a link without its WebSocket, which attach adds: the
// WebSocket's callback needs the link.
func newLink(s *stream, dead time.Duration) *link {
	now := time.Now()
	l := &link{stream: s, dead: dead, start: now, sent: now, done: make(chan struct{}), code: websocket.StatusNormalClosure}
	s.link = l
	return l
}

// attach starts the link's goroutines.
func (l *link) attach(ws *websocket.Conn, raw io.Closer, flush func() error) {
	l.ws, l.raw, l.flush = ws, raw, flush
	// In the background: closing a TLS connection whose peer reads nothing may
	// wait for seconds to send its alert.
	l.cut = sync.OnceFunc(func() { go l.raw.Close() }) //nolint:errcheck // nothing is left to do about it
	ws.SetReadLimit(readLimit)
	go l.run()
}

// answerPing decides on WebSocket pings, which only a proxy would send. While
// our writer is blocked the answer would have to wait behind it, and the
// library fails the read after five seconds of that: better no answer.
func (l *link) answerPing(context.Context, []byte) bool { return !l.writing.Load() }

func (l *link) run() {
	defer close(l.done)
	var loops sync.WaitGroup
	stop := make(chan struct{})
	loops.Go(func() { l.watch(stop) })
	loops.Go(l.writeLoop)
	l.fail(l.readLoop())
	close(stop)
	loops.Wait()
	l.cut()
	l.ws.CloseNow() //nolint:errcheck // closed already; this frees its buffers
}

// fail ends the link with err; the first error counts. io.EOF is the peer's
// clean close.
func (l *link) fail(err error) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = err
	}
	l.over = true
	s.wakeAll()
	if l.reason == "" { // nobody to say goodbye to
		l.cut()
		return
	}
	// The writer tells the peer why, unless it is stuck in a write that a peer
	// which no longer reads will never let end.
	time.AfterFunc(closeTimeout, l.cut)
}

func (l *link) hear() { l.heard.Store(int64(time.Since(l.start))) }

// readLoop takes frames until there are no more, and says why.
func (l *link) readLoop() error {
	buf := make([]byte, readLimit)
	for {
		msg, err := l.readMessage(buf)
		if errors.Is(err, errTextMessage) || errors.Is(err, errLongFrame) {
			return l.protocolError(err)
		}
		if err != nil {
			return readError(err)
		}
		kind, payload, err := parseFrame(msg)
		if err != nil {
			return l.protocolError(err)
		}
		switch kind {
		case frameData:
			l.deliver(payload)
		case framePing:
			l.due(&l.pong)
		}
	}
}

var errTextMessage = errors.New("text message where frames are binary")

func (l *link) readMessage(buf []byte) ([]byte, error) {
	kind, r, err := l.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	l.hear()
	if kind != websocket.MessageBinary {
		return nil, errTextMessage
	}
	n := 0
	for {
		m, err := r.Read(buf[n:min(n+readPiece, len(buf))])
		n += m
		switch {
		case errors.Is(err, io.EOF):
			return buf[:n], nil
		case err != nil:
			return nil, err
		case n == len(buf):
			return nil, errLongFrame
		}
		l.hear()
	}
}

// readError puts a failed read plainly.
func readError(err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		if closed.Code == websocket.StatusNormalClosure {
			return io.EOF
		}
		return &BrokenError{fmt.Errorf("the peer gave up: %s (%s)", closed.Reason, closed.Code)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &BrokenError{io.ErrUnexpectedEOF}
	case errors.Is(err, websocket.ErrMessageTooBig):
		return &BrokenError{errLongFrame}
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return &BrokenError{network}
	}
	return &BrokenError{err}
}

// protocolError makes the writer close the WebSocket with the reason.
func (l *link) protocolError(err error) error {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.code, l.reason = websocket.StatusProtocolError, err.Error()
	return &BrokenError{fmt.Errorf("protocol error: %w", err)}
}

// deliver hands data to Read. It waits while too much is unread, and then the
// silence of a connection nobody reads from is no sign of death.
func (l *link) deliver(p []byte) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.in.Len()+len(p) > maxUnread && !s.closed && !l.over {
		l.paused = true
		s.space.Wait()
	}
	if l.paused {
		l.paused = false
		l.hear()
	}
	if s.closed { // nobody will read it, but the peer's close comes after it
		return
	}
	s.in.Write(p)
	s.readable.Broadcast()
}

// due marks a control frame for sending. The reader never writes itself: a
// blocked write must not stop it.
func (l *link) due(frame *bool) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	*frame = true
	l.stream.work.Signal()
}

func (l *link) writeLoop() {
	spare := newFrame()
	for {
		frame, data := l.next(spare)
		if frame == nil {
			l.sayGoodbye()
			return
		}
		if data {
			spare = frame // written below, before next can lend it out again
		}
		if err := l.write(frame); err != nil {
			l.fail(&BrokenError{writeCause(err)})
			return
		}
	}
}

// next waits for a frame to send; nil means that there will be none. Control
// frames come first, so that bulk data cannot delay them by more than a frame.
// What Write put in the buffer while the frame before was on its way goes out
// as one frame: SSH writes in small pieces.
func (l *link) next(spare []byte) (frame []byte, data bool) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	l.sending = false
	for {
		switch {
		case l.over:
			return nil, false
		case l.pong:
			l.pong = false
			return []byte{framePong}, false
		case len(s.out) > 1:
			frame, s.out = s.out, spare[:1]
			l.sending, l.ping = true, false
			s.room.Broadcast()
			return frame, true
		case s.closed:
			return nil, false
		case l.ping:
			l.ping = false
			return []byte{framePing}, false
		}
		s.work.Wait()
	}
}

func (l *link) write(frame []byte) error {
	l.writing.Store(true)
	defer l.writing.Store(false)
	if err := l.ws.Write(context.Background(), websocket.MessageBinary, frame); err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	l.stream.mu.Lock()
	l.sent = time.Now()
	l.stream.mu.Unlock()
	return nil
}

// writeCause is the network's error out of the library's many words.
func writeCause(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return network
	}
	return err
}

// sayGoodbye sends the close and waits until the peer confirms it or the
// reader finds the connection gone.
func (l *link) sayGoodbye() {
	l.stream.mu.Lock()
	code, reason := l.code, l.reason
	gone := l.over && reason == ""
	l.stream.mu.Unlock()
	if gone {
		return
	}
	defer time.AfterFunc(closeTimeout, l.cut).Stop()
	l.ws.Close(code, reason) //nolint:errcheck // the reader reports how it ended
	l.cut()
}

// watch keeps the connection alive and finds out when it is not.
func (l *link) watch(stop <-chan struct{}) {
	timer := time.NewTimer(min(pingInterval, l.dead))
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
			timer.Reset(l.check(time.Now()))
		}
	}
}

// check does what is due at now and says how long until it must look again.
func (l *link) check(now time.Time) time.Duration {
	s := l.stream
	s.mu.Lock()
	wait := pingInterval
	if quiet := now.Sub(l.sent); quiet < pingInterval {
		wait = pingInterval - quiet
	} else if !l.ping {
		l.ping = true
		s.work.Signal()
	}
	silent := now.Sub(l.start) - time.Duration(l.heard.Load())
	lost := !l.paused && silent >= l.dead
	if !l.paused && !lost {
		wait = min(wait, l.dead-silent)
	}
	s.mu.Unlock()
	if lost {
		l.fail(&BrokenError{fmt.Errorf("nothing came from the peer for %s", l.dead)})
	}
	return wait
}
