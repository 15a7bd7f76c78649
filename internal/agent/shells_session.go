//go:build linux || darwin

package agent

import (
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// A shellSession is a program on a terminal, with what its terminal shows.
type shellSession struct {
	id       uint32
	registry *shellRegistry
	pty      *terminal
	program  *process
	command  string // "" for a shell
	owner    string
	begun    time.Time
	log      *slog.Logger
	answers  chan []byte
	ended    chan struct{} // closed when the program and its output are done

	mu         sync.Mutex
	screen     *screen.Screen
	client     *attachment   // nil while detached
	change     chan struct{} // closed and replaced when the client changes
	viewers    map[*attachment]bool
	share      shareMode
	grace      time.Duration // how long it stays when its client is lost; 0: not at all
	detachedAt time.Time
	until      time.Time // a lost one is hung up; zero: it stays as long as the lease
	expiry     *time.Timer
	status     exitStatus
	over       bool
	unsure     bool     // it is over, but whether its client will hear of it is not known
	saying     []string // lines of ours that wait for the end of a control sequence
}

// host makes a session of a program that was just started, with its client.
func (r *shellRegistry) host(s *session, p *process, pty *terminal, watch oomWatch) {
	shell := &shellSession{
		registry: r, pty: pty, program: p, command: s.command, owner: s.conn.caller.name, begun: s.begun,
		answers: make(chan []byte, 16), ended: make(chan struct{}), change: make(chan struct{}),
		viewers: make(map[*attachment]bool), grace: s.persist,
		screen: screen.New(s.window.size()),
	}
	shell.mu.Lock()
	r.mu.Lock()
	r.last++
	shell.id = r.last
	r.all[shell.id] = shell
	r.mu.Unlock()
	shell.log = s.conn.server.log.With("session", shell.id)
	a := newAttachment(shell, s)
	a.send("session@cloudssh", struct{ Session uint32 }{shell.id})
	shell.client = a
	shell.mu.Unlock()
	s.setView(a)
	a.start()
	go shell.run(watch)
	go shell.answer()
	r.changed()
}

// run moves output until the process has ended, and then what the terminal
// still holds.
//
// As with sshd, the end of the process ends the session, though a background
// child may still have the terminal open: whoever leaves a shell wants to be
// gone. Closing the terminal sends that child a SIGHUP.
func (s *shellSession) run(watch oomWatch) {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.pty.copyOut(s.output)
	}()
	status, err := s.program.wait()
	if err != nil { // cannot happen: it is our child
		s.log.Error("waiting for the process", "reason", err.Error())
		status = syscall.WaitStatus(255 << 8)
	}
	s.pty.drain()
	<-drained
	if why := watch.explain(status); why != "" {
		s.say(why)
	}
	s.finish(exitStatus{status})
	s.pty.close()
}

// output takes what the program wrote: to the screen, to the client, which may
// hold it up, and to the viewers.
func (s *shellSession) output(b []byte) error {
	s.mu.Lock()
	s.screen.Write(b) //nolint:errcheck // never fails
	client := s.client
	if client != nil {
		client.put(b)
	}
	if clean := s.screen.TakeClean(); len(clean) > 0 {
		for v := range s.viewers {
			v.put(clean)
		}
	}
	s.speak()
	s.mu.Unlock()
	if client != nil {
		client.awaitRoom()
	}
	return nil
}

// say writes a line of ours to all who look at the session. In the midst of a
// control sequence it waits for its end.
func (s *shellSession) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.saying) < 16 {
		s.saying = append(s.saying, "\r\ncloudssh: "+text+"\r\n")
	}
	s.speak()
}

func (s *shellSession) speak() {
	if len(s.saying) == 0 || !s.screen.Whole() && !s.over {
		return
	}
	for _, line := range s.saying {
		s.screen.Write([]byte(line)) //nolint:errcheck // never fails
		s.screen.TakeClean()
		for _, a := range s.audience() {
			a.put([]byte(line))
		}
	}
	s.saying = nil
}

