//go:build linux || darwin

package agent

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// A caller is who is at the other end of a connection.
type caller struct {
	name  string // the e-mail address the front door verified, else the key's fingerprint
	guest bool   // may only look at, or share, what is shared
}

// SessionInfo is one element of the answer to sessions@cloudssh. Times are in
// unix seconds.
type SessionInfo struct {
	ID       uint32   `json:"id"`
	Title    string   `json:"title"`   // that the program gave the terminal
	Command  string   `json:"command"` // "" for a shell
	Started  int64    `json:"started"`
	Detached int64    `json:"detached"` // since when; 0: it is not
	Until    int64    `json:"until"`    // end of a detached session; 0: none
	Cols     int      `json:"cols"`
	Rows     int      `json:"rows"`
	Share    string   `json:"share"` // "", "read" or "write"
	Viewers  []string `json:"viewers"`
	Owner    string   `json:"owner"`
}

// maxEnded is how many sessions that ended without a client are kept.
const maxEnded = 32

// A shellRegistry has the terminal sessions of an agent. They belong to it and
// not to connections: a client attaches to one, leaves it, and comes back.
type shellRegistry struct {
	expires func() time.Time // end of the lease; zero: none
	changed func()           // called after sessions were detached, attached or ended, without locks held
	hangup  time.Duration    // how long a program that is hung up may take to end

	mu      sync.Mutex
	last    uint32 // number of the newest
	closing bool   // the instance goes away
	all     map[uint32]*shellSession
}

// newShellRegistry makes an empty registry. changed may be nil.
func newShellRegistry(expires func() time.Time, changed func(), hangup time.Duration) *shellRegistry {
	if changed == nil {
		changed = func() {}
	}
	return &shellRegistry{expires: expires, changed: changed, hangup: hangup, all: make(map[uint32]*shellSession)}
}

// snapshot are the sessions by number.
func (r *shellRegistry) snapshot() []*shellSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*shellSession, 0, len(r.all))
	for _, s := range r.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *shellSession) int { return cmp.Compare(a.id, b.id) })
	return all
}

// list describes the sessions that the caller may attach, oldest first.
func (r *shellRegistry) list(by caller) []SessionInfo {
	list := []SessionInfo{} // JSON's [], not null
	for _, s := range r.snapshot() {
		if info := s.info(); !by.guest || info.Share != "" {
			list = append(list, info)
		}
	}
	return list
}

// detached counts the sessions without a client, those that ended and wait to
// be collected included.
func (r *shellRegistry) detached() int {
	n := 0
	for _, s := range r.snapshot() {
		if s.isDetached() {
			n++
		}
	}
	return n
}

func (s *shellSession) isDetached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client == nil
}

// shared says whether a session is shared: then guests may log in.
func (r *shellRegistry) shared() bool {
	return slices.ContainsFunc(r.snapshot(), func(s *shellSession) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.share != shareOff && !s.over
	})
}

func (r *shellRegistry) remove(s *shellSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s.id)
}

// trim forgets the oldest of too many sessions that ended without a client.
func (r *shellRegistry) trim() {
	var ended []*shellSession
	for _, s := range r.snapshot() {
		if s.isDetached() && !s.running() {
			ended = append(ended, s)
		}
	}
	for len(ended) > maxEnded {
		r.remove(ended[0])
		ended = ended[1:]
	}
}

// terminate tells detached sessions that the instance goes away, as
// session.terminate does those with a client, and lets nobody attach any more.
func (r *shellRegistry) terminate() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	for _, s := range r.snapshot() {
		if s.isDetached() {
			s.signal(syscall.SIGHUP, syscall.SIGTERM, syscall.SIGCONT)
		}
	}
}

// kill ends what still runs.
func (r *shellRegistry) kill() {
	for _, s := range r.snapshot() {
		s.signal(syscall.SIGKILL)
	}
}

// await returns when no session runs any more, or at the timeout.
func (r *shellRegistry) await(timeout <-chan time.Time) {
	for _, s := range r.snapshot() {
		select {
		case <-s.ended:
		case <-timeout:
			return
		}
	}
}

