package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// leaveDelay is how long keys that were typed before `~.` have to go out.
const leaveDelay = 100 * time.Millisecond

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

// keys is transfer for what a person types. It reads on while nothing can be
// sent, so that `~.` is heard while the connection is being restored.
func (r *run) keys(to io.Writer, from io.Reader) (readErr, writeErr error) {
	typed := make(chan []byte, 64) // large pastes wait
	sent := make(chan error, 1)
	go func() {
		var err error
		for p := range typed {
			if _, err = to.Write(p); err != nil {
				break
			}
		}
		sent <- err
	}()
	buf := make([]byte, 32<<10)
	for readErr == nil {
		var n int
		if n, readErr = from.Read(buf); n == 0 {
			continue
		}
		select {
		case typed <- bytes.Clone(buf[:n]):
		case writeErr = <-sent:
			return nil, writeErr
		case <-r.over:
			return nil, errShut
		}
	}
	close(typed)
	var patience <-chan time.Time
	switch {
	case errors.Is(readErr, io.EOF):
		readErr = nil
	case errors.Is(readErr, tty.ErrDisconnect):
		patience = time.After(leaveDelay)
	}
	select {
	case writeErr = <-sent:
	case <-patience:
	case <-r.over:
		writeErr = errShut
	}
	return readErr, writeErr
}
