package transport

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// pingInterval is how long a client may send nothing before it sends a
	// PING. Proxies drop connections without data, some after 30 seconds, and
	// do not count WebSocket pings.
	pingInterval = 15 * time.Second
	// serverDead is the silence after which the agent gives a wire up. It keeps
	// the stream.
	serverDead = 3 * pingInterval
	// clientDead is how long a client waits for an answer. It may dial again,
	// and a person waits there.
	clientDead = 10 * time.Second
	// suspectAfter and probeAfter are how long it waits before it tries a second
	// wire beside, and before it asks by a PING. Paths with a long round trip
	// have four, and one and a half of them.
	suspectAfter = 2 * time.Second
	probeAfter   = 500 * time.Millisecond
	// alarmed is suspectAfter when there is a reason to fear the worst: the
	// machine slept, or its network changed.
	alarmed = time.Second
	// tick is how often a client looks at the clocks at least.
	tick = 2 * time.Second
	// leap is how far they may come apart before it looks after the wire.
	leap = 3 * time.Second
	// longLeap is a sleep that no wire survives, because the agent gives it up.
	longLeap = serverDead - pingInterval
)

// liveness is what a link knows about its peer's being there. Whatever comes is
// a sign of life, parts of a frame included. On a client, silence counts from
// the first frame that wants an answer: data wants an acknowledgement, but only
// a PING must be answered by a peer that does not read.
type liveness struct {
	client bool
	wall   func() time.Time
	heard  atomic.Int64 // since the link began, in nanoseconds: when something last came

	sent    time.Time // when a frame last went out
	data    time.Time // when data did
	pinged  time.Time // when a PING did
	pinging bool      // its answer is to come
	waiting time.Time // since when something unanswered is out; zero: nothing is
	alarm   bool      // see alarmed
	suspect bool

	timer  *time.Timer
	next   time.Time // when it fires
	looked time.Time // when check last ran, by both clocks
	walled time.Time
}

func (l *link) hear() { l.life.heard.Store(int64(time.Since(l.began))) }

// lastHeard is when something last came.
func (l *link) lastHeard() time.Time {
	return l.began.Add(time.Duration(l.life.heard.Load()))
}

// awaits notes that a frame is sent that will be answered. The mutex is held.
func (l *link) awaits() {
	if !l.life.waiting.IsZero() {
		return
	}
	now := time.Now()
	l.life.waiting = now
	if l.life.client && l.life.timer != nil && l.life.next.Sub(now) > l.probeAfter() {
		l.schedule(now, l.probeAfter())
	}
}

// answered notes that a frame came. What is still unanswered is waited for
// anew, except by data that a PING was sent after: its acknowledgement depends
// on the peer's reading. The mutex is held.
func (l *link) answered() {
	l.life.waiting, l.life.alarm = time.Time{}, false
	if l.life.pinging || l.s.sent > l.s.acked() && l.life.data.After(l.life.pinged) {
		l.life.waiting = time.Now()
	}
	l.trust()
}

func (l *link) trust() {
	if l.life.suspect {
		l.life.suspect = false
		l.s.poke()
	}
}

// answer takes the answer to a PING.
func (l *link) answer(stamp uint64) {
	if !l.life.pinging || stamp != uint64(l.life.pinged.Sub(l.began)) {
		return
	}
	l.life.pinging = false
	now := time.Now()
	l.flow.rtt(now, now.Sub(l.life.pinged))
	l.work.Signal()
}

// wantsRTT says whether the round trip should be measured with what is sent
// now: with the first data, and every second of a transfer.
func (l *link) wantsRTT() bool {
	if l.life.pinging || l.dataDue() == 0 {
		return false
	}
	if l.flow.minRTT == 0 {
		return true
	}
	return l.s.sent-l.s.out.base > maxPayload && time.Since(l.life.pinged) > time.Second
}

func (l *link) suspectAfter() time.Duration {
	if l.life.alarm {
		return max(alarmed, 4*l.flow.lastRTT)
	}
	return max(suspectAfter, 4*l.flow.lastRTT)
}

func (l *link) probeAfter() time.Duration { return max(probeAfter, 3*l.flow.lastRTT/2) }

// watch starts the timer. The mutex is held.
func (l *link) watch() {
	if l.over {
		return
	}
	if l.life.wall == nil {
		l.life.wall = time.Now
	}
	now := time.Now()
	l.life.looked, l.life.walled = now, l.life.wall()
	l.life.timer = time.AfterFunc(time.Hour, l.look)
	l.schedule(now, l.check(now))
	l.request(&l.ping) // nothing is in its way yet: this is the round trip
}

func (l *link) schedule(now time.Time, wait time.Duration) {
	l.life.next = now.Add(wait)
	l.life.timer.Reset(wait)
}

func (l *link) look() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.over {
		return
	}
	now := time.Now()
	l.leapt(now)
	if wait := l.check(now); !l.over {
		l.schedule(now, wait)
	}
}

// leapt looks for time that went by unnoticed: the wall clock goes on while the
// machine sleeps, where Go's monotonic one may stand still; a stopped process
// finds its timers late. Then nothing that should have come by now can be held
// against the peer, and the network may be another.
func (l *link) leapt(now time.Time) {
	wall := l.life.wall()
	slept := wall.Round(0).Sub(l.life.walled.Round(0)) - now.Sub(l.life.looked)
	late := now.Sub(l.life.next)
	l.life.looked, l.life.walled = now, wall
	if slept < leap && late < leap || !l.life.client {
		return
	}
	l.doubt(now)
	if max(slept, late) >= longLeap {
		l.suspect()
	}
}

// doubt asks the peer for a sign of life at once, and is less patient than else.
func (l *link) doubt(now time.Time) {
	l.life.alarm, l.life.waiting = true, now
	l.ping = true
	l.work.Signal()
	if l.life.timer != nil {
		l.schedule(now, l.suspectAfter())
	}
}

func (l *link) suspect() {
	if !l.life.suspect {
		l.life.suspect = true
		l.s.poke()
	}
}

// check does what is due at now and says how long until it must look again.
func (l *link) check(now time.Time) time.Duration {
	heard := l.lastHeard()
	if !l.life.client {
		silent := now.Sub(heard)
		if silent >= serverDead {
			l.fail(&BrokenError{fmt.Errorf("nothing came from the client for %s", serverDead)})
		}
		return serverDead - silent
	}
	wait := tick
	if quiet := now.Sub(l.life.sent); quiet >= pingInterval {
		l.request(&l.ping)
	} else {
		wait = min(wait, pingInterval-quiet)
	}
	if l.life.waiting.IsZero() {
		return wait
	}
	since := l.life.waiting
	if heard.After(since) {
		since = heard
	}
	silent := now.Sub(since)
	switch {
	case silent >= clientDead:
		l.fail(&BrokenError{fmt.Errorf("nothing came from the agent for %s", clientDead)})
		return 0
	case silent >= l.suspectAfter():
		l.suspect()
		return min(wait, clientDead-silent)
	case silent >= l.probeAfter():
		l.trust()
		if !l.life.pinged.After(since) {
			l.request(&l.ping)
		}
		return min(wait, l.suspectAfter()-silent)
	}
	return min(wait, l.probeAfter()-silent)
}

// request marks a control frame as due. The mutex is held.
func (l *link) request(frame *bool) {
	*frame = true
	l.work.Signal()
}

func (life *liveness) stop() {
	if life.timer != nil {
		life.timer.Stop()
	}
}
