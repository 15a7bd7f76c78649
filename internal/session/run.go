package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

var errRefused = errors.New("the agent refused")

// closeDelay is how long the end of the connection may lag behind the end of
// its channels, so that the reason can be told.
const closeDelay = 500 * time.Millisecond

// Terminal describes the pseudo-terminal to ask for.
type Terminal struct {
	Term  string           // terminal type: the local TERM
	Size  tty.Size         // first size
	Modes map[uint8]uint32 // by opcodes of RFC 4254 section 8
	Sizes <-chan tty.Size  // later sizes; may be nil
}

// Command is what to run, and with which streams. With neither Shell nor Argv
// it is an interactive shell.
type Command struct {
	Shell string   // one string for the remote shell
	Argv  []string // an exact argument vector, with no shell in between

	Terminal *Terminal         // nil: no pseudo-terminal
	Env      map[string]string // asked for; the agent takes what it allows

	// Stdin nil is an empty one. Run may leave a read of it behind when it
	// returns: close it, if it can be closed, to end that too.
	Stdin io.Reader
	// Stdout and Stderr nil are discarded. If they are the same writer, it
	// must allow calls from two goroutines.
	Stdout, Stderr io.Writer

	Signals <-chan ssh.Signal // forwarded to the command; may be nil

	// ForwardAgent, when not nil, lets the command use an SSH agent: it is
	// called for each connection to it. One that an agent of the twin refuses to
	// forward is told by Notice.
	ForwardAgent func() (net.Conn, error)

	// Sessions with a terminal belong to the agent; what follows is for them
	// alone, and only our agent knows it.

	Persist time.Duration // how long it outlives a client that is lost; 0: it does not
	Attach  *Attach       // a session that exists, instead of Shell and Argv
	Share   ShareMode     // what others may do in it from the start
	Control *Control      // steers it; may be nil

	// Started gets the session's number once it runs; Notice gets what the
	// agent has to tell about it: who joins, who leaves. Both may be nil, and
	// must return soon: the session waits for them.
	Started func(session uint32)
	Notice  func(text string)
}

// check finds combinations that make no sense.
func (cmd *Command) check() error {
	switch {
	case cmd.Shell != "" && len(cmd.Argv) > 0:
		return errors.New("a command is either a string for the shell or an argument vector")
	case cmd.Attach != nil && (cmd.Shell != "" || len(cmd.Argv) > 0):
		return errors.New("a session that is attached has its command already")
	case cmd.Terminal == nil && (cmd.Attach != nil || cmd.Persist != 0 || cmd.Share != ShareOff):
		return errors.New("only a session with a terminal can be kept, shared or attached")
	}
	return nil
}

// Run runs a command and returns when it has ended and all of its output was
// written.
//
// It returns nil for status 0, *ExitError for any other status, ErrLeft
// when the person typed `~.`, *DetachedError when the session was left to the
// agent, *NoStatusError when the connection or the agent failed, and the cause
// of ctx when ctx ended; then the command gets SIGHUP (with a terminal) or
// SIGTERM, and a moment to end. An error of the local streams is returned as
// it is, and the command ended.
func (c *Client) Run(ctx context.Context, cmd Command) error {
	if err := cmd.check(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ch, reqs, err := c.open(ctx, "session", nil)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &NoStatusError{Err: fmt.Errorf("opening a session: %w", err), attach: cmd.Attach != nil}
	}
	r := &run{
		client: c, ch: ch, cmd: cmd,
		stdout: &gate{w: cmd.Stdout}, stderr: &gate{w: cmd.Stderr},
		status: make(chan error, 1), failed: make(chan failure, 1), left: make(chan error, 1),
		asked: make(chan struct{}), started: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}),
		asking: make(chan struct{}, 1), typed: make(chan typed, 64), unsent: make(chan struct{}),
	}
	cmd.Control.set(r)
	defer cmd.Control.set(nil)
	defer c.agents.allow(cmd.ForwardAgent)()
	defer close(r.over)
	go r.collect(reqs)
	go r.start()
	return r.wait(ctx)
}

