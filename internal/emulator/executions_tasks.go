package emulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// attempt names one attempt of a task, for its logs.
func (n taskName) attempt(number int32) string { return fmt.Sprintf("%s-attempt%d", n.task, number) }

func (a *admin) newTask(e *execution, index int32) *task {
	n := taskName{e.name, fmt.Sprintf("%s-task%d", e.name.execution, index)}
	pb := rules.Share(&runpb.Task{}, e.pb.GetTemplate())
	pb.Name, pb.Uid, pb.Etag, pb.Generation = n.String(), newUID(), newEtag(), 1
	pb.CreateTime, pb.UpdateTime = e.pb.GetCreateTime(), e.pb.GetCreateTime()
	pb.Labels, pb.Annotations, pb.Job, pb.Execution = e.pb.GetLabels(), e.pb.GetAnnotations(), e.name.job, e.name.execution
	pb.Index, pb.MaxRetries, pb.Reconciling, pb.LogUri = index, e.pb.GetTemplate().GetMaxRetries(), true, a.logURI(n)
	return &task{n, index, pb}
}

// changeTask puts a changed task in the place of the present one. The caller does not hold the mutex.
func (a *admin) changeTask(t *task, change func(pb *runpb.Task, now *timestamppb.Timestamp)) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	pb, now := proto.CloneOf(t.pb), a.store.timestamp()
	change(pb, now)
	pb.UpdateTime = now
	t.pb = pb
	a.store.notify()
}

// taskScheduled is called at the start of each attempt.
func (a *admin) taskScheduled(e *execution, t *task, attempt int32) {
	a.changeTask(t, func(pb *runpb.Task, now *timestamppb.Timestamp) {
		pb.Retried = attempt
		if attempt == 0 {
			pb.ScheduledTime = now
		}
	})
	a.changeExecution(e, func(pb *runpb.Execution) {
		if attempt == 0 {
			pb.RunningCount++
		} else {
			pb.RetriedCount++
		}
	})
}

// taskStarted is called when the containers of an attempt run.
func (a *admin) taskStarted(e *execution, t *task) {
	a.changeTask(t, func(pb *runpb.Task, now *timestamppb.Timestamp) {
		if pb.GetStartTime() == nil {
			pb.StartTime = now
		}
		pb.Conditions = setCondition(pb.GetConditions(), &runpb.Condition{Type: "Started", State: runpb.Condition_CONDITION_SUCCEEDED}, now)
	})
	a.changeExecution(e, func(pb *runpb.Execution) {
		now := a.store.timestamp()
		if pb.GetStartTime() == nil {
			pb.StartTime = now
		}
		for _, kind := range []string{"ContainerReady", "ResourcesAvailable", "Started"} {
			pb.Conditions = setCondition(pb.GetConditions(), &runpb.Condition{Type: kind, State: runpb.Condition_CONDITION_SUCCEEDED}, now)
		}
	})
}

// taskFailed is called after an attempt that will be repeated.
func (a *admin) taskFailed(t *task, err error) {
	a.changeTask(t, func(pb *runpb.Task, now *timestamppb.Timestamp) {
		pb.LastAttemptResult = attemptResult(err)
		pb.Conditions = setCondition(pb.GetConditions(), &runpb.Condition{
			Type: "Retry", State: runpb.Condition_CONDITION_RECONCILING, Message: "The last attempt failed: " + taskMessage(err),
		}, now)
	})
}

// taskEnded is called when a task is over.
func (a *admin) taskEnded(ctx context.Context, e *execution, t *task, err error) {
	ran := false
	a.changeTask(t, func(pb *runpb.Task, now *timestamppb.Timestamp) {
		ran = pb.GetScheduledTime() != nil
		c := &runpb.Condition{Type: condCompleted, State: runpb.Condition_CONDITION_SUCCEEDED}
		if err != nil {
			c.State, c.Severity, c.Message = runpb.Condition_CONDITION_FAILED, runpb.Condition_ERROR, taskMessage(err)
			taskReason(c, err)
		}
		if ran {
			pb.LastAttemptResult = attemptResult(err)
		}
		pb.CompletionTime, pb.Reconciling, pb.ObservedGeneration = now, false, pb.GetGeneration()
		pb.Conditions = setCondition(pb.GetConditions(), c, now)
	})
	a.changeExecution(e, func(pb *runpb.Execution) {
		if ran {
			pb.RunningCount--
		}
		switch {
		case err == nil:
			pb.SucceededCount++
		case ctx.Err() != nil:
			pb.CancelledCount++
		default:
			pb.FailedCount++
		}
	})
}

