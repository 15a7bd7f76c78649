package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxUnsent bounds what Write takes ahead of the network while there is
	// one: it would delay whatever is written next.
	maxUnsent = 128 << 10
	// roomStep is how much of it must be free again before Write goes on.
	roomStep = 16 << 10
	// closeTimeout is how long Close waits until what was written has been
	// acknowledged.
	closeTimeout = time.Second
	// maxFaults is how many wires in a row may end by a protocol error.
	maxFaults = 2
)

var (
	errPeerClosed = errors.New("the peer closed the connection")
	errUnacked    = errors.New("closed before all data was acknowledged")
	errExpired    = errors.New("nobody came back for it in time")
)

// A stream is the byte stream above the wires: two rings, one mutex. Read and
// Write touch the rings; a link moves bytes between them and its wire. Without
// a link the stream waits for one.
type stream struct {
	local, remote net.Addr
	stats         Stats
	linger        time.Duration // how long Close waits

	writing sync.Mutex // held by Write: the bytes of one call stay together

	mu       sync.Mutex
	readable sync.Cond // Read waits here
	room     sync.Cond // Write waits here
	waiting  int       // how many do, in room
	done     chan struct{}
	poke     func() // tells the owner that link or err changed; the mutex is held

	// What we send: bytes from out.base, acknowledged, to out.end.
	out     ring
	sent    uint64 // position of the next byte to send on the link
	reached uint64 // the furthest that sent ever was
	window  uint64 // what the peer takes unread
	fin     bool   // nothing comes after out.end, by CloseWrite or Close
	hangup  bool   // the peer is told that we read no more: Close
	finned  bool   // the link has sent FIN as it is now
	heardUs bool   // FIN is acknowledged

	// What we receive: bytes from in.base, consumed, to in.end.
	in     inbox
	mine   int    // what we take unread
	told   uint64 // consumed position as last acknowledged
	eof    bool   // the peer's FIN came: nothing comes after in.end
	gone   bool   // the peer reads no more
	faults int

	flush    chan struct{} // closed when all is acknowledged; nil: nobody waits
	link     *link
	detached time.Time // since when there is no link,
	cause    error     // and why
	closed   bool      // by Close or Abort
	over     bool
	err      error // why it is over, nil after an orderly end

	readDeadline  deadline
	writeDeadline deadline
}

func newStream(local, remote net.Addr) *stream {
	s := &stream{local: local, remote: remote, window: maxWindow, mine: maxWindow, linger: closeTimeout, done: make(chan struct{}), poke: func() {}, detached: time.Now()}
	s.readable.L = &s.mu
	s.room.L = &s.mu
	return s
}

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

// Read gives what came, in order. The error is io.EOF after the last byte when
// the peer has closed its side, a *FinalError when the stream cannot go on, and
// a *BrokenError when it was lost and nobody resumed it.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.in.len() > 0:
			n := s.in.read(p)
			if s.link != nil {
				s.link.consumed()
			}
			return n, nil
		case s.eof || s.over && s.err == nil:
			return 0, io.EOF
		case s.over:
			return 0, s.err
		}
		s.readable.Wait()
	}
}

// consumed is the position that our acknowledgements tell.
func (s *stream) consumed() uint64 {
	if s.eof && s.in.len() == 0 {
		return s.in.end + 1
	}
	return s.in.base
}

// received is the position of the byte to come.
func (s *stream) received() uint64 {
	if s.eof {
		return s.in.end + 1
	}
	return s.in.end
}

// last is the position after all that we have written.
func (s *stream) last() uint64 {
	if s.fin {
		return s.out.end + 1
	}
	return s.out.end
}

// acked is the position up to which the peer has consumed what we wrote.
func (s *stream) acked() uint64 {
	if s.heardUs {
		return s.out.end + 1
	}
	return s.out.base
}

// Write returns when all of p is buffered: at most 128 KiB ahead of the network
// while there is one, 8 MiB while there is none. As with TCP, that says nothing
// about its arrival.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for {
		if err := s.writeError(); err != nil {
			return written, err
		}
		if n := min(len(p)-written, s.space()); n > 0 {
			s.out.append(p[written : written+n])
			written += n
			if s.link != nil {
				s.link.written(n)
			}
		}
		if written == len(p) {
			return written, nil
		}
		s.waiting++
		s.room.Wait()
		s.waiting--
	}
}

// space is how many bytes Write may buffer now.
func (s *stream) space() int {
	n := int(s.window) - s.out.len()
	if s.link != nil {
		n = min(n, s.link.flow.unsent()-int(s.out.end-min(s.sent, s.out.end)))
	}
	return max(n, 0)
}

