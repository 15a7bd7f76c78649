package transport

import (
	"net"
	"sync"
	"time"
)

// A deadline is one direction's deadline. The stream's mutex guards it.
type deadline struct {
	passed bool
	timer  *time.Timer // nil when there is none to wait for
}

// SetDeadline sets both deadlines; the zero time means none.
func (s *stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline ends a Read in progress or to come with
// os.ErrDeadlineExceeded at t. A later deadline, or none, makes Read work again.
func (s *stream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readDeadline, t, &s.readable)
}

// SetWriteDeadline is SetReadDeadline for Write. Bytes that Write counted are
// sent all the same.
func (s *stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeDeadline, t, &s.room)
}

func (s *stream) setDeadline(d *deadline, t time.Time, waiting *sync.Cond) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d.stop()
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		waiting.Broadcast()
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // else it was replaced as it fired
			d.passed = true
			waiting.Broadcast()
		}
	})
	d.timer = timer
	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.passed = nil, false
}
