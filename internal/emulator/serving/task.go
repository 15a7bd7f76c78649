package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errDone is why the instance of a task ends whose main containers have: the others are shut down.
var errDone = fmt.Errorf("the task is done: %w", errStop)

// Run runs one attempt of a job's task: its images are pulled, its containers started in their order, and it ends when
// one of them exits with another status than 0, or its main containers, those that no other depends on, have all exited: then the others are shut down.
// started is called when all containers have started.
//
// The error is an [*ExitError] for a container that failed, a [*DeployError] when the attempt could not be started,
// ErrExists, ErrRemoved, or why ctx ended: then the containers got SIGTERM and 10 s. When Run returns nothing of the
// attempt is left but its logs.
func (f *Fleet) Run(ctx context.Context, rev Revision, started func()) error {
	rev.MinInstances, rev.MaxInstances = 1, 1 // it is never idle
	r, err := f.add(rev)
	if err != nil {
		return fmt.Errorf("running %s: %w", rev.Key(), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(ErrRemoved) })()

	err = r.runTask(ctx, started)
	cause := context.Cause(ctx) // before the removal, which ends ctx too
	removing, stop := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer stop()
	if removal := f.Remove(removing, rev.Key()); err == nil && removal != nil {
		return fmt.Errorf("removing %s: %w", rev.Key(), removal)
	}
	var exit *ExitError
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case cause != nil:
		return fmt.Errorf("running %s: %w", rev.Key(), cause)
	}
	return r.taskError(err)
}

// runTask returns why the task's instance ended, nil for success.
func (r *revision) runTask(ctx context.Context, started func()) error {
	p, err := newPlan(r.rev, 0)
	if err != nil {
		return err
	}
	if err := r.fleet.pull(ctx, p); err != nil {
		return err
	}
	i, err := r.launchFirst(p)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { i.end(errStop) })()
	<-i.settled
	if i.err == nil {
		started()
	}
	<-i.over
	if err = context.Cause(i.life); errors.Is(err, errDone) {
		return nil
	}
	return err
}

// completes tells whether a container's success is that of its task: all main containers have to end.
func (i *instance) completes(c *container) bool {
	plan := i.revision.plan
	if !plan.main(c) {
		return false
	}
	i.procsMu.Lock()
	defer i.procsMu.Unlock()
	i.finished++
	open := slices.DeleteFunc(slices.Clone(plan.containers), func(c *container) bool { return !plan.main(c) })
	return i.finished == len(open)
}

// main tells whether no other container depends on c.
func (p *plan) main(c *container) bool {
	return !slices.ContainsFunc(p.containers, func(o *container) bool { return slices.Contains(o.spec.GetDependsOn(), c.name) })
}

// taskError is a deployError without what is said of services only.
func (r *revision) taskError(err error) *DeployError {
	e := r.deployError(err)
	e.Message = strings.TrimPrefix(e.Message, r.notReady())
	if isContainerFault(err) {
		e.Message = "The container could not be started: " + err.Error() + "."
	}
	return e
}

// Import pulls the images of a revision that is not run yet. The error is a [*DeployError] or why ctx ended.
func (f *Fleet) Import(ctx context.Context, rev Revision) error {
	p, err := newPlan(rev, 0)
	if err == nil {
		err = f.pull(ctx, p)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return newRevision(f, rev).taskError(err)
}
