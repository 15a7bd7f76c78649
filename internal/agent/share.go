//go:build linux || darwin

package agent

import "github.com/cloudssh/cloudssh/internal/screen"

// A shareMode is what others than the owner may do with a session.
type shareMode uint32

const (
	shareOff shareMode = iota
	shareRead
	shareWrite
)

func (m shareMode) String() string { return [...]string{"", "read", "write"}[m] }

// setShare opens a session to others or closes it to them.
func (s *shellSession) setShare(mode shareMode) {
	s.mu.Lock()
	s.share = mode
	for v := range s.viewers {
		if v.session.conn.caller.guest && (mode == shareOff || mode == shareRead && v.types) {
			s.dismiss(v, "the session is not shared any more")
		}
	}
	s.mu.Unlock()
	s.registry.changed()
}

// dismiss ends a viewer's view. The mutex is held.
func (s *shellSession) dismiss(v *attachment, reason string) {
	delete(s.viewers, v)
	s.screen.Clean(len(s.viewers) > 0)
	v.release(s.detachedMessage(reason))
	s.notice(v.describe() + " left")
}

// join adds a viewer.
func (s *shellSession) join(v *attachment, scrollback bool) {
	v.viewer = true
	s.notice(v.describe() + " joined")
	s.viewers[v] = true
	s.screen.Clean(true)
	v.send("session@cloudssh", struct{ Session uint32 }{s.id})
	v.redraw(screen.RedrawOptions{Scrollback: scrollback && v.fits()})
	if cols, rows := s.screen.Size(); v.cols < cols || v.rows < rows {
		v.send("notice@cloudssh", struct{ Text string }{sizeNotice(cols, rows)})
	}
}

// leave removes a viewer whose client is gone.
func (s *shellSession) leave(v *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers[v] {
		delete(s.viewers, v)
		s.screen.Clean(len(s.viewers) > 0)
		s.notice(v.describe() + " left")
	}
}

// notice tells the session's client something.
func (s *shellSession) notice(text string) {
	if s.client != nil {
		s.client.send("notice@cloudssh", struct{ Text string }{text})
	}
}

// describe is who looks on, and how.
func (a *attachment) describe() string {
	if a.types {
		return a.session.conn.caller.name
	}
	return a.session.conn.caller.name + " (read-only)"
}