// makeRoom wakes Write when there is enough room to be worth it. The mutex is
// held.
func (s *stream) makeRoom() {
	if s.waiting > 0 && s.space() >= roomStep {
		s.room.Broadcast()
	}
}

// lost notes that the network took the link away. The mutex is held.
func (s *stream) lost(err error) {
	if s.over {
		return
	}
	var protocol *protocolError
	if errors.As(err, &protocol) {
		if s.faults++; s.faults >= maxFaults {
			s.end(&FinalError{Reason: Reset, Text: protocol.Error()}, resetProtocol)
			return
		}
	}
	s.cause = err
	s.poke()
}

// limit bounds what the stream takes unread; 0 changes nothing.
func (s *stream) limit(window int) {
	if window > 0 {
		s.mine = window
	}
}

// believes says whether a peer that resumes may have received and consumed what
// it says it has.
func (s *stream) believes(received, consumed uint64) bool {
	return s.acked() <= consumed && consumed <= received && received <= s.reached
}

// resume prepares the stream for a new link: what the peer has not received is
// sent again, and its end too. The mutex is held.
func (s *stream) resume(received, consumed uint64, window uint32) {
	s.window = min(max(uint64(window), minWindow), maxWindow)
	s.heardUs = s.fin && consumed == s.out.end+1
	s.out.drop(min(consumed, s.out.end))
	s.sent = min(received, s.out.end)
	s.finned = false
	s.settle()
	s.wake()
}

// settle ends what waits for acknowledgements if all have come. The mutex is held.
func (s *stream) settle() {
	if s.flush != nil && s.acked() == s.last() {
		close(s.flush)
		s.flush = nil
	}
	if s.heardUs && s.closed {
		s.end(nil, resetDone)
	}
}

// flushed is closed when the peer has consumed all that is written so far; nil
// means that it has, or that nobody is there to do it.
func (s *stream) flushed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.link == nil && time.Since(s.detached) > freshLoss
	if s.over || lost || s.acked() == s.last() {
		return nil
	}
	if s.flush == nil {
		s.flush = make(chan struct{})
	}
	return s.flush
}

// writeError is why nothing can be written, or nil.
func (s *stream) writeError() error {
	switch {
	case s.closed, s.fin:
		return net.ErrClosed
	case s.writeDeadline.passed:
		return os.ErrDeadlineExceeded
	case s.gone:
		return errPeerClosed
	case s.over && s.err == nil:
		return errPeerClosed
	case s.over:
		return s.err
	}
	return nil
}

// CloseWrite ends our side of the stream: the peer reads io.EOF after what was
// written. Read goes on.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeError(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.fin = true
	s.room.Broadcast()
	if s.link != nil {
		s.link.work.Signal()
	}
	return nil
}

// Close ends the stream both ways and waits until the peer has consumed what
// was written, one second at most: then the stream is given up, and the error
// says so.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed || s.over {
		s.closed = true
		s.wake()
		s.mu.Unlock()
		return nil
	}
	s.closed, s.fin, s.hangup, s.finned = true, true, true, false
	s.in.clear() // nobody will read it
	s.readDeadline.stop()
	s.writeDeadline.stop()
	if s.gone || s.heardUs {
		s.end(nil, resetDone)
	}
	s.wake()
	s.mu.Unlock()

	timer := time.NewTimer(s.linger)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	var err error
	if s.out.len() > 0 {
		err = &BrokenError{errUnacked}
	}
	if s.finned { // the peer has, or will have, all of it but was not read from
		s.end(err, resetDone)
	} else {
		s.end(err, resetAborted)
	}
	return err
}

// Abort ends the stream at once. The peer learns of it if the network takes one
// more frame.
func (s *stream) Abort() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.readDeadline.stop()
	s.writeDeadline.stop()
	s.end(nil, resetAborted)
	s.wake()
	return nil
}

// end ends the stream for a reason, nil for an orderly end, and tells the peer
// with a RESET. The mutex is held.
func (s *stream) end(err error, code byte) {
	if s.over {
		return
	}
	s.over, s.err = true, err
	if l := s.link; l != nil {
		l.retire(newReset(code, ""))
	}
	s.out.close()
	close(s.done)
	s.wake()
	s.poke()
}

// wake makes every waiter look again. The mutex is held.
func (s *stream) wake() {
	s.readable.Broadcast()
	s.room.Broadcast()
	if s.link != nil {
		s.link.work.Broadcast()
	}
}
