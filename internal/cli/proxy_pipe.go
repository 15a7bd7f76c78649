package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudssh/cloudssh/internal/transport"
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

// pipe carries the bytes between our standard input and output and the agent.
// When an agent has not said a word, another may take its place: then it is
// told what the client has said so far.
type pipe struct {
	in, out *os.File

	once     sync.Once
	answered atomic.Bool
	ended    chan struct{} // closed when the client has ended its side

	mu   sync.Mutex
	conn *transport.Conn
	said []byte // by the client, until the agent has answered
	eof  bool
}

// heard reports whether an agent has said anything.
func (p *pipe) heard() bool { return p.answered.Load() }

// close lets the client know that there is nothing more to read.
func (p *pipe) close() { _ = p.out.Close() } // nobody is left to be told

// carry moves bytes until both sides have ended theirs, or one of them is gone.
// Afterwards conn is closed. An orderly end, whoever began it, is no error.
func (p *pipe) carry(ctx context.Context, conn *transport.Conn) error {
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
func (p *pipe) begin(conn *transport.Conn) {
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
	switch {
	case p.answered.Load():
		p.said = nil
	case len(p.said)+len(text) <= maxUnanswered:
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
func (p *pipe) down(conn *transport.Conn) error {
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