// audience is everybody who is attached. The mutex is held, as in the next two.
func (s *shellSession) audience() []*attachment {
	var all []*attachment
	if s.client != nil {
		all = append(all, s.client)
	}
	for v := range s.viewers {
		all = append(all, v)
	}
	return all
}

// setClient makes another client, or none, the session's.
func (s *shellSession) setClient(a *attachment) {
	s.client = a
	close(s.change)
	s.change = make(chan struct{})
	// Two terminals would give two answers, none would leave the program
	// waiting.
	if a != nil {
		s.screen.Reply(nil)
		s.detachedAt, s.until = time.Time{}, time.Time{}
	} else {
		s.screen.Reply(s.reply)
	}
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
}

func (s *shellSession) resize(w window) error {
	if w.Cols == 0 || w.Rows == 0 {
		return nil
	}
	err := s.pty.resize(w)
	oldCols, oldRows := s.screen.Size()
	s.screen.Resize(w.size())
	if cols, rows := s.screen.Size(); cols != oldCols || rows != oldRows {
		for v := range s.viewers {
			v.miss()
		}
	}
	return err
}

// reply is the emulated terminal's answer to a program's question. One that
// nobody reads is dropped.
func (s *shellSession) reply(b []byte) {
	select {
	case s.answers <- b:
	default:
	}
}

func (s *shellSession) answer() {
	for {
		select {
		case b := <-s.answers:
			s.pty.master.Write(b) //nolint:errcheck // the program may be gone
		case <-s.ended:
			return
		}
	}
}

// finish hands over how the program ended, or keeps it for who comes for it.
func (s *shellSession) finish(status exitStatus) {
	s.mu.Lock()
	s.status, s.over = status, true
	s.speak()
	s.saying = nil
	if s.client != nil && s.client.closed && s.grace > 0 { // its loss is about to be noticed
		s.setClient(nil)
		s.detachedAt = time.Now()
	}
	kept := s.client == nil
	switch {
	case kept:
		s.expireIn(collectTime, s.forget)
	case s.grace > 0 && s.client.away():
		s.unsure = true
	default:
		s.registry.remove(s)
	}
	for _, a := range s.audience() {
		a.post(parcel{finally: func() { a.session.exit(status) }})
	}
	s.mu.Unlock()
	close(s.ended)
	s.log.Info("program ended", "status", status.String(), "kept", kept)
	s.registry.trim()
	s.registry.changed()
}

func (s *shellSession) forget() {
	s.registry.remove(s)
	s.registry.changed()
}

// expireIn sets the one timer of a detached session. The mutex is held.
func (s *shellSession) expireIn(d time.Duration, f func()) {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.expiry = time.AfterFunc(d, f)
}

// running says whether the process id is still the program's.
func (s *shellSession) running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *shellSession) signal(signals ...syscall.Signal) {
	for _, sig := range signals {
		if s.running() {
			s.program.signal(sig) //nolint:errcheck // it may be gone
		}
	}
}

// hangup ends a session whose client is gone: SIGHUP, by the terminal too, and
// SIGKILL when the grace is over. It returns when the program has ended.
func (s *shellSession) hangup() {
	// A stopped process could not see the SIGHUP.
	s.signal(syscall.SIGHUP, syscall.SIGCONT)
	s.pty.close()
	timer := time.NewTimer(s.registry.hangup)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

// info describes the session to a caller.
func (s *shellSession) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	cols, rows := s.screen.Size()
	info := SessionInfo{
		ID: s.id, Title: s.screen.Title(), Command: s.command, Started: s.begun.Unix(),
		Cols: cols, Rows: rows, Share: s.share.String(), Viewers: []string{}, Owner: s.owner,
	}
	for v := range s.viewers {
		info.Viewers = append(info.Viewers, v.describe())
	}
	slices.Sort(info.Viewers)
	if s.client == nil {
		info.Detached = s.detachedAt.Unix()
		until := s.until
		if until.IsZero() {
			until = s.registry.expires()
		}
		if !until.IsZero() {
			info.Until = until.Unix()
		}
	}
	return info
}
