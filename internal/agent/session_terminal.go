//go:build linux || darwin

package agent

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A window is a terminal's size in characters and pixels.
type window struct{ Cols, Rows, Width, Height uint32 }

// left says whether a client whose channel is closed meant to go: it said so,
// or it is still there.
func (c *connection) left() bool {
	c.server.mu.Lock()
	leaving := c.leaving
	c.server.mu.Unlock()
	if leaving {
		return true
	}
	_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// attached is the session's view of a terminal session, or nil.
func (s *session) attached() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// setView hands the terminal over to who looks after it from now on.
func (s *session) setView(a *attachment) {
	s.mu.Lock()
	pty := s.pty
	s.at, s.pty, s.process = a, nil, nil
	s.mu.Unlock()
	if pty != nil && pty != a.shell.pty { // it told the size, no more
		pty.close()
	}
}

// control handles the requests to the terminal session that it is attached to.
func (s *session) control(kind string, payload []byte) (ok bool, start func()) {
	at := s.attached()
	if at == nil {
		return false, nil
	}
	switch kind {
	case "detach@cloudssh":
		return at.shell.detach(at)
	case "redraw@cloudssh":
		at.shell.repaint(at)
		return true, nil
	case "share@cloudssh":
		var req struct{ Mode uint32 }
		if ssh.Unmarshal(payload, &req) != nil || req.Mode > uint32(shareWrite) || at.viewer {
			return false, nil
		}
		at.shell.setShare(shareMode(req.Mode))
		return true, nil
	}
	return false, nil
}

func (s *session) allocate(payload []byte) bool {
	var req struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if ssh.Unmarshal(payload, &req) != nil || s.started || s.sized {
		return false
	}
	s.sized, s.window = true, window{req.Cols, req.Rows, req.Width, req.Height}
	if s.conn.caller.guest { // who looks on at another's
		return true
	}
	pty, err := openTerminal()
	if err != nil {
		s.conn.log.Warn("no terminal", "reason", err.Error())
		s.lines, s.term = true, "dumb"
		return true
	}
	// A mode or size that cannot be set is not worth the terminal.
	modes := parseModes([]byte(req.Modes))
	if err := errors.Join(pty.resize(s.window), pty.apply(modes)); err != nil {
		s.conn.log.Warn("setting up the terminal", "reason", err.Error())
	}
	if !strings.ContainsRune(req.Term, 0) {
		s.term = req.Term
	}
	s.mu.Lock()
	s.pty = pty
	s.mu.Unlock()
	return true
}

func (s *session) terminal() *terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pty
}

func (s *session) resize(payload []byte) bool {
	var req window
	if ssh.Unmarshal(payload, &req) != nil {
		return false
	}
	if at := s.attached(); at != nil {
		return at.resize(req) == nil
	}
	pty := s.terminal()
	return pty != nil && pty.resize(req) == nil
}
