package serving

import (
	"context"
	"errors"
	"slices"
	"time"
)

// queueTimeout is how long a request waits for an instance when there may be no more.
const queueTimeout = 30 * time.Second

var (
	errBusy       = errors.New("no instance has become free")
	errNotStarted = errors.New("the instance could not start")
	errNotServing = errors.New("the revision does not serve")
)

// A waiter is a request that waits for an instance. What it gets arrives in its channel, once.
type waiter struct {
	overdue bool // it waits for instances that start, not for a free one
	result  chan admitted
}

type admitted struct {
	instance *instance
	err      error
}

// acquire takes a place for a request in an instance. release gives it back.
func (r *revision) acquire(ctx context.Context) (*instance, error) {
	r.mu.Lock()
	if r.state != serving {
		r.mu.Unlock()
		return nil, errNotServing
	}
	w := &waiter{result: make(chan admitted, 1)}
	r.queue = append(r.queue, w)
	r.settle()
	r.mu.Unlock()

	timer := time.NewTimer(queueTimeout)
	defer timer.Stop()
	for {
		select {
		case a := <-w.result:
			return a.instance, a.err
		case <-timer.C:
			r.mu.Lock()
			w.overdue = true
			r.settle()
			r.mu.Unlock()
		case <-ctx.Done():
			r.abandon(w)
			return nil, context.Cause(ctx)
		}
	}
}

// abandon forgets a waiter whose client has left.
func (r *revision) abandon(w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := slices.Index(r.queue, w); n >= 0 {
		r.queue = slices.Delete(r.queue, n, n+1)
		return
	}
	if a := <-w.result; a.instance != nil {
		r.releaseLocked(a.instance)
	}
}

// settle gives free places to those who wait, in the order of their coming, sends those away who have waited too
// long, and starts instances for the others. r.mu is held.
func (r *revision) settle() {
	for len(r.queue) > 0 {
		i := r.free()
		if i == nil {
			break
		}
		i.inflight++
		i.stopResting()
		r.queue[0].result <- admitted{instance: i}
		r.queue = r.queue[1:]
	}
	if r.full() {
		waiting := r.queue
		r.queue = nil
		for _, w := range waiting {
			if w.overdue {
				w.result <- admitted{err: errBusy}
			} else {
				r.queue = append(r.queue, w)
			}
		}
	}
	r.fill()
}

// full tells whether there are as many instances as there may be and all have started. r.mu is held.
func (r *revision) full() bool {
	return len(r.instances) >= r.max && !slices.ContainsFunc(r.instances, func(i *instance) bool { return !i.ready })
}

// free is the instance with the most free places. One whose containers have just ended has none. r.mu is held.
func (r *revision) free() *instance {
	var best *instance
	for _, i := range r.instances {
		if i.alive() && i.inflight < r.plan.concurrency && (best == nil || i.inflight < best.inflight) {
			best = i
		}
	}
	return best
}

// fail sends the first n of those who wait away. r.mu is held.
func (r *revision) fail(n int, err error) {
	for _, w := range r.queue[:n] {
		w.result <- admitted{err: err}
	}
	r.queue = slices.Delete(r.queue, 0, n)
}

func (r *revision) release(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(i)
}

func (r *revision) releaseLocked(i *instance) {
	i.inflight--
	if i.inflight == 0 {
		if slices.Contains(r.instances, i) {
			i.rest()
		} else {
			// It was retired and has served its last request, or it has ended already.
			i.end(errStop)
		}
		i.signalDrained()
	}
	r.settle()
}
