package rules

import (
	"cmp"
	"time"

	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	maxTasks           = 10000
	maxTaskTimeout     = 7 * 24 * time.Hour
	maxTaskRetries     = 10
	defaultTaskTimeout = 10 * time.Minute
	defaultTaskRetries = 3
)

// CreateJob refuses a job that Cloud Run would not create under id, as Create does for services.
func CreateJob(id string, j *runpb.Job) error {
	c := &checker{request: "CreateJobRequest"}
	c.id("job_id", id)
	c.job(j, nil)
	return c.err()
}

// UpdateJob refuses a job that Cloud Run would not put in old's place.
func UpdateJob(old, j *runpb.Job) error {
	c := &checker{request: "UpdateJobRequest"}
	c.job(j, old)
	return c.err()
}

// JobDefaults fills in what the API fills in, in place; see Defaults. Containers without a name get one from id.
func JobDefaults(id string, j *runpb.Job, serviceAccount string) {
	j.LaunchStage = cmp.Or(j.GetLaunchStage(), api.LaunchStage_GA)
	if j.GetTemplate() == nil {
		return
	}
	j.Template.TaskCount = cmp.Or(j.GetTemplate().GetTaskCount(), 1)
	t := j.GetTemplate().GetTemplate()
	if t == nil {
		return
	}
	t.ServiceAccount = cmp.Or(t.GetServiceAccount(), serviceAccount)
	t.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2 // jobs have no other
	if t.GetTimeout() == nil {
		t.Timeout = durationpb.New(defaultTaskTimeout)
	}
	if t.GetRetries() == nil {
		t.Retries = &runpb.TaskTemplate_MaxRetries{MaxRetries: defaultTaskRetries}
	}
	portlessDefaults(id, t.GetContainers(), t.GetVolumes(), t.GetVpcAccess())
}

func (c *checker) job(j, old *runpb.Job) {
	inner := &checker{request: c.request}
	inner.labels("labels", j.GetLabels())
	inner.annotations("annotations", j.GetAnnotations(), old.GetAnnotations())
	inner.binaryAuthorization(j.GetBinaryAuthorization())
	inner.labels("template.labels", j.GetTemplate().GetLabels())
	inner.annotations("template.annotations", j.GetTemplate().GetAnnotations(), nil)
	switch {
	case j.GetTemplate() == nil:
		inner.malformed("template", "should be set.")
	case j.GetTemplate().GetTemplate() == nil:
		inner.malformed("template.template", "should be set.")
	}
	if n := j.GetTemplate().GetTaskCount(); n < 0 || n > maxTasks {
		inner.malformed("template.task_count", "should be between 1 and %d.", maxTasks)
	}
	if n := j.GetTemplate().GetParallelism(); n < 0 {
		inner.malformed("template.parallelism", "should be greater than or equal to 0.")
	}
	c.rename(inner, "job")
	if t := j.GetTemplate().GetTemplate(); t != nil {
		c.taskTemplate(t)
	}
}

func (c *checker) taskTemplate(t *runpb.TaskTemplate) {
	inner := &checker{request: c.request}
	shared := Share(&runpb.RevisionTemplate{}, t)
	shared.ExecutionEnvironment, shared.Timeout = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2, nil
	if t.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1 {
		inner.malformed("template.execution_environment", "jobs run in the second generation execution environment only.")
	}
	if d := t.GetTimeout(); d != nil && (!d.IsValid() || d.AsDuration() < time.Second || d.AsDuration() > maxTaskTimeout) {
		inner.malformed("template.timeout", "should be between one second and 168 hours.")
	}
	if n := t.GetMaxRetries(); n < 0 || n > maxTaskRetries {
		inner.malformed("template.max_retries", "should be between 0 and %d.", maxTaskRetries)
	}
	inner.portless(shared)
	c.absorb(inner, "job", "template.template.")
}
