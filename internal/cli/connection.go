package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// leaveTimeout bounds the question who else is in a twin. The agent waits up to
// two seconds for those that are logging in.
const leaveTimeout = 10 * time.Second

// connection is one session in a twin.
type connection struct {
	*app
	cloud   *cloud
	options *connectOptions
	target  provision.Target // what options.service means
	key     ssh.Signer
	guard   *guard
	guest   bool // the twin is another's: nothing of it is ours to end

	// work is what is done in the twin; what it returns ends the connection.
	work func(ctx context.Context, l *link, twin *provision.Twin) error

	lease  *lease        // nil before there is a twin
	stays  bool          // the twin is there after our session
	number atomic.Uint32 // of our terminal session; 0 before it has one

	// screen, when set, is told what concerns the person: the terminal is the
	// remote program's meanwhile.
	screen atomic.Pointer[statusLine]
}

// notify tells the person something about a session that goes on.
func (s *connection) notify(text string) {
	if line := s.screen.Load(); line != nil {
		line.notify(text)
		return
	}
	s.ui.Warnf("%s", text)
}

func (s *connection) request() provision.Request {
	o := s.options
	return provision.Request{
		Target:          s.target,
		Overrides:       o.overrides,
		Inject:          provision.InjectMethod(o.source.inject),
		AgentImage:      cmp.Or(o.source.agentImage, s.env(agentImageVariable)),
		Container:       o.source.container,
		NoSidecars:      o.source.noSidecars,
		WritableVolumes: o.source.writableVolumes,
		GPU:             o.source.gpu,
		Owner:           provision.Owner{Account: s.cloud.creds.Account, PublicKey: authorizedKey(s.key)},
		Keep:            o.keep,
		TTL:             o.ttl,
		IdleTimeout:     o.idle,
		Reason:          o.reason,
		MinInstances:    o.minInstances,
		Version:         s.version,
		Confirm:         s.confirmPrice,
		Planned:         s.showPlan,
		Made:            func(t provision.Twin) { s.guard.tell(guardMessage{Twin: &t, Keep: o.keep || t.Keep}) },
	}
}

// showPlan shows in a line how the twin that is about to be made differs.
func (s *connection) showPlan(plan provision.Plan) {
	_, done := s.ui.Progress(outline(&plan) + " (cloudssh diff " + plan.Twin.Source + ")")
	done(nil)
}

// run is the session in a twin that is ready. Whether the twin is to be
// deleted is the agent's to say: other sessions keep it, detached ones too.
func (s *connection) run(ctx context.Context, twin *provision.Twin) (deleteTwin bool, err error) {
	s.guard.tell(guardMessage{Twin: twin})
	s.lease = newLease(*twin, s.options.ttl)
	l, err := s.dial(ctx, twin)
	if err != nil {
		if s.options.keep {
			s.noteKept(twin)
		}
		return !twin.Joined, err
	}
	defer l.Close() //nolint:errcheck // the session is over, and its result known
	s.noteWire(l)
	stop := s.keepLease(ctx, l.Renew)
	err = s.work(ctx, l, twin)
	stop()
	var detached *session.DetachedError
	switch {
	case s.guest:
		return false, s.leaveAsGuest(err)
	case s.shutOut(ctx, err, twin):
		return false, fmt.Errorf("%w: %w", provision.ErrTwinGone, err)
	case errors.As(err, &detached) && detached.Reason == "":
		s.handOver(twin, detached)
		return false, nil
	case s.persists(ctx) && s.options.attach != nil:
		s.guard.handOver() // it knows from the agent whether the session goes on
		return false, context.Cause(ctx)
	case s.persists(ctx):
		s.handOver(twin, &session.DetachedError{Session: s.number.Load(), Until: time.Now().Add(s.options.idle)})
		return false, context.Cause(ctx)
	case detached != nil:
		s.ui.Notef("%v", detached)
		err = nil
	}
	if twin.Keep || s.options.keep {
		s.noteKept(twin)
		return false, err
	}
	return s.leave(ctx, l, twin), err
}

// persists reports whether the session is to go on without us, if it does that:
// we end because the terminal was closed or somebody ended our process.
// Whether a session that we came back to outlives us is the agent's to know.
func (s *connection) persists(ctx context.Context) bool {
	var signal *signalError
	return (s.options.persist || s.options.attach != nil) && s.number.Load() != 0 && errors.As(context.Cause(ctx), &signal) && signal.signal != syscall.SIGINT
}

// leaveAsGuest tells how a session ended that another has given us to see.
func (s *connection) leaveAsGuest(err error) error {
	var detached *session.DetachedError
	if !errors.As(err, &detached) {
		return err
	}
	s.ui.Notef("%v", detached)
	return nil
}

