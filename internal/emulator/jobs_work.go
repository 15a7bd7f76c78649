package emulator

import (
	"context"
	"errors"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// revisionTemplate is a task's template as the fleet takes it.
func revisionTemplate(t *runpb.TaskTemplate) *runpb.RevisionTemplate {
	shared := rules.Share(&runpb.RevisionTemplate{}, proto.CloneOf(t))
	shared.Timeout = nil // it is a request's
	return shared
}

// importJob imports the images of a job's template. The caller holds the mutex.
func (a *admin) importJob(j *job) (*longrunningpb.Operation, error) {
	o := a.store.begin(j.name.location, j.show)
	j.waiting = append(j.waiting, o)
	made, generation := j.pb, j.pb.GetGeneration()
	j.template = nil // an execution that starts before the import is done imports for itself
	a.readyJob(j, &runpb.Condition{State: runpb.Condition_CONDITION_RECONCILING, Message: "Importing container image."})
	j.work.Add(1)
	a.work.Go(func() {
		defer j.work.Done()
		pinned, err := a.importTask(j.ctx, j.name, made)
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		if j.deleting || a.ctx.Err() != nil || j.pb.GetGeneration() != generation {
			return // a later change answers for this one
		}
		c := &runpb.Condition{State: runpb.Condition_CONDITION_SUCCEEDED}
		if err != nil {
			failed := &serving.DeployError{Message: err.Error(), Common: runpb.Condition_UNKNOWN}
			errors.As(err, &failed)
			failed.Fail(c)
		}
		if err == nil {
			j.template = pinned
		}
		a.readyJob(j, c)
	})
	return o.proto()
}

// importTask returns the template of a job's tasks with its images pinned.
func (a *admin) importTask(ctx context.Context, n jobName, j *runpb.Job) (*runpb.TaskTemplate, error) {
	t := j.GetTemplate().GetTemplate()
	shared := revisionTemplate(t)
	if err := a.around.checkDeploy(projectNumber(n.project), j.GetBinaryAuthorization(), shared); err != nil {
		return nil, err
	}
	pinned := a.images.pin(ctx, shared)
	err := a.fleet.Import(ctx, serving.Revision{
		Kind: serving.Job, Project: n.project, ProjectNumber: projectNumber(n.project), Region: n.region, Service: n.job, Name: n.job,
		Template: pinned,
	})
	t = proto.CloneOf(t)
	t.Containers = pinned.GetContainers()
	return t, err
}

// readyJob gives a job its condition and, when that is final, answers who waits. The caller holds the mutex.
func (a *admin) readyJob(j *job, c *runpb.Condition) {
	pb := proto.CloneOf(j.pb)
	c.Type = condReady
	pb.TerminalCondition = transition(pb.GetTerminalCondition(), c, a.store.timestamp())
	pb.Reconciling = c.GetState() == runpb.Condition_CONDITION_RECONCILING
	if !pb.GetReconciling() {
		pb.ObservedGeneration = pb.GetGeneration()
	}
	j.pb = pb
	a.store.notify()
	if pb.GetReconciling() {
		return
	}
	var failure error
	if c.GetState() == runpb.Condition_CONDITION_FAILED {
		failure = status.Error(codes.FailedPrecondition, c.GetMessage())
	}
	for _, o := range j.waiting {
		a.store.finish(o, pb, failure)
	}
	j.waiting = nil
}

// startDeleteJob ends a job's executions from a goroutine of its own. The caller holds the mutex.
func (a *admin) startDeleteJob(j *job) {
	j.deleting = true
	pb := proto.CloneOf(j.pb)
	pb.DeleteTime, pb.Reconciling = a.store.timestamp(), true
	j.pb = pb
	for _, o := range j.waiting {
		a.store.finish(o, nil, status.Errorf(codes.Aborted, "Job '%s' was deleted.", j.name.job))
	}
	j.waiting = nil
	j.cancel()
	a.store.notify()
	a.work.Go(func() {
		j.work.Wait()
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		gone := proto.CloneOf(j.pb)
		gone.Reconciling = false
		j.pb = gone
		delete(a.store.jobs, j.name)
		for _, o := range j.deletions {
			a.store.finish(o, gone, nil)
		}
		j.deletions = nil
	})
}
