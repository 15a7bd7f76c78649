package transport

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// ackEvery is how many consumed bytes are acknowledged by a frame of its
	// own, ackDelay how long fewer wait for a frame that goes anyway.
	ackEvery = 32 << 10
	ackDelay = 200 * time.Millisecond
	// lastWords is how long the reader goes on when writing has failed.
	lastWords = 250 * time.Millisecond
	// inlineLimit is how many bytes may be in flight for Write to send by
	// itself: so few that the network takes them without waiting.
	inlineLimit = 16 << 10
)

// frames are buffers for one DATA frame. None is held by a link that is idle.
//
//nolint:gochecknoglobals // a pool is there to be shared
var frames = sync.Pool{New: func() any { return new([maxFrame]byte) }}

// A link moves a stream's bytes over one wire: a goroutine that reads, one that
// writes when Write does not do so itself, and a timer (liveness.go). When a
// newer link takes its place it is over, and nothing that it still receives
// counts.
//
// The stream's mutex guards its fields.
type link struct {
	s     *stream
	w     wire
	keep  func() *[maxFrame]byte // takes the frame last read from the wire; may be nil
	work  sync.Cond              // the writer waits here
	began time.Time              // as a wire: the request, not the attach
	done  chan struct{}          // reader and writer have ended

	over     bool
	ended    time.Time // when
	err      error     // and why; nil if another link took its place
	farewell []byte    // the last frame, if any
	writing  bool      // a goroutine is in wire.write
	muted    bool      // which has failed

	ack, ping, pong bool   // frames that are due
	stamp           uint64 // for PONG
	away            []byte // a GOAWAY that is due
	goAway          *frame // one that came
	ackTimer        *time.Timer
	ackArmed        bool

	flow flow
	life liveness

	scratch [4 * 24]byte // control frames on their way out
	out     [5][]byte
}

// newLink puts a wire under the stream. The mutex is held; start follows.
func newLink(s *stream, w wire) *link {
	now := time.Now()
	l := &link{s: s, w: w, began: now, done: make(chan struct{})}
	l.work.L = &s.mu
	l.life.sent = now
	if p, ok := w.(progressive); ok {
		p.progress(l.hear)
	}
	if ws, ok := w.(*wsWire); ok {
		l.keep = ws.keep
	}
	s.link = l
	s.finned = false
	s.stats.Wires++
	return l
}

// run reads until the link is over, beside a writer, and leaves nothing behind.
func (l *link) run() {
	defer close(l.done)
	var writer sync.WaitGroup
	writer.Go(l.writeLoop)
	l.s.mu.Lock()
	l.watch()
	l.s.mu.Unlock()
	err := l.readLoop()
	l.s.mu.Lock()
	l.fail(err)
	l.s.mu.Unlock()
	writer.Wait()
	l.w.close() //nolint:errcheck // closed already; this frees what it holds
}

// fail ends the link because of the network. The mutex is held.
func (l *link) fail(err error) {
	if l.over {
		return
	}
	l.end(err)
	l.w.close() //nolint:errcheck // the network has said all there was to say
	l.s.lost(err)
}

// retire ends the link with a last frame, for which the network has a second.
// The mutex is held.
func (l *link) retire(farewell []byte) {
	if l.over {
		return
	}
	l.farewell = farewell
	l.end(nil)
	if farewell == nil {
		l.w.close() //nolint:errcheck // another wire has taken its place
		return
	}
	time.AfterFunc(closeTimeout, func() { l.w.close() }) //nolint:errcheck // as above
}

func (l *link) end(err error) {
	l.over, l.err, l.ended = true, err, time.Now()
	if l.s.link == l {
		l.s.link = nil
		l.s.detached = time.Now()
	}
	l.life.stop()
	if l.ackTimer != nil {
		l.ackTimer.Stop()
	}
	l.work.Broadcast()
	l.s.room.Broadcast() // there is more of it without a link
}

// readLoop takes frames until there are no more, and says why.
func (l *link) readLoop() error {
	for {
		msg, err := l.w.read()
		if err != nil {
			return err
		}
		l.hear()
		f, err := parseFrame(msg)
		if err != nil {
			return &protocolError{err.Error()}
		}
		if err := l.take(f); err != nil {
			return err
		}
	}
}

