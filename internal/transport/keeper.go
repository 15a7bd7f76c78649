package transport

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A keeper keeps a client's stream on a wire: it dials the first one, another
// when that is lost or silent, and another again before the platform cuts it.
type keeper struct {
	e    Endpoint
	s    *stream
	peer Peer
	id   streamID
	key  streamKey
	log  *slog.Logger

	wires *selector
	woken chan struct{} // something changed, or somebody is in a hurry
	watch watcher

	rushed atomic.Bool // no more delay before the next attempt

	// The goroutine in run has these to itself.
	epoch    uint32
	wire     string // what carries the stream, or did last
	rollover *time.Timer
	lives    lifetimes
	refusals refusals
	lastErr  error
	lost     time.Time // on the wall: when restore began
}

func newKeeper(e Endpoint, s *stream) *keeper {
	k := &keeper{e: e, s: s, log: e.Logger, woken: make(chan struct{}, 1), wires: newSelector(e), watch: watcher{tell: e.Observe}}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	s.limit(e.window)
	s.poke = k.wake
	return k
}

// wake makes run look again.
func (k *keeper) wake() { notify(k.woken) }

// hurry is Probe.
func (k *keeper) hurry() {
	if k.recovered() {
		return // what the key sends will tell
	}
	k.rushed.Store(true)
	k.wake()
}

// networkChanged asks the agent for a sign of life, over a network that may
// not be the one the wire was made on.
func (k *keeper) networkChanged() {
	k.s.mu.Lock()
	if l := k.s.link; l != nil && !l.over {
		l.doubt(time.Now())
	}
	k.s.mu.Unlock()
	k.rushed.Store(true)
	k.wake()
}

// begin opens the stream and starts to keep it.
func (k *keeper) begin(ctx context.Context) error {
	began := time.Now()
	l, answer, err := k.first(ctx)
	if err != nil {
		return err
	}
	k.start(l, answer, began)
	k.watch.see(State{Phase: Connected, Since: time.Now(), Wire: k.wire})
	go k.run(context.WithoutCancel(ctx))
	return nil
}

// start lets a link run, and sees to its end in time. The platform's clock runs
// from the request, whose beginning the agent does not see when it had to be
// started for it: so it runs from began, when we began to dial.
func (k *keeper) start(l *link, answer attached, began time.Time) {
	k.wire = l.w.name()
	k.refusals = refusals{}
	k.lives.begin(l)
	if k.rollover == nil {
		k.rollover = time.NewTimer(time.Hour)
	}
	k.rollover.Stop()
	left := answer.rollover
	if answer.timeout > 0 {
		left = max(min(left, answer.timeout-time.Since(began)), time.Second)
	}
	if wait := k.lives.move(left); wait > 0 {
		k.rollover.Reset(wait)
	}
	k.log.Debug("attached a wire", "wire", k.wire, "epoch", answer.epoch)
	go l.run()
}

// run keeps the stream until it is over.
func (k *keeper) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if k.e.Client == nil { // else who knows what network it uses
		go k.watchRoutes(ctx)
	}
	defer k.rollover.Stop()
	for {
		due := false
		select {
		case <-k.woken:
		case <-k.rollover.C:
			due = true
		case <-k.s.done:
			k.s.mu.Lock()
			err := k.s.err
			k.s.mu.Unlock()
			k.watch.see(State{Phase: Closed, Since: time.Now(), Wire: k.wire, Err: err})
			return
		}
		switch phase := k.look(); {
		case phase == Closed:
		case phase != Connected:
			k.restore(ctx)
		case due:
			k.move(ctx)
		}
	}
}

func (k *keeper) watchRoutes(ctx context.Context) {
	if err := watchRoutes(ctx, k.networkChanged); err != nil && ctx.Err() == nil {
		k.log.Debug("watching the network's routes", "error", err)
	}
}

// look finds out how the stream is, and reports it.
func (k *keeper) look() Phase {
	phase := Connected
	s := k.s
	s.mu.Lock()
	l := s.link
	since, cause := s.detached, s.cause
	switch {
	case s.over:
		phase = Closed
	case l == nil:
		phase = Lost
	case l.life.suspect:
		phase, since = Suspect, l.lastHeard()
	}
	if l == nil && k.lives.link != nil {
		since = k.lives.link.lastHeard()
	}
	s.mu.Unlock()
	switch phase {
	case Lost:
		k.lives.ended()
		if k.lastErr != nil {
			cause = k.lastErr
		}
		k.watch.see(State{Phase: Lost, Since: since, Wire: k.wire, Err: cause})
	case Suspect:
		k.watch.see(State{Phase: Suspect, Since: since, Wire: k.wire})
	case Connected:
		k.lastErr = nil
		k.watch.see(State{Phase: Connected, Since: time.Now(), Wire: k.wire})
	case Closed:
	}
	return phase
}

