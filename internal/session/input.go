package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// How long keys that were typed before `~.` and before `~d` have to go out: a
// program that reads nothing keeps nobody. Who detaches expects to find them typed.
const (
	leaveDelay  = 100 * time.Millisecond
	detachDelay = 2 * time.Second
)

// input copies standard input to the command. Its end is passed on, and the
// command's output goes on.
func (r *run) input() {
	if r.cmd.Stdin != nil {
		copying := r.keys
		if r.cmd.Terminal == nil {
			copying = func(to io.Writer, from io.Reader) (readErr, writeErr error) {
				return transfer(to, from, make([]byte, 64<<10))
			}
		}
		to := io.Writer(r.ch)
		if a := r.cmd.Attach; a != nil && a.ReadOnly {
			to = io.Discard
		}
		readErr, writeErr := copying(to, r.cmd.Stdin)
		switch {
		case errors.Is(readErr, tty.ErrDisconnect):
			r.left <- ErrLeft
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

// typed is a part of what a person types, or a mark in it.
type typed struct {
	keys []byte
	sent chan<- struct{} // closed when all before it is sent; nil: no mark
}

// keys is transfer for what a person types. It reads on while nothing can be
// sent, so that `~.` is heard while the connection is being restored.
func (r *run) keys(to io.Writer, from io.Reader) (readErr, writeErr error) {
	go r.sendKeys(to)
	buf := make([]byte, 32<<10)
	for readErr == nil {
		var n int
		if n, readErr = from.Read(buf); n == 0 {
			continue
		}
		select {
		case r.typed <- typed{keys: bytes.Clone(buf[:n])}:
			// A read of a terminal blocks the thread. The sender, which is next on
			// it, would have to wait for another thread: so it goes first.
			runtime.Gosched()
		case <-r.unsent:
			return nil, errUnsent
		case <-r.over:
			return nil, errShut
		}
	}
	ctx := context.Background()
	switch {
	case errors.Is(readErr, io.EOF):
		readErr = nil
	case errors.Is(readErr, tty.ErrDisconnect):
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, leaveDelay)
		defer stop()
	}
	return readErr, r.flush(ctx)
}

var errUnsent = errors.New("the command takes no more input")

// sendKeys sends what is typed until that fails, or the session is over.
func (r *run) sendKeys(to io.Writer) {
	for {
		select {
		case t := <-r.typed:
			if t.sent != nil {
				close(t.sent)
			} else if _, err := to.Write(t.keys); err != nil {
				close(r.unsent)
				return
			}
		case <-r.over:
			return
		}
	}
}

// flush waits until all is sent that was typed before, or until ctx ends, which
// is no error.
func (r *run) flush(ctx context.Context) error {
	sent := make(chan struct{})
	select {
	case r.typed <- typed{sent: sent}:
	case <-r.unsent:
		return errUnsent
	case <-ctx.Done():
		return nil
	case <-r.over:
		return errShut
	}
	select {
	case <-sent:
	case <-r.unsent:
		return errUnsent
	case <-ctx.Done():
	case <-r.over:
		return errShut
	}
	return nil
}
