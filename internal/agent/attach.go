//go:build linux || darwin

package agent

import (
	"io"
	"math"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/screen"
)

const (
	// maxQueue is how much output waits for a client before the program does,
	// in bytes.
	maxQueue = 64 << 10
	// maxViewerQueue is how far a viewer may fall behind before it is sent the
	// screen as it is then, in place of what it has missed.
	maxViewerQueue = 256 << 10
)

// An attachment is a client at a terminal session: the one the session belongs
// to at the time, or a viewer. What it is to be sent is queued and written by a
// goroutine of its own, so that a client that does not read holds up nobody but
// the program, and a viewer not even that.
type attachment struct {
	shell   *shellSession
	session *session
	viewer  bool
	types   bool // what it sends is input
	wake    chan struct{}
	room    chan struct{} // told when the queue has become shorter
	gone    chan struct{} // closed with it

	// Guarded by the shell's mutex.
	cols, rows int
	queue      []parcel
	queued     int // bytes of data in it
	spare      []byte
	stale      bool // a viewer that has missed something
	last       bool // nothing is added to the queue any more
	detached   bool // it has left by its own wish
	closed     bool // nothing is taken from it any more

	closing sync.Once
}

// A parcel is data, a channel request, or what is to be done when all before it
// is written.
type parcel struct {
	data    []byte
	request string
	payload []byte
	finally func()
}

func newAttachment(shell *shellSession, s *session) *attachment {
	a := &attachment{
		shell: shell, session: s, types: true,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	a.cols, a.rows = s.window.size()
	return a
}

// put queues output. The shell's mutex is held, here and in the next ones.
func (a *attachment) put(data []byte) {
	if a.last || a.stale || len(data) == 0 {
		return
	}
	if a.viewer && a.queued+len(data) > maxViewerQueue {
		a.miss()
		return
	}
	a.queued += len(data)
	if n := len(a.queue); n > 0 && a.queue[n-1].data != nil && len(a.queue[n-1].data)+len(data) <= copySize {
		a.queue[n-1].data = append(a.queue[n-1].data, data...)
	} else {
		a.queue = append(a.queue, parcel{data: append(a.buffer(), data...)})
	}
	poke(a.wake)
}

// buffer is an empty one; the last one written, if there is.
func (a *attachment) buffer() []byte {
	b := a.spare
	a.spare = nil
	if b == nil {
		b = []byte{}
	}
	return b[:0]
}

// miss forgets the output that is queued; the screen will be drawn instead.
func (a *attachment) miss() {
	kept := a.queue[:0]
	for _, p := range a.queue {
		if p.data == nil {
			kept = append(kept, p)
		}
	}
	a.queue, a.queued, a.stale = kept, 0, true
	poke(a.wake)
}

// post queues anything but output.
func (a *attachment) post(p parcel) {
	if a.last {
		return
	}
	a.queue = append(a.queue, p)
	a.last = p.finally != nil
	poke(a.wake)
}

// send queues a channel request that wants no reply.
func (a *attachment) send(request string, fields any) {
	a.post(parcel{request: request, payload: ssh.Marshal(fields)})
}

// redraw brings the client's terminal into the session's state.
func (a *attachment) redraw(o screen.RedrawOptions) {
	if a.viewer {
		o.Whole, o.Cols, o.Rows = true, a.cols, a.rows
		o.Repaint = o.Repaint && a.fits()
	}
	a.put(a.shell.screen.Redraw(o))
}

// fits says that the client's terminal has the session's size.
func (a *attachment) fits() bool {
	cols, rows := a.shell.screen.Size()
	return a.cols == cols && a.rows == rows
}

// poke wakes who waits for a channel, or who will next.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next takes the first parcel, waiting for it; ok is false when there will be
// none.
func (a *attachment) next() (p parcel, ok bool) {
	for {
		a.shell.mu.Lock()
		if a.closed {
			a.shell.mu.Unlock()
			return parcel{}, false
		}
		if len(a.queue) == 0 && a.stale {
			a.stale = false
			a.redraw(screen.RedrawOptions{})
		}
		if len(a.queue) > 0 {
			p = a.queue[0]
			a.queue[0] = parcel{}
			if a.queue = a.queue[1:]; len(a.queue) == 0 {
				a.queue = nil
			}
			a.shell.mu.Unlock()
			return p, true
		}
		a.shell.mu.Unlock()
		select {
		case <-a.wake:
		case <-a.gone:
			return parcel{}, false
		}
	}
}

// deliver writes the queue to the client until it is over or the client gone.
func (a *attachment) deliver() {
	for {
		p, ok := a.next()
		if !ok {
			return
		}
		switch {
		case p.finally != nil:
			p.finally()
			a.close()
			return
		case p.request != "":
			a.session.channel.SendRequest(p.request, false, p.payload) //nolint:errcheck // the client may be gone, as its channel tells
			continue
		}
		_, err := a.session.write(a.session.channel, p.data)
		a.shell.mu.Lock()
		a.queued = max(a.queued-len(p.data), 0)
		if cap(p.data) <= copySize {
			a.spare = p.data
		}
		if len(a.queue) == 0 {
			a.spare = nil // an idle session holds nothing
		}
		a.shell.mu.Unlock()
		poke(a.room)
		if err != nil {
			a.close()
			return
		}
	}
}

// close ends the writing at once.
func (a *attachment) close() {
	a.closing.Do(func() {
		a.shell.mu.Lock()
		a.last, a.closed, a.queue, a.spare = true, true, nil, nil
		a.shell.mu.Unlock()
		close(a.gone)
	})
}

// awaitRoom holds up the program while its client has too much before it.
func (a *attachment) awaitRoom() {
	for {
		a.shell.mu.Lock()
		full := a.queued > maxQueue && !a.closed && a.shell.client == a
		moved := a.shell.change
		a.shell.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-a.room:
		case <-a.gone:
		case <-moved:
		}
	}
}

