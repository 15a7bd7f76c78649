package session

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// collect gathers output and status and reports the end: the channel was
// closed, or both outputs ended after a status. Status, data and EOF may come
// in any order. What the agent said before the first output is told before it.
func (r *run) collect(reqs <-chan *ssh.Request) {
	defer close(r.ended)
	outputs, first, told := make(chan struct{}), make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(first) })
	var copies sync.WaitGroup
	copies.Go(func() { r.output(r.stdout, &later{r.ch, begin, told}) })
	copies.Go(func() { r.output(r.stderr, &later{r.ch.Stderr(), begin, told}) })
	go func() {
		copies.Wait()
		close(outputs)
	}()
	known, flowing := false, outputs
	for !known || flowing != nil {
		select {
		case req, ok := <-reqs:
			if !ok {
				if first != nil {
					close(told)
				}
				<-outputs
				return
			}
			known = r.request(req) || known
		case <-first:
			first = nil
			for range len(reqs) { // the connection has put them there before it went on to the output
				known = r.request(<-reqs) || known
			}
			close(told)
		case <-flowing:
			flowing = nil
		}
	}
	go ssh.DiscardRequests(reqs) // until the agent closes the channel too
}

// later is output that is passed on when what came before it is told.
type later struct {
	io.Reader
	begin func()
	told  <-chan struct{}
}

func (l *later) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.begin()
	<-l.told
	return n, err
}

// outputSize is what is read at once, in bytes; a channel's window is 2 MiB.
const outputSize = 256 << 10

// output copies one stream of output until it ends.
func (r *run) output(w *gate, from io.Reader) {
	// Each read gives the agent a part of the window back, in a packet of its
	// own: a few large ones cost less than many small ones.
	if _, writeErr := transfer(w, from, make([]byte, outputSize)); writeErr != nil && !errors.Is(writeErr, errShut) {
		// Nobody reads on: tell the command as a pipe would.
		r.fail(failure{fmt.Errorf("writing the command's output: %w", writeErr), ssh.SIGPIPE})
	}
}

// request serves one request of the agent, and says whether it was one that
// ends the session.
func (r *run) request(req *ssh.Request) (last bool) {
	last, end := r.ending(req)
	if last {
		select {
		case r.status <- end:
		default: // the first one counts
		}
	}
	known := last || r.event(req) || req.Type == "keepalive@openssh.com"
	if req.WantReply {
		_ = req.Reply(known, nil) // fails with the connection
	}
	return last
}

// ending reads the requests that say how the session ended.
func (r *run) ending(req *ssh.Request) (ok bool, end error) {
	switch req.Type {
	case "exit-status":
		var m struct{ Status uint32 }
		err := ssh.Unmarshal(req.Payload, &m)
		if m.Status == 0 {
			return err == nil, nil
		}
		return err == nil, &ExitError{Code: int(m.Status)}
	case "exit-signal":
		var m struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}
		err := ssh.Unmarshal(req.Payload, &m)
		return err == nil, &ExitError{Code: 128 + signalNumber(ssh.Signal(m.Signal)), Signal: m.Signal, Message: m.Message}
	case "detached@cloudssh":
		var m struct {
			Session uint32
			Until   uint64
			Reason  string
		}
		err := ssh.Unmarshal(req.Payload, &m)
		return err == nil, &DetachedError{Session: m.Session, Until: unix(int64(m.Until)), Reason: m.Reason}
	case "stopped@cloudssh":
		var m struct{ Reason string }
		err := ssh.Unmarshal(req.Payload, &m)
		return err == nil, &NoStatusError{Err: errors.New(m.Reason), Fate: Stopped, attach: r.cmd.Attach != nil}
	}
	return false, nil
}

// event passes on what the agent tells about a session that goes on.
func (r *run) event(req *ssh.Request) (known bool) {
	switch req.Type {
	case "session@cloudssh":
		var m struct{ Session uint32 }
		if known = ssh.Unmarshal(req.Payload, &m) == nil; known && r.cmd.Started != nil {
			r.cmd.Started(m.Session)
		}
	case "notice@cloudssh":
		var m struct{ Text string }
		if known = ssh.Unmarshal(req.Payload, &m) == nil; known {
			r.notice(m.Text)
		}
	}
	return known
}

func (r *run) notice(text string) {
	if r.cmd.Notice != nil {
		r.cmd.Notice(text)
	}
}

// start asks for the command, then feeds it.
func (r *run) start() {
	err := r.ask()
	switch {
	case err == nil, errors.Is(err, io.EOF): // the end of the channel is collect's to tell
	case errors.Is(err, errRefused):
		r.fail(failure{err: r.noStatus(err)})
	default: // it could not be sent: what ended the connection says more
		r.fail(failure{err: r.noStatus(r.client.why())})
	}
	close(r.asked)
	if err != nil {
		return
	}
	close(r.started)
	go r.resize()
	go r.forwardSignals()
	go r.share()
	r.input()
}

// ask makes the requests that lead to a running command.
func (r *run) ask() error {
	if r.cmd.ForwardAgent != nil {
		ok, err := r.ch.SendRequest("auth-agent-req@openssh.com", true, nil)
		if err != nil {
			return err
		}
		if !ok {
			r.notice("the agent in the twin does not forward your SSH agent")
		}
	}
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
	if r.cmd.Persist > 0 {
		seconds := uint32(min((r.cmd.Persist+time.Second-1)/time.Second, math.MaxUint32))
		if err := r.require("persist@cloudssh", ssh.Marshal(struct{ Grace uint32 }{seconds}), "to keep a session without its client"); err != nil {
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
	case r.cmd.Attach != nil:
		a := *r.cmd.Attach
		ok, err := r.ch.SendRequest("attach@cloudssh", true, ssh.Marshal(struct {
			Session              uint32
			ReadOnly, Scrollback bool
		}{a.Session, a.ReadOnly, a.Scrollback}))
		if err == nil && !ok {
			return fmt.Errorf("%w: %w", errRefused, ErrNoSession)
		}
		return err
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

// share opens the session to others, if that is wanted from the start.
func (r *run) share() {
	if r.cmd.Share == ShareOff {
		return
	}
	ok, err := r.ch.SendRequest("share@cloudssh", true, shareRequest(r.cmd.Share)) // ends with the channel
	if err == nil && !ok {
		r.notice("the agent does not let this session be shared")
	}
}
