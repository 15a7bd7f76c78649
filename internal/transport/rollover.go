package transport

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// Between these shares of a wire's lifetime a client moves to another one.
	rolloverFrom = 0.87
	rolloverTo   = 0.93
	// leastLife is the shortest lifetime that a proxy is believed to have set:
	// what ends sooner ends for other reasons.
	leastLife = 3 * time.Second
)

// lifetimes learns when wires are cut: the agent says when the platform does it,
// but not every proxy says that it does so too. Two wires that end without
// warning at the same age are a lesson.
type lifetimes struct {
	link    *link // the one in use, or last in use
	last    time.Duration
	learned time.Duration // 0: nothing
	stopped bool          // the last one ended after word that the instance stops
}

func (t *lifetimes) begin(l *link) { t.link = l }

// ended notes the end of the link in use.
func (t *lifetimes) ended() {
	if t.link == nil {
		return
	}
	t.link.s.mu.Lock()
	age := t.link.ended.Sub(t.link.began)
	cut := t.link.err != nil && !errors.As(t.link.err, new(*BrokenError)) && !t.link.life.suspect && t.link.goAway == nil
	t.stopped = t.link.goAway != nil && t.link.goAway.code == goAwayShutdown
	t.link.s.mu.Unlock()
	t.link = nil
	if !cut { // but silent, or told to go
		t.last = 0
		return
	}
	if t.last > 0 && age >= leastLife {
		if apart := (age - t.last).Abs(); apart <= max(age/20, time.Second) {
			t.learned = min(age, t.last)
		}
	}
	t.last = age
}

// move is when to move away from a wire that has left of its life, as far as the
// agent knows (0: it does not). 0 means never.
func (t *lifetimes) move(left time.Duration) time.Duration {
	if t.learned > 0 && (left == 0 || t.learned < left) {
		left = t.learned
	}
	share := rolloverFrom + (rolloverTo-rolloverFrom)*rand.Float64() //nolint:gosec // only spreads clients
	return time.Duration(share * float64(left))
}