// restore tries for another wire until there is one, the first one comes back
// to life, or the stream is over.
func (k *keeper) restore(ctx context.Context) {
	k.lost = k.now()
	for attempt := 0; ; {
		phase := k.look()
		switch {
		case phase == Connected || phase == Closed:
			return
		case phase == Lost && k.lives.stopped:
			k.finish(&FinalError{Reason: Stopped})
			return
		case phase == Lost && k.expired():
			k.finish(&FinalError{Reason: Expired})
			return
		}
		wait := backOff(attempt)
		attempt++
		if wait > 0 && !k.rushed.Swap(false) && !k.pause(phase, wait) {
			continue
		}
		if phase == Lost {
			k.watch.trying()
		}
		err := k.attempt(ctx, pace(k.now().Sub(k.lost)))
		if err == nil {
			continue // look says what came of it
		}
		k.lastErr = err
		k.log.Debug("resuming", "attempt", attempt, "error", err)
		if final := k.final(err); final != nil {
			k.finish(final)
			return
		}
		if errors.Is(err, context.DeadlineExceeded) {
			attempt = 0 // it has waited long enough
		}
	}
}

// now is the time on the wall, which goes on while the machine sleeps.
func (k *keeper) now() time.Time {
	if k.e.wall != nil {
		return k.e.wall().Round(0)
	}
	return time.Now().Round(0)
}

// expired says whether the agent has given the stream up by now.
func (k *keeper) expired() bool { return k.peer.Keep > 0 && k.now().Sub(k.lost) > k.peer.Keep }

// backOff is how long to wait before an attempt.
func backOff(attempt int) time.Duration {
	if attempt == 0 {
		return 0
	}
	wait := min(250*time.Millisecond<<min(attempt-1, 6), 5*time.Second)
	return wait*3/4 + rand.N(wait/2) //nolint:gosec // only spreads clients
}

// pace is after how long without an answer another dial is started beside one,
// which is how late we are when the network comes back: half a second, and in
// long outages a little of their length.
func pace(lost time.Duration) time.Duration {
	return min(max(lost/60, resumePace), resumeTimeout)
}

// pause waits before an attempt. It reports false when there is another look to
// be taken first.
func (k *keeper) pause(phase Phase, wait time.Duration) bool {
	if phase == Lost {
		k.watch.next(time.Now().Add(wait), k.lastErr)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-k.s.done:
			return false
		case <-k.woken:
			if k.rushed.Swap(false) {
				return true
			}
			if k.look() != phase {
				return false
			}
		}
	}
}

// attempt opens a wire and resumes on it, unless the old one has come back to
// life meanwhile.
func (k *keeper) attempt(ctx context.Context, pace time.Duration) error {
	began := time.Now()
	w, peer, err := k.race(ctx, pace)
	switch {
	case errors.Is(err, errRecovered):
		return nil
	case err != nil:
		return err
	case k.recovered():
		return w.close()
	}
	return k.resume(ctx, w, peer, began)
}

// recovered says whether the stream has a wire that answers.
func (k *keeper) recovered() bool {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return k.s.link != nil && !k.s.link.life.suspect
}

// move goes over to a new wire before the platform cuts the one in use, which is
// kept if that fails.
func (k *keeper) move(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	began := time.Now()
	w, peer, err := k.wires.open(ctx)
	if err == nil {
		err = k.resume(ctx, w, peer, began)
	}
	if err == nil {
		return
	}
	k.log.Debug("moving to another wire", "error", err)
	k.wake() // the old one may be gone meanwhile
	if final := k.final(err); final != nil && errors.As(err, new(*FinalError)) {
		k.finish(final)
		return
	}
	k.rollover.Reset(time.Second + rand.N(2*time.Second)) //nolint:gosec // only spreads clients
}

// finish ends the stream because nothing can bring it back.
func (k *keeper) finish(err error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.gone && k.s.eof {
		err = nil // it had ended already, and all of it had come
	}
	k.s.end(err, resetAborted)
}