// leaveAgain asks over a connection of its own, when ours has broken: that one
// the agent may still hope for, and must not count.
func (s *connection) leaveAgain(ctx context.Context, broken string, twin *provision.Twin) (session.Remaining, error) {
	conn, err := transport.Dial(ctx, s.endpoint(twin))
	if err != nil {
		return session.Remaining{}, err
	}
	client, err := s.handshake(ctx, conn)
	if err != nil {
		return session.Remaining{}, err
	}
	defer client.Close() //nolint:errcheck // it has only asked
	if err := client.Gone(ctx, broken); err != nil {
		s.log.Debug("the agent does not know our connection", "error", err)
	}
	return client.Leave(ctx)
}

func (s *connection) noteKept(twin *provision.Twin) {
	s.ui.Notef("%s stays until %s; delete it with: %s", twin.Name, s.lease.ends().Format(time.DateTime), twin.Commands()[0])
}

// leave tells the agent that we go and reports whether we were the last.
func (s *connection) leave(ctx context.Context, l *link, twin *provision.Twin) bool {
	if l.outage.down() { // the person left during it, and is not to wait for its end
		if err := l.conn.Abort(); err != nil {
			s.log.Debug("giving the connection up", "error", err)
		}
		return s.unsaid(twin)
	}
	ctx = context.WithoutCancel(ctx)
	left, err := inTime(ctx, l.Leave)
	if err != nil && !l.outage.down() {
		s.log.Info("leaving", "error", err)
		left, err = inTime(ctx, func(ctx context.Context) (session.Remaining, error) { return s.leaveAgain(ctx, l.ID(), twin) })
	}
	switch {
	case err != nil:
		s.log.Info("asking the agent who else is there", "error", err)
		if errors.Is(err, context.DeadlineExceeded) && !l.outage.down() { // an agent that is slow may have others in it
			return s.leaveToGuard(twin)
		}
		return s.unsaid(twin)
	case left.Detached > 0:
		s.ui.Notef("%s stays: %s in it; come back with: cloudssh attach %s", twin.Name, count(left.Detached, "detached session"), twin.Source)
		if !s.isHeld(ctx, l) {
			s.guard.handOver()
		}
		return false
	case left.Connections > 0:
		s.ui.Notef("%s stays: %s in it", twin.Name, count(left.Connections, "more session"))
		return false
	}
	return true
}

// inTime asks who stays in a twin. Each question has its time: what is left of
// that of one before may be nothing.
func inTime(ctx context.Context, ask func(context.Context) (session.Remaining, error)) (session.Remaining, error) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	return ask(ctx)
}

// isHeld reports whether a guard, of another session, holds the twin already.
func (s *connection) isHeld(ctx context.Context, l *link) bool {
	status, err := l.Status(ctx)
	return err == nil && status.Holders > 0
}

// unsaid decides when nobody can say whether others are in the twin: whoever
// made it deletes it, so that it cannot be left behind.
func (s *connection) unsaid(twin *provision.Twin) bool {
	if twin.Joined {
		s.ui.Warnf("the agent does not say whether others are in %s", twin.Name)
		s.noteKept(twin)
	}
	return !twin.Joined
}

// leaveToGuard has the guard do what we cannot; without one, whoever made the
// twin deletes it.
func (s *connection) leaveToGuard(twin *provision.Twin) bool {
	if s.guard.lives() {
		s.guard.hangUp() // as if we had died
		return false
	}
	return s.unsaid(twin)
}

// handOver leaves a session to the agent, and its twin to our guard.
func (s *connection) handOver(twin *provision.Twin, d *session.DetachedError) {
	s.guard.handOver()
	until := s.lease.ends()
	if !d.Until.IsZero() && d.Until.Before(until) {
		until = d.Until
	}
	s.ui.Notef("session %d goes on in %s until %s; %s", d.Session, twin.Name, clock(until), s.holder(twin))
	s.ui.Notef("come back with: cloudssh attach %s", twin.Source)
}

// holder says what keeps the platform from stopping an instance that nobody
// is connected to, which it may do at any time, after 15 minutes at the latest
// (https://cloud.google.com/run/docs/about-instance-autoscaling).
func (s *connection) holder(twin *provision.Twin) string {
	switch {
	case twin.Shape.MinInstances > 0:
		return fmt.Sprintf("--min-instances 1 holds it (%s an hour)", dollars(provision.Rate(twin.Region, twin.Shape)))
	case s.guard.lives():
		return "this machine holds it while awake"
	}
	return "nothing holds it: the platform may stop it when idle"
}