// open opens a channel; x/crypto's OpenChannel cannot be cancelled.
func (c *Client) open(ctx context.Context, kind string, payload []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	got := make(chan opened, 1)
	go func() {
		ch, reqs, err := c.conn.OpenChannel(kind, payload)
		got <- opened{ch, reqs, err}
	}()
	select {
	case o := <-got:
		var refused *ssh.OpenChannelError
		if o.err != nil && !errors.As(o.err, &refused) { // it ended meanwhile, which nobody has said so far
			o.err = c.why()
		}
		return o.ch, o.reqs, o.err
	case <-ctx.Done():
		go func() {
			if o := <-got; o.err == nil {
				go ssh.DiscardRequests(o.reqs)
				_ = o.ch.Close()
			}
		}()
		return nil, nil, context.Cause(ctx)
	}
}

// run is one command on its channel.
type run struct {
	client         *Client
	ch             ssh.Channel
	cmd            Command
	stdout, stderr *gate

	sent atomic.Bool // the request that starts the command went out

	status  chan error    // how the session ended, in the agent's words; at most one
	failed  chan failure  // what makes going on pointless; the first one counts
	left    chan error    // why standard input ended, when not at its end
	asked   chan struct{} // closed when the requests for the command are done with
	started chan struct{} // closed when the command runs
	ended   chan struct{} // closed when nothing more will come
	over    chan struct{} // closed when Run returns
	asking  chan struct{} // holds a token while a request of Control is under way
	typed   chan typed    // what a person has typed, on its way to the command; large pastes wait
	unsent  chan struct{} // closed when no more of that can be sent
}

// failure ends a command; signal, if any, tells the command.
type failure struct {
	err    error
	signal ssh.Signal
}

// wait waits for the end, whichever it is.
func (r *run) wait(ctx context.Context) error {
	select {
	case <-r.ended:
		<-r.asked // it ends with the channel, and may know more
	case f := <-r.failed:
		return r.abandon(f)
	case err := <-r.left:
		return r.abandon(failure{err: err})
	case <-ctx.Done():
		return r.abort(context.Cause(ctx))
	}
	select {
	case f := <-r.failed: // a write failed while the command ended
		return r.abandon(f)
	default:
	}
	_ = r.ch.Close() // the agent may have closed it already
	select {
	case err := <-r.status:
		return err
	default:
		return r.noStatus(r.client.why())
	}
}

// noStatus says what a session came to that ended for this reason.
func (r *run) noStatus(why error) error {
	e := &NoStatusError{Err: why, attach: r.cmd.Attach != nil}
	if r.sent.Load() {
		e.Fate = fateOf(why)
	}
	return e
}

// why says what ended a channel that had no status.
func (c *Client) why() error {
	if first := c.broken(); first != nil { // noted before the channels of a lost connection end
		return lost(first)
	}
	t := time.NewTimer(closeDelay)
	defer t.Stop()
	select {
	case <-c.done:
		return c.lost()
	case <-t.C:
		return errors.New("the agent ended the session")
	}
}

// lost says why the connection has ended; it has.
func (c *Client) lost() error { return lost(c.err) }

func lost(cause error) error {
	if cause != nil && !errors.Is(cause, io.EOF) {
		return fmt.Errorf("the connection was lost: %w", cause)
	}
	return errors.New("the connection was lost")
}

// abort ends a command that the caller no longer wants.
func (r *run) abort(cause error) error {
	s := ssh.SIGTERM
	if r.cmd.Terminal != nil {
		s = ssh.SIGHUP // what a terminal that goes away sends; shells ignore SIGTERM
	}
	go func() { _ = r.signal(s) }() // may block on a dead connection
	t := time.NewTimer(r.client.grace)
	defer t.Stop()
	select {
	case <-r.ended:
	case <-r.failed:
	case <-t.C:
	}
	return r.abandon(failure{err: cause})
}

// abandon leaves the channel, and the streams to their owner.
func (r *run) abandon(f failure) error {
	go func() { // may block on a dead connection
		if f.signal != "" {
			_ = r.signal(f.signal)
		}
		_ = r.ch.Close()
	}()
	r.stdout.close(r.client.grace)
	r.stderr.close(r.client.grace)
	return f.err
}

func (r *run) fail(f failure) {
	select {
	case r.failed <- f:
	default:
	}
}
