package emulator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// maxParallel is how many tasks of an execution run at once when the job sets no limit. The platform runs as many as its
// quota allows.
const maxParallel = 10

// errTimeout is why the containers of a task are stopped that takes too long.
var errTimeout = errors.New("the configured timeout was reached")

// startExecution runs an execution from a goroutine of its own. The caller holds the mutex.
func (a *admin) startExecution(j *job, e *execution) (*longrunningpb.Operation, error) {
	ctx, cancel := context.WithCancelCause(j.ctx)
	e.cancel = cancel
	j.executions[e.name.execution] = e
	o := a.store.begin(j.name.location, e.show)
	e.waiting = append(e.waiting, o)
	a.countExecution(j, e)
	j.work.Add(1)
	a.work.Go(func() {
		defer j.work.Done()
		defer cancel(nil)
		a.runTasks(ctx, e)
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		a.concludeExecution(ctx, j, e)
	})
	return o.proto()
}

// countExecution shows in a job what its latest execution is. The caller holds the mutex.
func (a *admin) countExecution(j *job, e *execution) {
	pb := proto.CloneOf(j.pb)
	latest := pb.GetLatestCreatedExecution()
	if latest.GetName() == "" || latest.GetName() == e.name.execution || !e.over() {
		pb.LatestCreatedExecution = &runpb.ExecutionReference{
			Name: e.name.execution, CreateTime: e.pb.GetCreateTime(), CompletionTime: e.pb.GetCompletionTime(),
			CompletionStatus: completion(e.pb),
		}
	}
	if !e.over() {
		pb.ExecutionCount++
	}
	j.pb = pb
	a.store.notify()
}

func completion(e *runpb.Execution) runpb.ExecutionReference_CompletionStatus {
	switch c := find(e.GetConditions(), condCompleted); {
	case c.GetState() == runpb.Condition_CONDITION_SUCCEEDED:
		return runpb.ExecutionReference_EXECUTION_SUCCEEDED
	case c.GetExecutionReason() == runpb.Condition_CANCELLED:
		return runpb.ExecutionReference_EXECUTION_CANCELLED
	case c.GetState() == runpb.Condition_CONDITION_FAILED:
		return runpb.ExecutionReference_EXECUTION_FAILED
	case e.GetRunningCount() > 0:
		return runpb.ExecutionReference_EXECUTION_RUNNING
	}
	return runpb.ExecutionReference_EXECUTION_PENDING
}

// runTasks runs all tasks of an execution, as many at once as it may, and returns when they have ended.
func (a *admin) runTasks(ctx context.Context, e *execution) {
	parallel := int(e.spec.GetParallelism())
	if parallel <= 0 {
		parallel = maxParallel
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, t := range e.tasks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a.runTask(ctx, e, t)
		})
	}
	wg.Wait()
}

// runTask attempts a task until it succeeds or has no retries left.
func (a *admin) runTask(ctx context.Context, e *execution, t *task) {
	retries := e.spec.GetTemplate().GetMaxRetries()
	for attempt := int32(0); ; attempt++ {
		err := context.Cause(ctx)
		if err == nil {
			a.taskScheduled(e, t, attempt)
			err = a.attempt(ctx, e, t, attempt)
		}
		if err == nil || ctx.Err() != nil || attempt >= retries {
			a.taskEnded(ctx, e, t, err)
			return
		}
		a.taskFailed(t, err)
	}
}

// attempt runs a task's containers once.
func (a *admin) attempt(ctx context.Context, e *execution, t *task, attempt int32) error {
	timeout := e.spec.GetTemplate().GetTimeout().AsDuration()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	n := e.name
	return a.fleet.Run(ctx, serving.Revision{
		Kind: serving.Job, Project: n.project, ProjectNumber: projectNumber(n.project), Region: n.region,
		Service: n.job, Name: t.name.attempt(attempt), Template: revisionTemplate(e.spec.GetTemplate()), LogURI: a.logURI(t.name),
		Env: []string{
			"CLOUD_RUN_JOB=" + n.job,
			"CLOUD_RUN_EXECUTION=" + n.execution,
			fmt.Sprintf("CLOUD_RUN_TASK_INDEX=%d", t.index),
			fmt.Sprintf("CLOUD_RUN_TASK_ATTEMPT=%d", attempt),
			fmt.Sprintf("CLOUD_RUN_TASK_COUNT=%d", e.spec.GetTaskCount()),
		},
	}, func() { a.taskStarted(e, t) })
}

// changeExecution puts a changed execution in the place of the present one.
func (a *admin) changeExecution(e *execution, change func(pb *runpb.Execution)) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	pb := proto.CloneOf(e.pb)
	change(pb)
	pb.UpdateTime = a.store.timestamp()
	e.pb = pb
	a.store.notify()
}

// concludeExecution records how an execution ended. The caller holds the mutex.
func (a *admin) concludeExecution(ctx context.Context, j *job, e *execution) {
	now := a.store.timestamp()
	pb := proto.CloneOf(e.pb)
	pb.CompletionTime, pb.UpdateTime, pb.Reconciling, pb.ObservedGeneration = now, now, false, pb.GetGeneration()
	c := e.outcome(ctx, now.AsTime().Sub(pb.GetCreateTime().AsTime()))
	pb.Conditions = setCondition(pb.GetConditions(), c, now)
	e.pb = pb
	a.countExecution(j, e)
	var failure error
	if c.GetState() == runpb.Condition_CONDITION_FAILED {
		failure = status.Error(codes.FailedPrecondition, c.GetMessage())
	}
	for i, o := range e.waiting {
		if i > 0 {
			failure = nil // who cancelled or deleted it has what he wanted
		}
		a.store.finish(o, pb, failure)
	}
	e.waiting = nil
	if e.deleting {
		delete(j.executions, e.name.execution)
	}
	a.logger.Info("execution settled", "execution", e.name.execution, "state", c.GetState(), "message", c.GetMessage())
}

// outcome is the final condition of an execution. The caller holds the mutex.
func (e *execution) outcome(ctx context.Context, lasted time.Duration) *runpb.Condition {
	c := &runpb.Condition{Type: condCompleted, State: runpb.Condition_CONDITION_SUCCEEDED}
	fail := func(reason runpb.Condition_ExecutionReason, message string) {
		c.State, c.Severity, c.Message = runpb.Condition_CONDITION_FAILED, runpb.Condition_ERROR, message
		c.Reasons = &runpb.Condition_ExecutionReason_{ExecutionReason: reason}
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCancelled):
		fail(runpb.Condition_CANCELLED, fmt.Sprintf("Execution %s has been cancelled.", e.name.execution))
		return c
	case cause != nil:
		fail(runpb.Condition_DELETED, fmt.Sprintf("Execution %s was deleted with its job.", e.name.execution))
		return c
	}
	c.Message = "Execution completed successfully in " + took(lasted) + "."
	for _, t := range e.tasks {
		if done := find(t.pb.GetConditions(), condCompleted); done.GetState() == runpb.Condition_CONDITION_FAILED {
			fail(runpb.Condition_NON_ZERO_EXIT_CODE, fmt.Sprintf("Task %s failed with message: %s", t.name.task, done.GetMessage()))
			if done.GetExecutionReason() != runpb.Condition_NON_ZERO_EXIT_CODE {
				c.Reasons = done.GetReasons()
			}
			return c
		}
	}
	return c
}