// taskReason says in a condition why a task failed.
func taskReason(c *runpb.Condition, err error) {
	var exit *serving.ExitError
	var deploy *serving.DeployError
	switch {
	case errors.As(err, &exit):
		c.Reasons = &runpb.Condition_ExecutionReason_{ExecutionReason: runpb.Condition_NON_ZERO_EXIT_CODE}
	case errors.As(err, &deploy):
		message := c.GetMessage()
		deploy.Fail(c)
		c.Message = message
	case errors.Is(err, errCancelled):
		c.Reasons = &runpb.Condition_ExecutionReason_{ExecutionReason: runpb.Condition_CANCELLED}
	default:
		c.Reasons = &runpb.Condition_Reason{Reason: runpb.Condition_UNKNOWN}
	}
}

func taskMessage(err error) string {
	var exit *serving.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exit.OOM:
		return "Memory limit exceeded. The container was terminated."
	case errors.As(err, &exit):
		return "The container exited with an error."
	case errors.Is(err, errTimeout):
		return "The configured timeout was reached."
	case errors.Is(err, errCancelled), errors.Is(err, context.Canceled):
		return "The task was cancelled."
	}
	return err.Error()
}

func attemptResult(err error) *runpb.TaskAttemptResult {
	result := &runpb.TaskAttemptResult{Status: &rpcstatus.Status{}}
	if err == nil {
		return result
	}
	result.Status.Code, result.Status.Message = int32(codes.Unknown), taskMessage(err)
	var exit *serving.ExitError
	if errors.As(err, &exit) {
		result.ExitCode = int32(exit.Exit.Code)
		if exit.Exit.Signal != "" {
			result.ExitCode, result.TermSignal = 0, int32(exit.Exit.Code-128)
		}
	}
	return result
}

// findTask returns a task. The caller holds the mutex.
func (st *store) findTask(n taskName) (*task, error) {
	if _, e, err := st.findExecution(n.executionName); err == nil {
		for _, t := range e.tasks {
			if t.name == n {
				return t, nil
			}
		}
	}
	return nil, rules.NotFound("TASK", n.task, n.region, n.project)
}

// GetTask returns a task.
func (a *admin) GetTask(ctx context.Context, req *runpb.GetTaskRequest) (*runpb.Task, error) {
	n, err := parseTask("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if n.location, err = a.checkLocation("name", n.location); err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.tasks.get", n.namespaced(), n.jobName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	t, err := a.store.findTask(n)
	if err != nil {
		return nil, err
	}
	return t.pb, nil
}

// ListTasks lists the tasks of an execution, by their index.
func (a *admin) ListTasks(ctx context.Context, req *runpb.ListTasksRequest) (*runpb.ListTasksResponse, error) {
	n, err := a.execution("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.tasks.list", n.namespaced(), n.jobName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	_, e, err := a.store.findExecution(n)
	if err != nil {
		return nil, err
	}
	var tasks []*runpb.Task
	for _, t := range e.tasks {
		tasks = append(tasks, t.pb)
	}
	tasks, next, err := page(tasks, req.GetPageSize(), req.GetPageToken(), "tasks "+n.String(),
		func(t *runpb.Task) string { return fmt.Sprintf("%06d", t.GetIndex()) }, func(x, y string) bool { return x < y })
	if err != nil {
		return nil, err
	}
	return &runpb.ListTasksResponse{Tasks: tasks, NextPageToken: next}, nil
}

// serveLogs serves the log of a revision, of an execution or of a task, whose name is the rest of the path.
func (a *admin) serveLogs(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, logsPath)
	if n, err := parseRevision("revision", name); err == nil {
		a.fleet.Logs(key(n)).ServeHTTP(w, r)
		return
	}
	attempts, err := a.store.attempts(name)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	for _, k := range attempts {
		for _, line := range a.fleet.Tail(k, math.MaxInt) {
			// It is plain text, and what can fail is the client's connection.
			_, _ = fmt.Fprintln(w, line) //nolint:gosec // see above
		}
	}
}

// attempts names all attempts of an execution's tasks, or of one task.
func (st *store) attempts(name string) ([]serving.Key, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	one, err := parseTask("name", name)
	n := one.executionName
	if err != nil {
		if n, err = parseExecution("name", name); err != nil {
			return nil, err
		}
	}
	_, e, err := st.findExecution(n)
	if err != nil {
		return nil, err
	}
	var keys []serving.Key
	for _, t := range e.tasks {
		if one.task != "" && t.name != one {
			continue
		}
		for attempt := range t.pb.GetRetried() + 1 {
			keys = append(keys, serving.Key{Project: n.project, Region: n.region, Service: n.job, Name: t.name.attempt(attempt), Kind: serving.Job})
		}
	}
	return keys, nil
}
