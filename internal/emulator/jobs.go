package emulator

import (
	"context"
	"slices"
	"sync"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

// job is one job; all of it belongs to the store's mutex.
type job struct {
	name       jobName
	pb         *runpb.Job
	policy     *iampb.Policy
	template   *runpb.TaskTemplate // images pinned to the digests of when the job was made or changed
	executions map[string]*execution
	ctx        context.Context // ends when the job is deleted or the emulator closed
	cancel     context.CancelFunc
	work       *sync.WaitGroup // its imports and executions
	deleting   bool
	waiting    []*operation // operations that end when the job's images are imported
	deletions  []*operation // operations that end when it is gone
}

func jobKey(j *runpb.Job) string { return timeKey(j.GetCreateTime(), j.GetName()) }

// show is the job as it is now. The caller holds the mutex.
func (j *job) show() proto.Message { return j.pb }

// findJob returns a job. The caller holds the mutex.
func (st *store) findJob(n jobName) (*job, error) {
	if j := st.jobs[n]; j != nil {
		return j, nil
	}
	return nil, n.missing()
}

func (n jobName) missing() error { return rules.NotFound("JOB", n.job, n.region, n.project) }

// CreateJob creates a job. The operation is done when its images are imported, or cannot be; in both cases the job is
// there.
func (a *admin) CreateJob(ctx context.Context, req *runpb.CreateJobRequest) (*longrunningpb.Operation, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	return a.createJob(ctx, jobName{l, req.GetJobId()}, req.GetJob(), req.GetValidateOnly())
}

func (a *admin) createJob(ctx context.Context, n jobName, given *runpb.Job, validateOnly bool) (*longrunningpb.Operation, error) {
	if err := a.authorize(ctx, n.permission("create"), n.namespaced(), n); err != nil {
		return nil, err
	}
	if err := rules.CreateJob(n.job, given); err != nil {
		return nil, err
	}
	pb := writable(given)
	pb.Name = n.String()
	rules.JobDefaults(n.job, pb, defaultServiceAccount(n.project))
	if err := a.authorizeActAs(ctx, n, pb.GetTemplate().GetTemplate().GetServiceAccount()); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.store.jobs[n] != nil {
		return nil, rules.AlreadyExists(n.job)
	}
	if validateOnly {
		return finished(n.location, pb, pb)
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	now := a.store.timestamp()
	pb.Uid, pb.CreateTime, pb.UpdateTime, pb.Generation = newUID(), now, now, 1
	pb.Creator, pb.LastModifier, pb.Etag = a.who(ctx), a.who(ctx), newEtag()
	j := &job{
		name: n, pb: pb, policy: &iampb.Policy{Version: 1, Etag: []byte(newEtag())},
		executions: map[string]*execution{}, work: &sync.WaitGroup{},
	}
	j.ctx, j.cancel = context.WithCancel(a.ctx)
	a.store.jobs[n] = j
	return a.importJob(j)
}

// GetJob returns a job.
func (a *admin) GetJob(ctx context.Context, req *runpb.GetJobRequest) (*runpb.Job, error) {
	n, err := a.job("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("get"), n.namespaced(), n); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	j, err := a.store.findJob(n)
	if err != nil {
		return nil, err
	}
	return j.pb, nil
}

// ListJobs lists the jobs of a region, newest first. Deleted jobs are not kept.
func (a *admin) ListJobs(ctx context.Context, req *runpb.ListJobsRequest) (*runpb.ListJobsResponse, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.jobs.list", l.String(), l); err != nil {
		return nil, err
	}
	jobs := a.store.listJobs(func(n jobName) bool { return n.location == l })
	jobs, next, err := page(jobs, req.GetPageSize(), req.GetPageToken(), "jobs "+l.String(), jobKey, newerFirst)
	if err != nil {
		return nil, err
	}
	return &runpb.ListJobsResponse{Jobs: jobs, NextPageToken: next}, nil
}

// listJobs returns the jobs that match, newest first.
func (st *store) listJobs(match func(jobName) bool) []*runpb.Job {
	st.mu.Lock()
	defer st.mu.Unlock()
	var found []*runpb.Job
	for n, j := range st.jobs {
		if match(n) {
			found = append(found, j.pb)
		}
	}
	slices.SortFunc(found, func(x, y *runpb.Job) int { return newestFirst(jobKey(x), jobKey(y)) })
	return found
}

// UpdateJob changes a job; executions that run are not touched.
func (a *admin) UpdateJob(ctx context.Context, req *runpb.UpdateJobRequest) (*longrunningpb.Operation, error) {
	n, err := a.job("job.name", req.GetJob().GetName())
	if err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	missing := a.store.jobs[n] == nil
	a.store.mu.Unlock()
	if missing && req.GetAllowMissing() {
		return a.createJob(ctx, n, req.GetJob(), req.GetValidateOnly())
	}
	if err := a.authorize(ctx, n.permission("update"), n.namespaced(), n); err != nil {
		return nil, err
	}
	for {
		a.store.mu.Lock()
		j, err := a.store.findJob(n)
		if err != nil {
			a.store.mu.Unlock()
			return nil, err
		}
		old := j.pb
		a.store.mu.Unlock()
		next, err := a.prepareJob(ctx, n, old, req)
		if err != nil {
			return nil, err
		}
		if req.GetValidateOnly() {
			return finished(n.location, next, next)
		}
		if op, err := a.commitJob(ctx, n, old, next); op != nil || err != nil {
			return op, err
		}
	}
}

// prepareJob is the job that an update asks for, checked.
func (a *admin) prepareJob(ctx context.Context, n jobName, old *runpb.Job, req *runpb.UpdateJobRequest) (*runpb.Job, error) {
	if e := req.GetJob().GetEtag(); e != "" && e != old.GetEtag() {
		return nil, rules.EtagMismatch(n.job, e, old.GetEtag())
	}
	next, err := masked(old, req.GetJob(), nil) // this API takes the whole job
	if err != nil {
		return nil, err
	}
	rules.JobDefaults(n.job, next, defaultServiceAccount(n.project))
	if err := rules.UpdateJob(old, next); err != nil {
		return nil, err
	}
	return next, a.authorizeActAs(ctx, n, next.GetTemplate().GetTemplate().GetServiceAccount())
}

// commitJob puts an updated job in the place of old. It returns nothing when old is no longer what is there.
func (a *admin) commitJob(ctx context.Context, n jobName, old, next *runpb.Job) (*longrunningpb.Operation, error) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	j := a.store.jobs[n]
	if j == nil || j.pb.GetEtag() != old.GetEtag() {
		return nil, nil
	}
	if j.deleting {
		return nil, status.Errorf(codes.FailedPrecondition, "Job '%s' is being deleted.", n.job)
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	pb := merge(j.pb, next)
	pb.UpdateTime, pb.LastModifier, pb.Etag = a.store.timestamp(), a.who(ctx), newEtag()
	pb.Generation++
	j.pb = pb
	return a.importJob(j)
}

// DeleteJob cancels a job's executions and deletes it with them. The operation is done when nothing of it runs any more.
func (a *admin) DeleteJob(ctx context.Context, req *runpb.DeleteJobRequest) (*longrunningpb.Operation, error) {
	n, err := a.job("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("delete"), n.namespaced(), n); err != nil {
		return nil, err
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
	if req.GetValidateOnly() {
		return finished(n.location, j.pb, j.pb)
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	o := a.store.begin(n.location, j.show)
	j.deletions = append(j.deletions, o)
	if !j.deleting {
		a.startDeleteJob(j)
	}
	return o.proto()
}