// take does what a frame asks for. io.EOF means that the link is over.
func (l *link) take(f frame) error {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.over {
		return io.EOF
	}
	s.stats.FramesIn++
	switch f.kind {
	case frameData, frameAck, framePing, framePong, frameFin:
		if f.ack > s.reached {
			s.end(&FinalError{Reason: OutOfRange}, resetRange)
			return io.EOF
		}
		l.acked(f.ack)
	}
	if l.over {
		return io.EOF
	}
	l.answered()
	switch f.kind {
	case frameData:
		return l.data(f)
	case framePing:
		l.pong, l.stamp = true, f.pos
		l.work.Signal()
	case framePong:
		l.answer(f.pos)
		l.answered()
	case frameFin:
		return l.finish(f)
	case frameGoAway:
		l.goAway = &f
		s.poke()
	case frameReset:
		l.reset(f)
		return io.EOF
	}
	return nil
}

// data receives bytes.
func (l *link) data(f frame) error {
	s := l.s
	if f.pos != s.received() || s.eof {
		return &protocolError{fmt.Sprintf("bytes at %d where %d was next", f.pos, s.received())}
	}
	if s.in.len()+len(f.payload) > s.mine {
		return &protocolError{"more bytes than the window holds"}
	}
	s.faults = 0
	s.stats.BytesIn += uint64(len(f.payload))
	if s.closed { // nobody will read it
		s.in.base += uint64(len(f.payload))
		s.in.end = s.in.base
		l.consumed()
		return nil
	}
	s.in.add(f.payload, l.keep)
	s.readable.Signal()
	return nil
}

// finish receives the end of the peer's side. It may come again, when CloseWrite
// is followed by Close.
func (l *link) finish(f frame) error {
	s := l.s
	if f.pos != s.in.end {
		return &protocolError{fmt.Sprintf("an end at %d where %d was next", f.pos, s.in.end)}
	}
	s.eof = true
	if f.code&finHangup != 0 {
		s.gone = true
	}
	l.consumed()
	s.wake()
	if s.closed && s.gone {
		s.end(nil, resetDone)
		return io.EOF
	}
	return nil
}

// reset receives the end of the stream.
func (l *link) reset(f frame) {
	s := l.s
	var err error
	switch f.code {
	case resetDone:
		if !s.closed && !s.eof {
			err = &FinalError{Reason: Reset}
		}
	case resetRange:
		err = &FinalError{Reason: OutOfRange}
	case resetSuperseded:
		err = &FinalError{Reason: StaleEpoch}
	case resetExpired:
		err = &FinalError{Reason: Expired}
	default:
		err = &FinalError{Reason: Reset, Text: plain(f.payload)}
	}
	l.retire(nil)
	s.end(err, f.code)
}

// acked notes what the peer has consumed.
func (l *link) acked(ack uint64) {
	s := l.s
	if ack <= s.acked() {
		return
	}
	if s.fin && ack == s.out.end+1 {
		s.heardUs = true
		ack = s.out.end
	}
	s.out.drop(ack)
	if s.settle(); l.over {
		return
	}
	now := time.Now()
	l.flow.acked(now, s.out.base, s.sent)
	if l.flow.wantsProbe(now) && s.sent < s.out.end {
		l.flow.probing = true
	}
	s.makeRoom()
	if s.sent < s.out.end || l.flow.probing {
		l.work.Signal()
	}
}

// written sends, or has sent, n bytes that Write has just buffered. A keystroke
// on an idle link goes out here and now; what would have to wait for the
// network is the writer's.
func (l *link) written(n int) {
	s := l.s
	if !l.writing && !l.muted && s.out.len() <= inlineLimit && s.sent+uint64(n) == s.out.end {
		l.write()
		if l.due() {
			l.work.Signal()
		}
		return
	}
	if !l.writing {
		l.work.Signal()
	}
}

// consumed sees to it that the peer learns what was read.
func (l *link) consumed() {
	s := l.s
	n := s.consumed() - s.told
	switch {
	case n == 0:
	case n >= ackEvery, s.eof && s.in.len() == 0:
		l.ack = true
		if !l.writing {
			l.work.Signal()
		}
	case !l.ackArmed:
		l.ackArmed = true
		if l.ackTimer == nil {
			l.ackTimer = time.AfterFunc(ackDelay, l.ackNow)
		} else {
			l.ackTimer.Reset(ackDelay)
		}
	}
}

func (l *link) ackNow() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.ackArmed = false
	if !l.over && l.s.consumed() > l.s.told {
		l.ack = true
		l.work.Signal()
	}
}
