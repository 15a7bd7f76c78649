package emulator

import (
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

func (a *admin) v1RunJob(r *http.Request, l location) (any, error) {
	n, err := v1JobName(r, l)
	if err != nil {
		return nil, err
	}
	var given knative.RunJobRequest
	if err := readV1(r, &given); err != nil {
		return nil, err
	}
	op, err := a.RunJob(r.Context(), &runpb.RunJobRequest{Name: n.String(), Overrides: runOverrides(given.Overrides)})
	return writtenExecution(op, err)
}

// runOverrides are what a request changes for one run of a job.
func runOverrides(k *knative.Overrides) *runpb.RunJobRequest_Overrides {
	if k == nil {
		return nil
	}
	o := &runpb.RunJobRequest_Overrides{TaskCount: small(k.TaskCount)}
	if k.TimeoutSeconds != 0 {
		o.Timeout = durationpb.New(time.Duration(k.TimeoutSeconds) * time.Second)
	}
	d := &specReader{}
	for _, c := range k.ContainerOverrides {
		override := &runpb.RunJobRequest_Overrides_ContainerOverride{Name: c.Name, Args: c.Args, ClearArgs: c.ClearArgs}
		for _, e := range c.Env {
			override.Env = append(override.Env, d.env("overrides", e))
		}
		o.ContainerOverrides = append(o.ContainerOverrides, override)
	}
	return o
}

func writtenExecution(op *longrunningpb.Operation, err error) (any, error) {
	if err != nil {
		return nil, v1Error(err)
	}
	e := &runpb.Execution{}
	if err := op.GetMetadata().UnmarshalTo(e); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", op.GetName(), err)
	}
	return knativeExecution(e), nil
}

// v1FindExecution finds the execution that a request names without its job. Who lacks the permission does not learn
// whether there is one.
func (a *admin) v1FindExecution(r *http.Request, l location, permission string) (string, error) {
	name := r.PathValue("e")
	found := a.store.listExecutions(func(n executionName) bool { return l.includes(n.location) && n.execution == name })
	if len(found) == 0 {
		if err := a.authorize(r.Context(), permission, "namespaces/"+l.project+"/executions/"+name, serviceName{location: l}); err != nil {
			return "", err
		}
		return "", rules.NotFound("EXECUTION", name, l.region, l.project)
	}
	return found[0].GetName(), nil
}

func (a *admin) v1Execution(r *http.Request, l location) (any, error) {
	name, err := a.v1FindExecution(r, l, "run.executions.get")
	if err != nil {
		return nil, err
	}
	e, err := a.GetExecution(r.Context(), &runpb.GetExecutionRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return knativeExecution(e), nil
}

func (a *admin) v1Executions(r *http.Request, l location) (any, error) {
	if err := a.authorize(r.Context(), "run.executions.list", "namespaces/"+l.project+"/executions", serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := parseSelectors(r.URL.Query())
	if err != nil {
		return nil, err
	}
	var all []*runpb.Execution
	for _, e := range a.store.listExecutions(func(n executionName) bool { return l.includes(n.location) }) {
		if k := knativeExecution(e); match(k.Metadata.Name, k.Metadata.Labels) {
			all = append(all, e)
		}
	}
	items, next, err := v1Page(r, all, executionKey)
	if err != nil {
		return nil, err
	}
	list := &knative.ListExecutionsResponse{
		ApiVersion: jobsVersion, Kind: "ExecutionList", Metadata: &knative.ListMeta{Continue: next},
		Unreachable: []string{}, ForceSendFields: []string{"Unreachable", "Items"}, Items: []*knative.Execution{},
	}
	for _, e := range items {
		list.Items = append(list.Items, knativeExecution(e))
	}
	return list, nil
}

func (a *admin) v1DeleteExecution(r *http.Request, l location) (any, error) {
	name, err := a.v1FindExecution(r, l, "run.executions.delete")
	if err != nil {
		return nil, err
	}
	_, err = a.DeleteExecution(r.Context(), &runpb.DeleteExecutionRequest{Name: name})
	return deleted(shortName(name), "executions", err)
}

func (a *admin) v1CancelExecution(r *http.Request, l location) (any, error) {
	name, err := a.v1FindExecution(r, l, "run.executions.cancel")
	if err != nil {
		return nil, err
	}
	op, err := a.CancelExecution(r.Context(), &runpb.CancelExecutionRequest{Name: name})
	return writtenExecution(op, err)
}

// v1FindTasks are the tasks of a location that a request may see, executions newest first, tasks by their numbers.
func (a *admin) v1FindTasks(r *http.Request, l location, match func(*knative.Task) bool) ([]*knative.Task, error) {
	var found []*knative.Task
	for _, e := range a.store.listExecutions(func(n executionName) bool { return l.includes(n.location) }) {
		for page := ""; ; {
			list, err := a.ListTasks(r.Context(), &runpb.ListTasksRequest{Parent: e.GetName(), PageToken: page})
			if status.Code(err) == codes.NotFound {
				break // it has just been deleted
			}
			if err != nil {
				return nil, err
			}
			for _, t := range list.GetTasks() {
				if k := knativeTask(t); match(k) {
					found = append(found, k)
				}
			}
			if page = list.GetNextPageToken(); page == "" {
				break
			}
		}
	}
	return found, nil
}

func (a *admin) v1Tasks(r *http.Request, l location) (any, error) {
	if err := a.authorize(r.Context(), "run.tasks.list", "namespaces/"+l.project+"/tasks", serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := parseSelectors(r.URL.Query())
	if err != nil {
		return nil, err
	}
	found, err := a.v1FindTasks(r, l, func(k *knative.Task) bool { return match(k.Metadata.Name, k.Metadata.Labels) })
	if err != nil {
		return nil, err
	}
	return &knative.ListTasksResponse{
		ApiVersion: jobsVersion, Kind: "TaskList", Metadata: &knative.ListMeta{}, Items: found,
		Unreachable: []string{}, ForceSendFields: []string{"Unreachable", "Items"},
	}, nil
}

func (a *admin) v1Task(r *http.Request, l location) (any, error) {
	name := r.PathValue("t")
	found, err := a.v1FindTasks(r, l, func(k *knative.Task) bool { return k.Metadata.Name == name })
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if err := a.authorize(r.Context(), "run.tasks.get", "namespaces/"+l.project+"/tasks/"+name, serviceName{location: l}); err != nil {
			return nil, err
		}
		return nil, rules.NotFound("TASK", name, l.region, l.project)
	}
	return found[0], nil
}