// find is the session that a client wants to attach to, if it may. Number 0 is
// the only one without a client, or if there is none, the only one whose client
// cannot be reached.
func (r *shellRegistry) find(id uint32, by caller, readOnly bool) *shellSession {
	r.mu.Lock()
	closing := r.closing
	r.mu.Unlock()
	if closing {
		return nil
	}
	var found []*shellSession
	for _, lost := range []bool{false, true} {
		for _, s := range r.snapshot() {
			if s.admits(id, by, readOnly, lost) {
				found = append(found, s)
			}
		}
		if id != 0 || len(found) > 0 {
			break
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// admits says whether a caller who asked for a number may attach. lost includes
// sessions whose client has no network.
func (s *shellSession) admits(id uint32, by caller, readOnly, lost bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by.guest && (s.share == shareOff || s.share == shareRead && !readOnly || s.over) {
		return false
	}
	if id != 0 {
		return s.id == id
	}
	if s.client == nil || by.guest { // a guest who was invited need not know the number
		return true
	}
	return lost && s.client.away()
}

// away says that the client has no network at the moment, as far as is known.
func (a *attachment) away() bool {
	_, away := a.session.conn.detached()
	return away
}

// An attachRequest is the payload of attach@cloudssh.
type attachRequest struct {
	Session              uint32
	ReadOnly, Scrollback bool
}

// attach connects a client to a session, which leaves whom it was connected to
// if the client is the owner's and does not only look on. The client is served
// when start is called.
func (r *shellRegistry) attach(s *session, payload []byte) (ok bool, start func()) {
	var req attachRequest
	if ssh.Unmarshal(payload, &req) != nil {
		return false, nil
	}
	by := s.conn.caller
	shell := r.find(req.Session, by, req.ReadOnly)
	if shell == nil {
		return false, nil
	}
	a := newAttachment(shell, s)
	a.types = !req.ReadOnly
	shell.mu.Lock()
	if by.guest || req.ReadOnly {
		shell.join(a, req.Scrollback)
	} else {
		shell.take(a, s, req.Scrollback)
	}
	if shell.over {
		status := shell.status
		a.post(parcel{finally: func() { a.session.exit(status) }})
		if !a.viewer {
			r.remove(shell)
		}
	}
	shell.mu.Unlock()
	s.setView(a)
	shell.log.Info("session attached", "caller", by.name, "guest", by.guest, "read_only", req.ReadOnly)
	r.changed()
	return true, a.start
}

// take makes a client the session's.
func (s *shellSession) take(a *attachment, by *session, scrollback bool) {
	if old := s.client; old != nil {
		old.release(s.detachedMessage("attached elsewhere by " + by.conn.caller.name))
	}
	s.setClient(a)
	if by.persist > 0 {
		s.grace = by.persist
	}
	if by.sized {
		s.resize(by.window) //nolint:errcheck // the pty is gone only if the program is
	}
	a.send("session@cloudssh", struct{ Session uint32 }{s.id})
	a.redraw(screen.RedrawOptions{Scrollback: scrollback})
}

// A detachedMessage is the payload of detached@cloudssh.
type detachedMessage struct {
	Session uint32
	Until   uint64 // unix seconds; 0: no end is known
	Reason  string // "": the client's wish
}

func (s *shellSession) detachedMessage(reason string) detachedMessage {
	m := detachedMessage{Session: s.id, Reason: reason}
	if end := s.registry.expires(); !end.IsZero() {
		m.Until = uint64(end.Unix())
	}
	return m
}

// release lets a client go, once it has what was written before. The shell's
// mutex is held.
func (a *attachment) release(m detachedMessage) {
	a.send("detached@cloudssh", m)
	a.post(parcel{finally: a.session.end})
}

// detach leaves the session without a client, by its client's wish, which is
// told by release.
func (s *shellSession) detach(a *attachment) (ok bool, release func()) {
	s.mu.Lock()
	ok = !s.over && (s.client == a || s.viewers[a])
	if ok && s.client == a {
		s.setClient(nil)
		s.detachedAt = time.Now()
		a.detached = true
	}
	s.mu.Unlock()
	if !ok {
		return false, nil
	}
	s.log.Info("session detached", "caller", a.session.conn.caller.name, "viewer", a.viewer)
	s.registry.changed()
	return true, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.viewer && s.viewers[a] {
			s.dismiss(a, "")
		} else {
			a.release(s.detachedMessage(""))
		}
	}
}

// repaint sends what is on the screen again.
func (s *shellSession) repaint(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.redraw(screen.RedrawOptions{Repaint: true})
}

// lose is what happens when a client's channel is closed, whatever the reason.
// It returns when nothing of the session is the client's concern any more.
func (s *shellSession) lose(a *attachment, left func() bool) {
	a.close()
	if a.viewer {
		s.leave(a)
		return
	}
	s.mu.Lock()
	mine := s.client == a && (!s.over || s.unsure)
	keep := s.grace > 0
	s.mu.Unlock()
	if !mine {
		return
	}
	if keep && !left() {
		s.keep(a)
		return
	}
	s.mu.Lock()
	mine = s.client == a
	if mine {
		s.grace = 0
	}
	s.mu.Unlock()
	if mine { // nobody took it over meanwhile
		s.hangup()
		s.registry.remove(s)
		s.registry.changed()
	}
}

// keep makes a session stay for a while, whose client was lost.
func (s *shellSession) keep(a *attachment) {
	s.mu.Lock()
	if s.client != a { // somebody else came
		s.mu.Unlock()
		return
	}
	s.setClient(nil)
	s.detachedAt = time.Now()
	switch {
	case s.over:
		s.expireIn(collectTime, s.forget)
	default:
		s.until = s.detachedAt.Add(s.grace)
		s.expireIn(s.grace, s.abandon)
	}
	s.mu.Unlock()
	s.log.Info("session lost its client", "caller", a.session.conn.caller.name)
	s.registry.changed()
}

// abandon ends a session to which nobody came back.
func (s *shellSession) abandon() {
	if s.isDetached() {
		s.log.Info("nobody came back")
		s.hangup()
		s.forget() // whoever wanted its status had the time to come for it
	}
}

func sizeNotice(cols, rows int) string {
	return fmt.Sprintf("the session's terminal has %d columns and %d lines: what is beyond yours is not shown", cols, rows)
}
