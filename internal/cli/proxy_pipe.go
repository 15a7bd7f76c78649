package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pipeBuffer is how much is moved at once: four of the pipes that ssh makes.
	pipeBuffer = 256 << 10
	// maxUnanswered bounds what a client may say before the agent has said
	// anything, and another twin could have to be told: the line with its
	// version, and the beginning of the key exchange.
	maxUnanswered = 256 << 10
	// lastWords is how long the agent has for what it still sends after the
	// client has ended its side.
	lastWords = 5 * time.Second
)

// A stream leads to an agent.
type stream interface {
	io.ReadWriter
	CloseWrite() error
	Abort() error
}

// pipe carries the bytes between an SSH client and the agent. When an agent has
// not said a word, another may take its place: then it is told what the client
// has said so far.
type pipe struct {
	in  io.Reader
	out io.WriteCloser

	once     sync.Once
	answered atomic.Bool
	ended    chan struct{} // closed when the client has ended its side

	mu   sync.Mutex
	conn stream
	said []byte // by the client, until the agent has answered
	eof  bool

	toldMuch bool // more than is kept
}

// unheard reports whether no agent has said anything yet, so that another may
// be told all that the client has said.
func (p *pipe) unheard() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.answered.Load() && !p.toldMuch
}

// close lets the client know that there is nothing more to read.
func (p *pipe) close() { _ = p.out.Close() } // nobody is left to be told

// carry moves bytes until both sides have ended theirs, or one of them is gone.
// Afterwards conn is closed. An orderly end, whoever began it, is no error.
func (p *pipe) carry(ctx context.Context, conn stream) error {
	defer conn.Abort() //nolint:errcheck // it has none, and all is said
	p.begin(conn)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-p.ended:
		case <-ctx.Done():
			_ = conn.CloseWrite() // it may have ended already
		case <-over:
			return
		}
		late := time.NewTimer(lastWords)
		defer late.Stop()
		select {
		case <-late.C:
			_ = conn.Abort() // as above
		case <-over:
		}
	}()
	err := p.down(conn)
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// begin tells an agent what the client has said, and everything that follows.
func (p *pipe) begin(conn stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = conn
	_, _ = conn.Write(p.said) // its error is that of reading, too
	if p.eof {
		_ = conn.CloseWrite() // as above
	}
	p.once.Do(func() {
		p.ended = make(chan struct{})
		go p.up()
	})
}

// up reads what the client says.
func (p *pipe) up() {
	buffer := make([]byte, pipeBuffer)
	for {
		n, err := p.in.Read(buffer)
		p.say(buffer[:n], err != nil)
		if err != nil {
			close(p.ended)
			return
		}
	}
}

// say passes on what the client says.
func (p *pipe) say(text []byte, eof bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toldMuch = p.toldMuch || len(p.said)+len(text) > maxUnanswered
	if p.toldMuch || p.answered.Load() {
		p.said = nil
	} else {
		p.said = append(p.said, text...)
	}
	if len(text) > 0 {
		_, _ = p.conn.Write(text) // its error is that of reading, too
	}
	if eof {
		p.eof = true
		_ = p.conn.CloseWrite() // as above
	}
}

// down passes on what the agent says. A client that takes no more is gone.
func (p *pipe) down(conn stream) error {
	buffer := make([]byte, pipeBuffer)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			p.answered.Store(true)
			if _, err := p.out.Write(buffer[:n]); err != nil {
				return nil //nolint:nilerr // that is its way to end
			}
		}
		if err != nil {
			return err
		}
	}
}
