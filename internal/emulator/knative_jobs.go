package emulator

import (
	"maps"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// jobsVersion is the apiVersion of jobs, executions and tasks.
const jobsVersion = "run.googleapis.com/v1"

// The labels and annotations that the platform writes on jobs and executions.
const (
	jobLabel       = runNamespace + "job"
	executionLabel = runNamespace + "execution"
	stateLabel     = runNamespace + "runningState"
	updatedLabel   = runNamespace + "lastUpdatedTime"
	creatorNote    = runNamespace + "creator"
	modifierNote   = runNamespace + "lastModifier"
	jobsPath       = "/apis/run.googleapis.com/v1/namespaces/"
)

// v1Time is a time that may not have come.
func v1Time(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return rfc3339(t.AsTime())
}

func knativeJob(j *runpb.Job) *knative.Job {
	n, _ := parseJob("name", j.GetName()) // the store's own name
	like := shared(&runpb.Service{}, j)
	annotations := map[string]string{creatorNote: j.GetCreator(), modifierNote: j.GetLastModifier()}
	readSettings(like, resourceSettings(), annotations)
	maps.Copy(annotations, j.GetAnnotations())
	labels := map[string]string{locationLabel: n.region, updatedLabel: v1Time(j.GetUpdateTime())}
	maps.Copy(labels, j.GetLabels())
	t := j.GetTemplate()
	meta, spec := knativeExecutionSpec(t.GetTemplate(), t.GetParallelism(), t.GetTaskCount(), t.GetLabels(), t.GetAnnotations())
	return &knative.Job{
		ApiVersion: jobsVersion, Kind: "Job",
		Metadata: &knative.ObjectMeta{
			Name: n.job, Namespace: projectNumber(n.project), Uid: j.GetUid(), Generation: j.GetGeneration(),
			ResourceVersion: strings.Trim(j.GetEtag(), `"`), CreationTimestamp: v1Time(j.GetCreateTime()),
			DeletionTimestamp: v1Time(j.GetDeleteTime()), Labels: labels, Annotations: annotations,
			SelfLink: jobsPath + projectNumber(n.project) + "/jobs/" + n.job,
		},
		Spec: &knative.JobSpec{Template: &knative.ExecutionTemplateSpec{Metadata: meta, Spec: spec}},
		Status: &knative.JobStatus{
			ObservedGeneration: j.GetObservedGeneration(), ExecutionCount: int64(j.GetExecutionCount()),
			Conditions:             knativeConditions(append([]*runpb.Condition{j.GetTerminalCondition()}, j.GetConditions()...)),
			LatestCreatedExecution: executionReference(j.GetLatestCreatedExecution()),
		},
	}
}

func executionReference(e *runpb.ExecutionReference) *knative.ExecutionReference {
	if e == nil {
		return nil
	}
	r := &knative.ExecutionReference{
		Name: shortName(e.GetName()), CreationTimestamp: v1Time(e.GetCreateTime()), CompletionTimestamp: v1Time(e.GetCompletionTime()),
		DeletionTimestamp: v1Time(e.GetDeleteTime()),
	}
	if s := e.GetCompletionStatus(); s != runpb.ExecutionReference_COMPLETION_STATUS_UNSPECIFIED {
		r.CompletionStatus = s.String()
	}
	return r
}

// knativeExecutionSpec is the specification of a job's executions and of an execution, with its labels and annotations.
func knativeExecutionSpec(t *runpb.TaskTemplate, parallelism, tasks int32, labels, annotations map[string]string,
) (*knative.ObjectMeta, *knative.ExecutionSpec) {
	like := shared(&tmplt{}, t)
	like.Labels, like.Annotations = labels, annotations
	meta, spec := knativeTemplate(like, templateSettings())
	return meta, &knative.ExecutionSpec{
		Parallelism: int64(parallelism), TaskCount: int64(tasks),
		Template: &knative.TaskTemplateSpec{Spec: &knative.TaskSpec{
			Containers: spec.Containers, Volumes: spec.Volumes, NodeSelector: spec.NodeSelector,
			ServiceAccountName: spec.ServiceAccountName, TimeoutSeconds: spec.TimeoutSeconds,
			MaxRetries: int64(t.GetMaxRetries()), ForceSendFields: []string{"MaxRetries"},
		}},
	}
}

// job reads a job. retries tells whether it says how often a task is retried.
func (d *specReader) job(k *knative.Job, retries bool) *runpb.Job {
	meta := orEmpty(k.Metadata)
	like := &runpb.Service{Labels: ownLabels(meta.Labels)}
	like.Annotations = ownAnnotations(d, "metadata.annotations", like, resourceSettings(), "Job", meta.Annotations,
		creatorNote, modifierNote, operationID)
	j := shared(&runpb.Job{}, like)
	if k.Spec == nil || k.Spec.Template == nil || k.Spec.Template.Spec == nil || k.Spec.Template.Spec.Template == nil ||
		k.Spec.Template.Spec.Template.Spec == nil {
		d.refuse("spec.template.spec.template.spec", "missing field(s): spec.template.spec.template.spec")
		return j
	}
	spec := k.Spec.Template.Spec
	j.Template = d.execution(orEmpty(k.Spec.Template.Metadata), spec)
	if retries {
		j.Template.Template.Retries = &runpb.TaskTemplate_MaxRetries{MaxRetries: small(spec.Template.Spec.MaxRetries)}
	}
	return j
}

func (d *specReader) execution(meta *knative.ObjectMeta, spec *knative.ExecutionSpec) *runpb.ExecutionTemplate {
	task := spec.Template.Spec
	like := d.spec("spec.template.spec.template.spec", meta, &knative.RevisionSpec{
		Containers: task.Containers, Volumes: task.Volumes, NodeSelector: task.NodeSelector,
		ServiceAccountName: task.ServiceAccountName, TimeoutSeconds: task.TimeoutSeconds,
	})
	own := ownAnnotations(d, "spec.template.metadata.annotations", like, templateSettings(), "Execution", meta.Annotations,
		runNamespace+"client-name", runNamespace+"client-version", secretsAnnotation)
	return &runpb.ExecutionTemplate{
		Labels: like.GetLabels(), Annotations: own, Parallelism: small(spec.Parallelism), TaskCount: small(spec.TaskCount),
		Template: shared(&runpb.TaskTemplate{}, like),
	}
}

func knativeExecution(e *runpb.Execution) *knative.Execution {
	n, _ := parseExecution("name", e.GetName()) // the store's own name
	meta, spec := knativeExecutionSpec(e.GetTemplate(), e.GetParallelism(), e.GetTaskCount(), e.GetLabels(), e.GetAnnotations())
	meta.Name, meta.Namespace, meta.Uid, meta.Generation = n.execution, projectNumber(n.project), e.GetUid(), e.GetGeneration()
	meta.ResourceVersion = strings.Trim(e.GetEtag(), `"`)
	meta.CreationTimestamp, meta.DeletionTimestamp = v1Time(e.GetCreateTime()), v1Time(e.GetDeleteTime())
	meta.SelfLink = jobsPath + meta.Namespace + "/executions/" + n.execution
	meta.Labels[locationLabel], meta.Labels[jobLabel] = n.region, n.job
	meta.Annotations[creatorNote] = e.GetCreator()
	return &knative.Execution{
		ApiVersion: jobsVersion, Kind: "Execution", Metadata: meta, Spec: spec,
		Status: &knative.ExecutionStatus{
			ObservedGeneration: e.GetObservedGeneration(), Conditions: knativeConditions(e.GetConditions()),
			StartTime: v1Time(e.GetStartTime()), CompletionTime: v1Time(e.GetCompletionTime()), LogUri: e.GetLogUri(),
			RunningCount: int64(e.GetRunningCount()), SucceededCount: int64(e.GetSucceededCount()), FailedCount: int64(e.GetFailedCount()),
			CancelledCount: int64(e.GetCancelledCount()), RetriedCount: int64(e.GetRetriedCount()),
		},
	}
}

func knativeTask(t *runpb.Task) *knative.Task {
	n, _ := parseTask("name", t.GetName()) // the store's own name
	like := shared(&tmplt{}, t)
	meta, spec := knativeTemplate(like, templateSettings())
	meta.Name, meta.Namespace, meta.Uid, meta.Generation = n.task, projectNumber(n.project), t.GetUid(), t.GetGeneration()
	meta.CreationTimestamp, meta.SelfLink = v1Time(t.GetCreateTime()), jobsPath+meta.Namespace+"/tasks/"+n.task
	meta.Labels[locationLabel], meta.Labels[jobLabel], meta.Labels[executionLabel] = n.region, n.job, n.execution
	meta.Labels[stateLabel] = taskState(t)
	k := &knative.Task{
		ApiVersion: jobsVersion, Kind: "Task", Metadata: meta,
		Spec: &knative.TaskSpec{
			Containers: spec.Containers, Volumes: spec.Volumes, NodeSelector: spec.NodeSelector,
			ServiceAccountName: spec.ServiceAccountName, TimeoutSeconds: spec.TimeoutSeconds,
			MaxRetries: int64(t.GetMaxRetries()), ForceSendFields: []string{"MaxRetries"},
		},
		Status: &knative.TaskStatus{
			ObservedGeneration: t.GetObservedGeneration(), Conditions: knativeConditions(t.GetConditions()), Index: int64(t.GetIndex()),
			StartTime: v1Time(t.GetStartTime()), CompletionTime: v1Time(t.GetCompletionTime()), LogUri: t.GetLogUri(), Retried: int64(t.GetRetried()),
		},
	}
	if r := t.GetLastAttemptResult(); r != nil {
		k.Status.LastAttemptResult = &knative.TaskAttemptResult{
			ExitCode: int64(r.GetExitCode()), TermSignal: int64(r.GetTermSignal()),
			Status: &knative.GoogleRpcStatus{Code: int64(r.GetStatus().GetCode()), Message: r.GetStatus().GetMessage()},
		}
	}
	return k
}

// taskState is the word for what a task does, which lists select by.
func taskState(t *runpb.Task) string {
	completed := find(t.GetConditions(), condCompleted)
	switch {
	case completed.GetState() == runpb.Condition_CONDITION_SUCCEEDED:
		return "Succeeded"
	case completed.GetExecutionReason() == runpb.Condition_CANCELLED && t.GetCompletionTime() != nil:
		return "Cancelled"
	case completed.GetState() == runpb.Condition_CONDITION_FAILED:
		return "Failed"
	case t.GetStartTime() != nil:
		return "Running"
	}
	return "Pending"
}
