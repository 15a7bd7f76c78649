//go:build linux || darwin

package agent

import (
	"slices"
	"sync"
	"time"
)

// A caller is who is at the other end of a connection.
type caller struct {
	name  string // the e-mail address the front door verified, else the key's fingerprint
	guest bool   // may only look at, or share, what is shared
}

// SessionInfo is one element of the answer to sessions@cloudssh.
type SessionInfo struct {
	ID       uint32   `json:"id"`
	Title    string   `json:"title"`   // that the program gave the terminal
	Command  string   `json:"command"` // "" for a shell
	Started  int64    `json:"started"` // unix seconds
	Detached int64    `json:"detached"`
	Until    int64    `json:"until"` // end of a detached session, unix seconds; 0: none
	Cols     int      `json:"cols"`
	Rows     int      `json:"rows"`
	Share    string   `json:"share"` // "", "read" or "write"
	Viewers  []string `json:"viewers"`
	Owner    string   `json:"owner"`
}

// A shellRegistry has the terminal sessions of an agent. They belong to it and
// not to connections: a client attaches to one, leaves it, and comes back.
//
// What it needs of others: `shells *shellRegistry` on the server, made by
// newShellRegistry before the first connection; `caller caller` on the
// connection, set before its first channel; leaving on the connection, as
// leave@cloudssh sets it.
type shellRegistry struct {
	expires func() time.Time // end of the lease; zero: none
	changed func()           // called after sessions were detached, attached or ended, without locks held

	mu      sync.Mutex
	last    uint32 // number of the newest
	closing bool   // the instance goes away
	all     map[uint32]*shellSession
}

// newShellRegistry makes an empty registry. changed may be nil.
func newShellRegistry(expires func() time.Time, changed func()) *shellRegistry {
	if changed == nil {
		changed = func() {}
	}
	return &shellRegistry{expires: expires, changed: changed, all: make(map[uint32]*shellSession)}
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
		if s.info().Detached != 0 {
			n++
		}
	}
	return n
}

// shared says whether a session is shared: then guests may log in.
func (r *shellRegistry) shared() bool {
	return slices.ContainsFunc(r.snapshot(), func(s *shellSession) bool { return s.info().Share != "" })
}

// leaseMoved tells that the end of the lease is another now.
func (r *shellRegistry) leaseMoved() {}

// terminate tells detached sessions that the instance goes away, as
// session.terminate does those with a client, and takes no new ones.
func (r *shellRegistry) terminate() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
}

// kill ends what still runs.
func (r *shellRegistry) kill() {}

// await returns when no session runs any more, or at the timeout.
func (r *shellRegistry) await(timeout <-chan time.Time) {}

// snapshot are the sessions by number.
func (r *shellRegistry) snapshot() []*shellSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*shellSession, 0, len(r.all))
	for _, s := range r.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *shellSession) int { return int(a.id) - int(b.id) })
	return all
}

// A shellSession is a program on a terminal.
type shellSession struct {
	id uint32
}

func (s *shellSession) info() SessionInfo { return SessionInfo{ID: s.id} }
