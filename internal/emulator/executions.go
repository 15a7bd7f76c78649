package emulator

import (
	"context"
	"errors"
	"slices"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

// execution is one run of a job; all of it belongs to the store's mutex.
type execution struct {
	name     executionName
	pb       *runpb.Execution
	spec     *runpb.Execution // as it was made; it never changes
	tasks    []*task
	cancel   context.CancelCauseFunc
	deleting bool
	waiting  []*operation // operations that end when the execution is over
}

// task is one task of an execution; all of it belongs to the store's mutex.
type task struct {
	name  taskName
	index int32
	pb    *runpb.Task
}

// errCancelled is why the containers of a cancelled execution are stopped.
var errCancelled = errors.New("the execution was cancelled")

// condCompleted is an execution's final condition, as Ready is a service's.
const condCompleted = "Completed"

func (e *execution) show() proto.Message { return e.pb }

// over tells whether nothing of the execution runs any more.
func (e *execution) over() bool { return e.pb.GetCompletionTime() != nil }

func executionKey(e *runpb.Execution) string { return timeKey(e.GetCreateTime(), e.GetName()) }

// findExecution returns an execution and its job. The caller holds the mutex.
func (st *store) findExecution(n executionName) (*job, *execution, error) {
	if j := st.jobs[n.jobName]; j != nil {
		if e := j.executions[n.execution]; e != nil {
			return j, e, nil
		}
	}
	return nil, nil, rules.NotFound("EXECUTION", n.execution, n.region, n.project)
}

// RunJob starts an execution of a job. The operation's metadata is the execution; it is done when that is over.
func (a *admin) RunJob(ctx context.Context, req *runpb.RunJobRequest) (*longrunningpb.Operation, error) {
	n, err := a.job("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("run"), n.namespaced(), n); err != nil {
		return nil, err
	}
	if req.GetOverrides() != nil {
		if err := a.authorize(ctx, n.permission("runWithOverrides"), n.namespaced(), n); err != nil {
			return nil, err
		}
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	j, err := a.store.findJob(n)
	if err != nil {
		return nil, err
	}
	if e := req.GetEtag(); e != "" && e != j.pb.GetEtag() {
		return nil, rules.EtagMismatch(n.job, e, j.pb.GetEtag())
	}
	if j.deleting {
		return nil, status.Errorf(codes.FailedPrecondition, "Job '%s' is being deleted.", n.job)
	}
	template, err := overridden(j, req.GetOverrides())
	if err != nil {
		return nil, err
	}
	e := a.newExecution(ctx, j, template)
	if req.GetValidateOnly() {
		return finished(n.location, e.pb, e.pb)
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	return a.startExecution(j, e)
}

// newExecution makes an execution that has not started. The caller holds the mutex.
func (a *admin) newExecution(ctx context.Context, j *job, t *runpb.ExecutionTemplate) *execution {
	n := executionName{j.name, j.name.job + "-" + randomSuffix(5)}
	now := a.store.timestamp()
	pb := &runpb.Execution{
		Name: n.String(), Uid: newUID(), Generation: 1, Etag: newEtag(), Creator: a.who(ctx),
		Labels: t.GetLabels(), Annotations: t.GetAnnotations(), CreateTime: now, UpdateTime: now,
		LaunchStage: j.pb.GetLaunchStage(), Job: j.name.job, Parallelism: t.GetParallelism(), TaskCount: t.GetTaskCount(),
		Template: t.GetTemplate(), Reconciling: true, LogUri: a.logURI(n),
	}
	pb.Conditions = setCondition(nil, &runpb.Condition{
		Type: condCompleted, State: runpb.Condition_CONDITION_RECONCILING, Message: "Waiting for execution to complete.",
	}, now)
	e := &execution{name: n, pb: pb, spec: pb}
	for i := range t.GetTaskCount() {
		e.tasks = append(e.tasks, a.newTask(e, i))
	}
	return e
}

// overridden is a job's template with what a request overrides.
func overridden(j *job, o *runpb.RunJobRequest_Overrides) (*runpb.ExecutionTemplate, error) {
	pb := proto.CloneOf(j.pb)
	t := pb.GetTemplate()
	if j.template != nil {
		t.Template.Containers = proto.CloneOf(j.template).GetContainers()
	}
	if o == nil {
		return t, nil
	}
	if o.GetTaskCount() != 0 {
		t.TaskCount = o.GetTaskCount()
	}
	if o.GetTimeout() != nil {
		t.Template.Timeout = o.GetTimeout()
	}
	for _, c := range o.GetContainerOverrides() {
		if err := overrideContainer(t.GetTemplate().GetContainers(), c); err != nil {
			return nil, err
		}
	}
	return t, rules.UpdateJob(j.pb, pb)
}

func overrideContainer(containers []*runpb.Container, o *runpb.RunJobRequest_Overrides_ContainerOverride) error {
	at := slices.IndexFunc(containers, func(c *runpb.Container) bool { return c.GetName() == o.GetName() })
	if o.GetName() == "" && len(containers) == 1 {
		at = 0
	}
	if at < 0 {
		return status.Errorf(codes.InvalidArgument, "overrides.container_overrides.name: the job has no container '%s'.", o.GetName())
	}
	c := containers[at]
	if len(o.GetArgs()) > 0 || o.GetClearArgs() {
		c.Args = o.GetArgs()
	}
	for _, e := range o.GetEnv() {
		c.Env = slices.DeleteFunc(c.GetEnv(), func(old *runpb.EnvVar) bool { return old.GetName() == e.GetName() })
		c.Env = append(c.GetEnv(), e)
	}
	return nil
}

// GetExecution returns an execution.
func (a *admin) GetExecution(ctx context.Context, req *runpb.GetExecutionRequest) (*runpb.Execution, error) {
	n, err := a.execution("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.executions.get", n.namespaced(), n.jobName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	_, e, err := a.store.findExecution(n)
	if err != nil {
		return nil, err
	}
	return e.pb, nil
}

// ListExecutions lists the executions of a job, or with "-" of all jobs of a region, newest first.
func (a *admin) ListExecutions(ctx context.Context, req *runpb.ListExecutionsRequest) (*runpb.ListExecutionsResponse, error) {
	n, err := a.job("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.executions.list", n.namespaced(), n); err != nil {
		return nil, err
	}
	if err := a.store.hasJob(n); err != nil {
		return nil, err
	}
	found := a.store.listExecutions(func(have executionName) bool {
		return have.jobName == n || n.job == "-" && have.location == n.location
	})
	found, next, err := page(found, req.GetPageSize(), req.GetPageToken(), "executions "+n.String(), executionKey, newerFirst)
	if err != nil {
		return nil, err
	}
	return &runpb.ListExecutionsResponse{Executions: found, NextPageToken: next}, nil
}

// hasJob tells whether there is a job, or the name means all.
func (st *store) hasJob(n jobName) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n.job == "-" {
		return nil
	}
	_, err := st.findJob(n)
	return err
}

// listExecutions returns the executions that match, newest first.
func (st *store) listExecutions(match func(executionName) bool) []*runpb.Execution {
	st.mu.Lock()
	defer st.mu.Unlock()
	var found []*runpb.Execution
	for _, j := range st.jobs {
		for _, e := range j.executions {
			if match(e.name) {
				found = append(found, e.pb)
			}
		}
	}
	slices.SortFunc(found, func(x, y *runpb.Execution) int { return newestFirst(executionKey(x), executionKey(y)) })
	return found
}

// CancelExecution stops an execution's tasks, by SIGTERM first. The operation is done when none runs any more.
func (a *admin) CancelExecution(ctx context.Context, req *runpb.CancelExecutionRequest) (*longrunningpb.Operation, error) {
	n, err := a.execution("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.executions.cancel", n.namespaced(), n.jobName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	_, e, err := a.store.findExecution(n)
	if err != nil {
		return nil, err
	}
	switch given := req.GetEtag(); {
	case given != "" && given != e.pb.GetEtag():
		return nil, rules.EtagMismatch(n.execution, given, e.pb.GetEtag())
	case e.over():
		return nil, status.Errorf(codes.FailedPrecondition, "Execution '%s' is already completed.", n.execution)
	case req.GetValidateOnly():
		return finished(n.location, e.pb, e.pb)
	}
	o := a.store.begin(n.location, e.show)
	e.waiting = append(e.waiting, o)
	a.cancelExecution(e)
	return o.proto()
}

// cancelExecution has an execution end. The caller holds the mutex.
func (a *admin) cancelExecution(e *execution) {
	pb := proto.CloneOf(e.pb)
	pb.Conditions = setCondition(pb.GetConditions(), &runpb.Condition{
		Type: condCompleted, State: runpb.Condition_CONDITION_RECONCILING, Message: "Cancelling execution.",
		Reasons: &runpb.Condition_ExecutionReason_{ExecutionReason: runpb.Condition_CANCELLING},
	}, a.store.timestamp())
	e.pb = pb
	e.cancel(errCancelled)
	a.store.notify()
}

// DeleteExecution deletes an execution, and cancels it first when it is not over.
func (a *admin) DeleteExecution(ctx context.Context, req *runpb.DeleteExecutionRequest) (*longrunningpb.Operation, error) {
	n, err := a.execution("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.executions.delete", n.namespaced(), n.jobName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	j, e, err := a.store.findExecution(n)
	if err != nil {
		return nil, err
	}
	if given := req.GetEtag(); given != "" && given != e.pb.GetEtag() {
		return nil, rules.EtagMismatch(n.execution, given, e.pb.GetEtag())
	}
	if req.GetValidateOnly() {
		return finished(n.location, e.pb, e.pb)
	}
	if e.over() {
		delete(j.executions, n.execution)
		a.store.notify()
		return finished(n.location, e.pb, e.pb)
	}
	o := a.store.begin(n.location, e.show)
	e.waiting = append(e.waiting, o)
	e.deleting = true
	a.cancelExecution(e)
	return o.proto()
}

// took is a time as the platform's messages write it.
func took(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
