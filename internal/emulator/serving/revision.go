package serving

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// restartDelay keeps a revision with minimum instances that crash from using the machine up.
const restartDelay = 10 * time.Second

// A revision is the instances of one revision and the requests that wait for them.
type revision struct {
	fleet *Fleet
	rev   Revision
	log   *logBuffer

	// ctx ends when the revision is removed.
	ctx    context.Context //nolint:containedctx // the life of the revision, which no call has
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // all that runs for the revision

	plan *plan // set before state is serving or an instance starts

	mu        sync.Mutex
	state     state
	min, max  int
	instances []*instance // those that start or serve, the oldest first
	ending    []*instance // those that shut down
	queue     []*waiter
	errs      []error // of shutting down
}

type state int

const (
	deploying state = iota
	serving
	failed
	removed
)

func newRevision(f *Fleet, rev Revision) *revision {
	r := &revision{fleet: f, rev: rev, log: newLogBuffer(f.o.LogBytes)}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.limits(rev.MinInstances, rev.MaxInstances)
	return r
}

// limits combines the service's share of the scaling with the template's.
func (r *revision) limits(minInstances, maxInstances int) {
	if r.rev.Kind == WorkerPool { // it is scaled by hand
		r.min, r.max = minInstances, minInstances
		return
	}
	t := r.rev.Template.GetScaling()
	r.min = max(minInstances, int(t.GetMinInstanceCount()))
	switch ours := int(t.GetMaxInstanceCount()); {
	case ours > 0 && maxInstances > 0:
		r.max = min(ours, maxInstances)
	case ours > 0 || maxInstances > 0:
		r.max = max(ours, maxInstances)
	default:
		r.max = defaultMaxInstances
	}
	r.min = min(r.min, r.max)
}

func (r *revision) scale(minInstances, maxInstances int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits(minInstances, maxInstances)
	for len(r.instances) > r.max {
		r.retire(slices.MinFunc(r.instances, func(a, b *instance) int { return a.inflight - b.inflight }))
	}
	for _, i := range r.instances {
		if i.ready && i.inflight == 0 {
			i.rest() // it may have been kept for the old minimum
		}
	}
	r.settle()
}

// launch starts an instance. r.mu is held.
func (r *revision) launch() *instance {
	i := newInstance(r)
	r.instances = append(r.instances, i)
	r.wg.Go(i.run)
	return i
}

// fill starts what the queue and the minimum call for. r.mu is held.
func (r *revision) fill() {
	if r.state != serving {
		return
	}
	starting := 0
	for _, i := range r.instances {
		if !i.ready {
			starting++
		}
	}
	want := (len(r.queue) + r.plan.concurrency - 1) / r.plan.concurrency
	for len(r.instances) < r.max && (starting < want || len(r.instances) < r.min) {
		r.launch()
		starting++
	}
}

// started is called by an instance that has passed its probes.
func (r *revision) started(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.instances, i) {
		return // it was retired meanwhile
	}
	i.ready = true
	i.rest()
	r.settle()
}

// retire takes an instance out of service: it gets no new request and shuts down after its last one. r.mu is held.
func (r *revision) retire(i *instance) {
	r.drop(i)
	if i.inflight == 0 {
		i.end(errStop)
	}
}

// drop takes an instance out of service. r.mu is held.
func (r *revision) drop(i *instance) {
	if n := slices.Index(r.instances, i); n >= 0 {
		r.instances = slices.Delete(r.instances, n, n+1)
		r.ending = append(r.ending, i)
	}
	i.ready = false
	i.stopResting()
}

// lost is called by an instance that did not start or ended without being told to.
func (r *revision) lost(i *instance, started bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	expected := !slices.Contains(r.instances, i)
	r.drop(i)
	if expected {
		return
	}
	if !started {
		// Each attempt fails the requests it was made for, so that a revision that cannot start is not started over and
		// over for the same ones.
		n := min(len(r.queue), r.plan.concurrency)
		if len(r.instances) == 0 {
			n = len(r.queue)
		}
		r.fail(n, errNotStarted)
	}
	if len(r.instances) < r.min && r.state == serving {
		r.wg.Go(func() {
			if wait(r.ctx, restartDelay) == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.settle()
			}
		})
	}
	if len(r.queue) > 0 {
		r.settle()
	}
}

// gone is called by an instance of which nothing is left.
func (r *revision) gone(i *instance, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(i)
	r.ending = slices.DeleteFunc(r.ending, func(e *instance) bool { return e == i })
	if err != nil {
		r.fleet.o.Logger.Error("shutting an instance down", "revision", r.rev.Name, "error", err)
		r.errs = append(r.errs, err)
	}
}

// halt ends all instances for a reason and fails all requests that wait.
func (r *revision) halt(to state, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != removed {
		r.state = to
	}
	r.fail(len(r.queue), errNotServing)
	for len(r.instances) > 0 {
		r.drop(r.instances[0])
	}
	for _, i := range r.ending {
		i.end(reason)
	}
}

// remove shuts everything down and waits for it. When ctx ends, the shutdown loses its grace.
func (r *revision) remove(ctx context.Context) error {
	r.cancel(ErrRemoved) // first, so that a deployment knows why its instance ends
	r.halt(removed, errStop)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.mu.Lock()
		for _, i := range r.ending {
			i.kill()
		}
		r.mu.Unlock()
		<-done // bounded: killing and cleaning up have a timeout of their own
	}
	r.log.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}
