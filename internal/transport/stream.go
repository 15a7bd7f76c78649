package transport

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxUnread bounds what the reader takes from the network ahead of Read.
	maxUnread = 256 << 10
	// closeTimeout is how long Close waits for what was written to leave and
	// for the peer to confirm.
	closeTimeout = time.Second
)

var errPeerClosed = errors.New("the peer closed the connection")

// A stream is the byte stream above the link: two bounded buffers, one mutex.
// Read and Write touch the buffers only; the link moves bytes between them and
// the network.
type stream struct {
	local, remote net.Addr

	link *link // set once, before anything else runs

	writing sync.Mutex // held by Write: the bytes of one call stay together

	mu            sync.Mutex
	readable      *sync.Cond // Read waits here
	room          *sync.Cond // Write waits here, for room in out
	space         *sync.Cond // the link's reader waits here, for room in the buffer in
	work          *sync.Cond // the link's writer waits here
	in            bytes.Buffer
	out           []byte // the next data frame, type byte included
	end           error  // why nothing more comes: io.EOF or *BrokenError
	closed        bool   // by Close
	readDeadline  deadline
	writeDeadline deadline
}

func newStream(local, remote net.Addr) *stream {
	s := &stream{local: local, remote: remote, out: newFrame()}
	s.readable = sync.NewCond(&s.mu)
	s.room = sync.NewCond(&s.mu)
	s.space = sync.NewCond(&s.mu)
	s.work = sync.NewCond(&s.mu)
	return s
}

// newFrame is a data frame without payload yet, with room for all of it.
func newFrame() []byte {
	return append(make([]byte, 0, 1+maxPayload), frameData)
}

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

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
		case s.in.Len() > 0:
			n, err := s.in.Read(p)
			s.space.Signal()
			return n, err
		case s.end != nil:
			return 0, s.end
		}
		s.readable.Wait()
	}
}

// Write returns when all of p is buffered, at most 64 KiB ahead of the
// network. As with TCP, that says nothing about its arrival.
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
		n := min(len(p)-written, cap(s.out)-len(s.out))
		if n > 0 {
			s.out = append(s.out, p[written:written+n]...)
			written += n
			s.work.Signal()
		}
		if written == len(p) {
			return written, nil
		}
		s.room.Wait()
	}
}

// writeError is why nothing can be written, or nil.
func (s *stream) writeError() error {
	var broken *BrokenError
	switch {
	case s.closed:
		return net.ErrClosed
	case s.writeDeadline.passed:
		return os.ErrDeadlineExceeded
	case errors.As(s.end, &broken):
		return broken
	case s.end != nil:
		return errPeerClosed
	}
	return nil
}

// Close sends what is buffered and a close, and waits for the peer to confirm
// both, one second at most: then the connection is cut, and the error says
// what did not leave.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.readDeadline.stop()
	s.writeDeadline.stop()
	s.wakeAll()
	s.mu.Unlock()

	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-s.link.done:
		return nil
	case <-timer.C:
		return s.abandon()
	}
}

// abandon cuts the link of a stream whose peer does not confirm its end.
func (s *stream) abandon() error {
	s.mu.Lock()
	unsent := len(s.out) - 1
	stuck := s.link.sending
	s.mu.Unlock()
	err := &BrokenError{errors.New("closed before all data was sent")}
	s.link.fail(err)
	if unsent > 0 || stuck {
		return err
	}
	return nil
}

// wakeAll makes every waiter look again. The mutex is held.
func (s *stream) wakeAll() {
	s.readable.Broadcast()
	s.room.Broadcast()
	s.space.Broadcast()
	s.work.Broadcast()
}
