package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
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
}

// Run runs a command and returns when it has ended and all of its output was
// written.
//
// It returns nil for status 0, *ExitError for any other status, ErrDetached
// when the person typed `~.`, *NoStatusError when the connection or the agent
// failed, and the cause of ctx when ctx ended; then the command gets SIGHUP
// (with a terminal) or SIGTERM, and a moment to end. An error of the local
// streams is returned as it is, and the command ended.
func (c *Client) Run(ctx context.Context, cmd Command) error {
	if cmd.Shell != "" && len(cmd.Argv) > 0 {
		return errors.New("a command is either a string for the shell or an argument vector")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ch, reqs, err := c.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &NoStatusError{Err: fmt.Errorf("opening a session: %w", err)}
	}
	r := &run{
		client: c, ch: ch, cmd: cmd,
		stdout: &gate{w: cmd.Stdout}, stderr: &gate{w: cmd.Stderr},
		status: make(chan error, 1), failed: make(chan failure, 1), left: make(chan error, 1),
		over: make(chan struct{}), ended: make(chan struct{}),
	}
	defer close(r.over)
	go r.collect(reqs)
	go r.start()
	return r.wait(ctx)
}

// open opens a session channel; x/crypto's OpenChannel cannot be cancelled.
func (c *Client) open(ctx context.Context) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	got := make(chan opened, 1)
	go func() {
		ch, reqs, err := c.conn.OpenChannel("session", nil)
		got <- opened{ch, reqs, err}
	}()
	select {
	case o := <-got:
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

	status chan error    // nil or *ExitError, at most one
	failed chan failure  // what makes going on pointless; the first one counts
	left   chan error    // why standard input ended, when not at its end
	ended  chan struct{} // closed when nothing more will come
	over   chan struct{} // closed when Run returns
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
		return &NoStatusError{Err: r.client.why(), MayRun: r.sent.Load()}
	}
}

// why says what ended a channel that had no status.
func (c *Client) why() error {
	t := time.NewTimer(closeDelay)
	defer t.Stop()
	select {
	case <-c.done:
		if c.err != nil && !errors.Is(c.err, io.EOF) {
			return fmt.Errorf("the connection was lost: %w", c.err)
		}
		return errors.New("the connection was lost")
	case <-t.C:
		return errors.New("the agent ended the session")
	}
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

// collect gathers output and status and reports the end: the channel was
// closed, or both outputs ended after a status. Status, data and EOF may come
// in any order.
func (r *run) collect(reqs <-chan *ssh.Request) {
	defer close(r.ended)
	outputs := make(chan struct{})
	var copies sync.WaitGroup
	copies.Go(func() { r.output(r.stdout, r.ch) })
	copies.Go(func() { r.output(r.stderr, r.ch.Stderr()) })
	go func() {
		copies.Wait()
		close(outputs)
	}()
	known, flowing := false, outputs
	for !known || flowing != nil {
		select {
		case req, ok := <-reqs:
			if !ok {
				<-outputs
				return
			}
			known = r.request(req) || known
		case <-flowing:
			flowing = nil
		}
	}
	go ssh.DiscardRequests(reqs) // until the agent closes the channel too
}

// output copies one stream of output until it ends.
func (r *run) output(w *gate, from io.Reader) {
	if _, writeErr := transfer(w, from); writeErr != nil && !errors.Is(writeErr, errShut) {
		// Nobody reads on: tell the command as a pipe would.
		r.fail(failure{fmt.Errorf("writing the command's output: %w", writeErr), ssh.SIGPIPE})
	}
}

// request serves one request of the agent, and says whether it was a status.
func (r *run) request(req *ssh.Request) (status bool) {
	var err error
	switch req.Type {
	case "exit-status":
		var m struct{ Status uint32 }
		if ssh.Unmarshal(req.Payload, &m) == nil {
			status = true
			if m.Status != 0 {
				err = &ExitError{Code: int(m.Status)}
			}
		}
	case "exit-signal":
		var m struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}
		if ssh.Unmarshal(req.Payload, &m) == nil {
			status = true
			err = &ExitError{Code: 128 + signalNumber(ssh.Signal(m.Signal)), Signal: m.Signal, Message: m.Message}
		}
	}
	if status {
		select {
		case r.status <- err:
		default: // the first one counts
		}
	}
	if req.WantReply {
		_ = req.Reply(status || req.Type == "keepalive@openssh.com", nil) // fails with the connection
	}
	return status
}

// start asks for the command, then feeds it.
func (r *run) start() {
	err := r.ask()
	switch {
	case errors.Is(err, io.EOF):
		return // the channel has ended, and collect knows
	case err != nil:
		r.fail(failure{err: &NoStatusError{Err: err, MayRun: r.sent.Load()}})
		return
	}
	go r.resize()
	go r.forwardSignals()
	r.input()
}

// ask makes the requests that lead to a running command.
func (r *run) ask() error {
	if t := r.cmd.Terminal; t != nil {
		if err := r.require("pty-req", ptyRequest(t), "a terminal"); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.cmd.Env)) {
		m := struct{ Name, Value string }{name, r.cmd.Env[name]}
		if _, err := r.ch.SendRequest("env", false, ssh.Marshal(m)); err != nil {
			return err
		}
	}
	r.sent.Store(true)
	err := r.startCommand()
	if errors.Is(err, errRefused) {
		r.sent.Store(false)
	}
	return err
}

func (r *run) startCommand() error {
	switch {
	case len(r.cmd.Argv) > 0:
		return r.require("exec-argv@cloudssh", marshalArgv(r.cmd.Argv), "an argument vector")
	case r.cmd.Shell != "":
		return r.require("exec", ssh.Marshal(struct{ Command string }{r.cmd.Shell}), "a command")
	}
	return r.require("shell", nil, "a shell")
}

// require makes a request that must succeed.
func (r *run) require(request string, payload []byte, what string) error {
	ok, err := r.ch.SendRequest(request, true, payload)
	if err == nil && !ok {
		return fmt.Errorf("%w %s", errRefused, what)
	}
	return err
}

// input copies standard input to the command. Its end is passed on, and the
// command's output goes on.
func (r *run) input() {
	if r.cmd.Stdin != nil {
		readErr, writeErr := transfer(r.ch, r.cmd.Stdin)
		switch {
		case errors.Is(readErr, tty.ErrDisconnect):
			r.left <- ErrDetached
			return
		case readErr != nil:
			// An end of file would make a cut input look complete.
			r.left <- fmt.Errorf("reading standard input: %w", readErr)
			return
		case writeErr != nil:
			return // the command, or the channel, takes no more
		}
	}
	_ = r.ch.CloseWrite() // fails when the channel has ended
}

// resize reports changes of the terminal's size in their order.
func (r *run) resize() {
	if r.cmd.Terminal == nil {
		return
	}
	last := r.cmd.Terminal.Size
	for {
		select {
		case s, ok := <-r.cmd.Terminal.Sizes:
			if !ok {
				return
			}
			if s == last {
				continue
			}
			last = s
			if _, err := r.ch.SendRequest("window-change", false, ssh.Marshal(windowOf(s))); err != nil {
				return
			}
		case <-r.over:
			return
		}
	}
}

func (r *run) forwardSignals() {
	for {
		select {
		case s, ok := <-r.cmd.Signals:
			if !ok || r.signal(s) != nil {
				return
			}
		case <-r.over:
			return
		}
	}
}

func (r *run) signal(s ssh.Signal) error {
	_, err := r.ch.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{string(s)}))
	return err
}
