package cli_test

import (
	"net"
	"net/http"
	"sync"
)

// relayed marks the requests that a line has carried already.
const relayed = "X-Cloudssh-Test-Relayed"

// line is the network between the clients of a service and its front door. A
// test can make it lose everything in silence, cut what it carries, or strand
// it, as a change of the address does: old connections hear nothing any more,
// new ones work.
type line struct {
	door string // the emulator's address

	mu      sync.Mutex
	open    chan struct{} // closed while bytes may pass
	waiting chan struct{} // closed once a client's bytes wait
	oneWay  bool          // only what clients say is lost
	heads   func()        // called when the answer to an upgrade has gone through
	calls   map[*call]struct{}
	carried int
}

// call is one connection that a line carries.
type call struct {
	near, far net.Conn
	stranded  chan struct{}
	strand    sync.Once
}

func (c *call) end() {
	_ = c.near.Close()
	_ = c.far.Close()
}

// reset ends a call the rude way.
func (c *call) reset() {
	if tcp, ok := c.near.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.end()
}

func newLine(door string) *line {
	l := &line{door: door, open: make(chan struct{}), waiting: make(chan struct{}), calls: map[*call]struct{}{}}
	close(l.open)
	return l
}

// stop makes the line lose everything from now on, new calls included; the
// channel is closed as soon as a client has said something in vain.
func (l *line) stop() <-chan struct{} { return l.halt(false) }

// stopUpward is stop for what clients say; they go on hearing.
func (l *line) stopUpward() <-chan struct{} { return l.halt(true) }

func (l *line) halt(oneWay bool) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oneWay = oneWay
	select {
	case <-l.open:
		l.open, l.waiting = make(chan struct{}), make(chan struct{})
	default:
	}
	return l.waiting
}

// start lets everything through that waits.
func (l *line) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// cut ends all calls without a word.
func (l *line) cut() {
	for _, c := range l.present() {
		c.reset()
	}
}

// move makes all present calls deaf and dumb for good.
func (l *line) move() {
	for _, c := range l.present() {
		c.strand.Do(func() { close(c.stranded) })
	}
}

func (l *line) present() (calls []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		calls = append(calls, c)
	}
	return calls
}

// count is the number of calls carried so far.
func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.carried
}

// pass waits until bytes may pass; not ok when they need not any more.
func (l *line) pass(upward bool, over <-chan struct{}) (ok bool) {
	l.mu.Lock()
	open := l.open
	if upward {
		l.took()
	}
	free := l.oneWay && !upward
	l.mu.Unlock()
	if free {
		return true
	}
	select {
	case <-open:
		return true
	case <-over:
		return false
	}
}

// took notes that a client's bytes wait, if they do.
func (l *line) took() {
	select {
	case <-l.open:
		return
	default:
	}
	select {
	case <-l.waiting:
	default:
		close(l.waiting)
	}
}

// carry takes an upgrade request over, for as long as its connection lives.
func (l *line) carry(w http.ResponseWriter, r *http.Request) {
	if !l.pass(true, r.Context().Done()) {
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	far, err := net.Dial("tcp", l.door)
	if err != nil {
		_ = near.Close()
		return
	}
	c := &call{near: near, far: far, stranded: make(chan struct{})}
	l.mu.Lock()
	l.calls[c] = struct{}{}
	l.carried++
	l.mu.Unlock()
	defer func() {
		c.end()
		l.mu.Lock()
		delete(l.calls, c)
		l.mu.Unlock()
	}()
	r.Header.Set(relayed, "1")
	if err := r.Write(far); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pump(c, far, func(p []byte) (int, error) { return buffered.Read(p) }, true) })
	both.Go(func() { l.pump(c, near, func(p []byte) (int, error) { return far.Read(p) }, false) })
	both.Wait()
}

// pump moves bytes one way. What waits at a closed line is kept, and the end
// of the reader is seen all the same: a machine whose program was killed says
// so even when the program's last words are lost.
func (l *line) pump(c *call, to net.Conn, read func([]byte) (int, error), upward bool) {
	defer c.end()
	const pieces = 256
	queue, over, written := make(chan []byte, pieces), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		defer c.end()
		l.forward(c, to, queue, over, upward)
	}()
	defer func() {
		close(queue)
		<-written
	}()
	for {
		buf := make([]byte, 32<<10)
		n, err := read(buf)
		if n > 0 {
			select {
			case queue <- buf[:n]:
			case <-written:
			case <-c.stranded: // lost
			}
		}
		if err != nil {
			close(over)
			return
		}
	}
}

// forward writes what a pump has read, while the line is open.
func (l *line) forward(c *call, to net.Conn, queue <-chan []byte, over <-chan struct{}, upward bool) {
	first := true
	for p := range queue {
		if !l.pass(upward, over) {
			return
		}
		select {
		case <-c.stranded:
			continue
		default:
		}
		if _, err := to.Write(p); err != nil {
			return
		}
		if !upward && first { // the answer's head comes in one piece
			first = false
			l.answered()
		}
	}
}

// onAnswer has f called when the next upgrade was answered.
func (l *line) onAnswer(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heads = f
}

// answered tells whoever wants to know that an upgrade was answered.
func (l *line) answered() {
	l.mu.Lock()
	heads := l.heads
	l.heads = nil
	l.mu.Unlock()
	if heads != nil {
		heads()
	}
}
