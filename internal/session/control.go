package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// ShareMode is what others may do in a terminal session that they join.
type ShareMode uint32

// The modes, with their numbers on the wire.
const (
	ShareOff   ShareMode = iota // nobody may join
	ShareRead                   // others may look
	ShareWrite                  // others may type, too
)

// String is empty for ShareOff.
func (m ShareMode) String() string {
	switch m {
	case ShareRead:
		return "read"
	case ShareWrite:
		return "write"
	}
	return ""
}

func parseShare(s string) ShareMode {
	for _, m := range []ShareMode{ShareRead, ShareWrite} {
		if s == m.String() {
			return m
		}
	}
	return ShareOff
}

func shareRequest(m ShareMode) []byte {
	return ssh.Marshal(struct{ Mode uint32 }{uint32(m)})
}

// Attach asks for a terminal session that exists instead of a new one.
type Attach struct {
	Session    uint32 // its number; 0: the only one that is detached
	ReadOnly   bool   // look, do not type; the session stays with whoever has it
	Scrollback bool   // send what has scrolled off the screen, too
}

// Control steers a session while Run runs it. The zero Control is ready for
// use; it serves one Run at a time. Its methods may be called from several
// goroutines. They wait while the connection is being restored, until ctx
// ends, and harm nothing when they give up.
type Control struct {
	mu  sync.Mutex
	run *run
}

// Detach leaves the session to the agent: Run returns a *DetachedError. What was
// read from Stdin before is sent before, unless the command takes no input.
func (c *Control) Detach(ctx context.Context) error {
	if err := c.request(ctx, detachRequest, nil); err != nil {
		return fmt.Errorf("detaching from the session: %w", err)
	}
	return nil
}

// Redraw has the agent send the visible screen again, in order with the
// output.
func (c *Control) Redraw(ctx context.Context) error {
	if err := c.request(ctx, "redraw@cloudssh", nil); err != nil {
		return fmt.Errorf("asking for the screen: %w", err)
	}
	return nil
}

// Share sets what others may do in the session.
func (c *Control) Share(ctx context.Context, mode ShareMode) error {
	if err := c.request(ctx, "share@cloudssh", shareRequest(mode)); err != nil {
		return fmt.Errorf("sharing the session: %w", err)
	}
	return nil
}

func (c *Control) set(r *run) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.run = r
	}
}

func (c *Control) request(ctx context.Context, request string, payload []byte) error {
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r == nil {
		return errNoSession
	}
	return r.control(ctx, request, payload)
}

const detachRequest = "detach@cloudssh"

var errNoSession = errors.New("no session is running")

// control makes a request about a running session. As with Client.ask, the
// waiting for the reply has a goroutine of its own.
func (r *run) control(ctx context.Context, request string, payload []byte) error {
	select {
	case <-r.started:
	case <-r.over:
		return errNoSession
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if request == detachRequest && r.cmd.Terminal != nil && r.cmd.Stdin != nil {
		typing, stop := context.WithTimeout(ctx, detachDelay)
		_ = r.flush(typing) // what cannot be sent is told by the request
		stop()
	}
	select {
	case r.asking <- struct{}{}:
	case <-r.over:
		return errNoSession
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	got := make(chan error, 1)
	go func() {
		defer func() { <-r.asking }()
		ok, err := r.ch.SendRequest(request, true, payload)
		switch {
		case errors.Is(err, io.EOF):
			err = errNoSession // it ended before the answer
		case err == nil && !ok:
			err = errRefused
		}
		got <- err
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