// Write passes input on, until another client has the session: what was typed
// before a loss is input all the same. What was typed before a detach is input
// even then: it came first, though it may be read only now.
func (a *attachment) Write(p []byte) (int, error) {
	a.shell.mu.Lock()
	here := a.shell.client == a || a.shell.viewers[a] || a.shell.client == nil && !a.viewer || a.detached
	a.shell.mu.Unlock()
	if !here {
		return 0, io.ErrClosedPipe
	}
	if !a.types {
		return len(p), nil
	}
	return a.shell.pty.master.Write(p)
}

// copyIn moves the client's input to the program.
func (a *attachment) copyIn() {
	lineStart := a.shell.pty.copyIn(a, a.session.channel)
	// The input is over. That is typed, but not for a client that was lost: of
	// that the channel tells, too, though not at the same time.
	if _, err := a.session.channel.SendRequest("keepalive@openssh.com", true, nil); err != nil || a.viewer {
		return
	}
	a.shell.pty.typeEOF(a, lineStart)
}

// start begins to serve the client.
func (a *attachment) start() {
	go a.deliver()
	go a.copyIn()
}

// resize is what a window-change request does: the client's terminal decides
// about the size of the session's, a viewer's does not.
func (a *attachment) resize(w window) error {
	s := a.shell
	s.mu.Lock()
	defer s.mu.Unlock()
	a.cols, a.rows = w.size()
	if a.viewer {
		a.miss()
		return nil
	}
	if s.client != a {
		return nil
	}
	return s.resize(w)
}

// size is the size of the screen, in characters, for one that a client told,
// which is 0 when it does not know.
func (w window) size() (cols, rows int) {
	if w.Cols == 0 || w.Rows == 0 {
		return 80, 24
	}
	return int(min(w.Cols, math.MaxUint16)), int(min(w.Rows, math.MaxUint16))
}

// process is the program, for the client that it belongs to and while it runs.
func (a *attachment) process() *process {
	a.shell.mu.Lock()
	defer a.shell.mu.Unlock()
	if a.shell.client != a || !a.shell.running() {
		return nil
	}
	return a.shell.program
}

// say writes a line of ours to all who look at the session, when its client is
// to be told.
func (a *attachment) say(text string) {
	if !a.viewer {
		a.shell.say(text)
	}
}

// collectTime is how long a session that ended without a client keeps its last
// screen and its status.
const collectTime = 10 * time.Minute
