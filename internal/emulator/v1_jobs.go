package emulator

import (
	"fmt"
	"net/http"
	"path"
	"strconv"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
)

func (a *admin) v1Jobs(r *http.Request, l location) (any, error) {
	if err := a.authorize(r.Context(), "run.jobs.list", "namespaces/"+l.project+"/jobs", serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := parseSelectors(r.URL.Query())
	if err != nil {
		return nil, err
	}
	var all []*runpb.Job
	for _, j := range a.store.listJobs(func(n jobName) bool { return l.includes(n.location) }) {
		if match(shortName(j.GetName()), j.GetLabels()) {
			all = append(all, j)
		}
	}
	items, next, err := v1Page(r, all, jobKey)
	if err != nil {
		return nil, err
	}
	list := &knative.ListJobsResponse{
		ApiVersion: jobsVersion, Kind: "JobList", Metadata: &knative.ListMeta{Continue: next},
		Unreachable: []string{}, ForceSendFields: []string{"Unreachable", "Items"}, Items: []*knative.Job{},
	}
	for _, j := range items {
		list.Items = append(list.Items, knativeJob(j))
	}
	return list, nil
}

// v1JobName is the job that a request's path names.
func v1JobName(r *http.Request, l location) (jobName, error) {
	_, err := checkMeta(nil, "", "", l, "")
	return jobName{location: l, job: r.PathValue("j")}, err
}

func (a *admin) v1Job(r *http.Request, l location) (any, error) {
	n, err := v1JobName(r, l)
	if err != nil {
		return nil, err
	}
	j, err := a.GetJob(r.Context(), &runpb.GetJobRequest{Name: n.String()})
	if err != nil {
		return nil, err
	}
	return knativeJob(j), nil
}

// givenJob is a job as it comes in: with a number that may be absent, which the schema's own type cannot say.
type givenJob struct {
	knative.Job

	Spec *struct {
		knative.JobSpec

		Template *struct {
			Metadata *knative.ObjectMeta `json:"metadata"`
			Spec     *struct {
				knative.ExecutionSpec

				Template *struct {
					Spec *struct {
						knative.TaskSpec

						MaxRetries *int64 `json:"maxRetries"`
					} `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// read is the job, and whether it says how often a task is retried.
func (g *givenJob) read() (*knative.Job, bool) {
	j := g.Job
	if g.Spec == nil || g.Spec.Template == nil || g.Spec.Template.Spec == nil || g.Spec.Template.Spec.Template == nil ||
		g.Spec.Template.Spec.Template.Spec == nil {
		return &j, false
	}
	execution := g.Spec.Template.Spec.ExecutionSpec
	task := g.Spec.Template.Spec.Template.Spec
	spec := task.TaskSpec
	if task.MaxRetries != nil {
		spec.MaxRetries = *task.MaxRetries
	}
	execution.Template = &knative.TaskTemplateSpec{Spec: &spec}
	j.Spec = &knative.JobSpec{Template: &knative.ExecutionTemplateSpec{Metadata: g.Spec.Template.Metadata, Spec: &execution}}
	return &j, task.MaxRetries != nil
}

// readJob reads and translates the job in a request's body.
func readJob(r *http.Request, l location, name string) (jobName, *runpb.Job, error) {
	var given givenJob
	if err := readV1(r, &given); err != nil {
		return jobName{}, nil, err
	}
	k, retries := given.read()
	meta, err := checkMeta(k.Metadata, k.Kind, "Job", l, name)
	if err != nil {
		return jobName{}, nil, err
	}
	d := &specReader{}
	pb := d.job(k, retries)
	if meta.ResourceVersion != "" {
		pb.Etag = strconv.Quote(meta.ResourceVersion)
	}
	return jobName{location: l, job: meta.Name}, pb, d.err()
}

func (a *admin) v1CreateJob(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	n, pb, err := readJob(r, l, "")
	if err != nil {
		return nil, err
	}
	op, err := a.createJob(r.Context(), n, pb, dry)
	return writtenJob(op, err)
}

func (a *admin) v1ReplaceJob(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	n, pb, err := readJob(r, l, r.PathValue("j"))
	if err != nil {
		return nil, err
	}
	pb.Name = n.String()
	op, err := a.UpdateJob(r.Context(), &runpb.UpdateJobRequest{Job: pb, ValidateOnly: dry})
	return writtenJob(op, err)
}

// writtenJob is the answer to a write: the job as it is now, with the operation's name.
func writtenJob(op *longrunningpb.Operation, err error) (any, error) {
	if err != nil {
		return nil, v1Error(err)
	}
	j := &runpb.Job{}
	if err := op.GetMetadata().UnmarshalTo(j); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", op.GetName(), err)
	}
	k := knativeJob(j)
	if !op.GetDone() {
		k.Metadata.Annotations[operationID] = path.Base(op.GetName())
	}
	return k, nil
}

func (a *admin) v1DeleteJob(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	n, err := v1JobName(r, l)
	if err != nil {
		return nil, err
	}
	_, err = a.DeleteJob(r.Context(), &runpb.DeleteJobRequest{Name: n.String(), ValidateOnly: dry})
	return deleted(n.job, "jobs", err)
}
