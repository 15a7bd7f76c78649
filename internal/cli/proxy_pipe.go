package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// errGreeting says that the agent does not begin as agents of our version do.
var errGreeting = errors.New("the agent greets in another way than its version does")

// greetingOf is the first line that an agent of a version says (RFC 4253
// section 4.2): no spaces, no minus signs, no control characters.
func greetingOf(version string) string {
	token := []rune(version)
	for i, r := range token {
		if r <= ' ' || r == '-' || r > '~' {
			token[i] = '_'
		}
	}
	if len(token) == 0 {
		token = []rune("devel")
	}
	return "SSH-2.0-cloudssh_" + string(token[:min(len(token), 100)]) + "\r\n"
}

// pipe carries the bytes between an SSH client and the agent. It has greeted the
// client before there is an agent. When an agent has not said a word, another may
// take its place: then it is told what the client has said so far.
type pipe struct {
	in       io.Reader
	out      io.WriteCloser
	greeting []byte

	answered atomic.Bool
	ended    chan struct{} // closed when the client has ended its side

	mu    sync.Mutex
	begun sync.Cond // there is a conn
	conn  stream
	said  []byte // by the client, until the agent has answered
	eof   bool

	toldMuch bool // more than is kept
}

// newPipe greets the client in the agent's name. Clients wait for a greeting no
// longer than for a TCP connection, as Ansible (10 s) and Visual Studio Code
// (15 s) have OpenSSH do, and a twin may take a minute; for what follows they
// wait as long as it takes. left is called when the client has ended before
// there is an agent.
func newPipe(in io.Reader, out io.WriteCloser, greeting string, left func()) *pipe {
	p := &pipe{in: in, out: out, greeting: []byte(greeting), ended: make(chan struct{})}
	p.begun.L = &p.mu
	_, _ = p.out.Write(p.greeting) // a client that is gone has ended its side, too
	go p.up(left)
	return p
}

// unheard reports whether a client still waits for the first word of an agent,
// so that another agent may be told all that the client has said.
func (p *pipe) unheard() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.answered.Load() && !p.toldMuch && !p.eof
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
	p.begun.Broadcast()
	_, _ = conn.Write(p.said) // its error is that of reading, too
	if p.eof {
		_ = conn.CloseWrite() // as above
	}
}

// up reads what the client says.
func (p *pipe) up(left func()) {
	defer close(p.ended)
	buffer := make([]byte, pipeBuffer)
	for {
		n, err := p.in.Read(buffer)
		if early := p.say(buffer[:n], err != nil); early && err != nil {
			left()
		}
		if err != nil {
			return
		}
	}
}

// say passes on what the client says. It reports whether there is no agent yet.
func (p *pipe) say(text []byte, eof bool) (early bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.conn == nil && len(p.said)+len(text) > maxUnanswered {
		p.begun.Wait()
	}
	p.toldMuch = p.toldMuch || len(p.said)+len(text) > maxUnanswered
	if p.toldMuch || p.answered.Load() {
		p.said = nil
	} else {
		p.said = append(p.said, text...)
	}
	p.eof = eof
	if p.conn == nil {
		return true
	}
	if len(text) > 0 {
		_, _ = p.conn.Write(text) // its error is that of reading, too
	}
	if eof {
		_ = p.conn.CloseWrite() // as above
	}
	return false
}

// down passes on what the agent says. A client that takes no more is gone.
func (p *pipe) down(conn stream) error {
	buffer := make([]byte, pipeBuffer)
	greeting := p.greeting
	for {
		n, err := conn.Read(buffer)
		text := buffer[:n]
		if n > 0 {
			p.answered.Store(true)
		}
		if n := min(n, len(greeting)); n > 0 {
			if !bytes.Equal(text[:n], greeting[:n]) {
				return fmt.Errorf("%w: %q", errGreeting, text[:n])
			}
			text, greeting = text[n:], greeting[n:]
		}
		if len(text) > 0 {
			if _, err := p.out.Write(text); err != nil {
				return nil //nolint:nilerr // that is its way to end
			}
		}
		if err != nil {
			return err
		}
	}
}
