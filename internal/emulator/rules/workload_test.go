package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"
)

func newJob() *runpb.Job {
	return &runpb.Job{Template: &runpb.ExecutionTemplate{Template: &runpb.TaskTemplate{
		Containers: []*runpb.Container{{Image: "us-docker.pkg.dev/cloudrun/container/job"}},
	}}}
}

func newPool() *runpb.WorkerPool {
	return &runpb.WorkerPool{Template: &runpb.WorkerPoolRevisionTemplate{
		Containers: []*runpb.Container{{Image: "us-docker.pkg.dev/cloudrun/container/worker-pool"}},
	}}
}

func sized(cpu, memory string) *runpb.ResourceRequirements {
	return &runpb.ResourceRequirements{Limits: map[string]string{"cpu": cpu, "memory": memory}}
}

// What is wrong with a job is said where it stands in the job, not where it would stand in a service.
func TestJobs(t *testing.T) {
	const violation = "Violation in CreateJobRequest.job."
	for name, test := range map[string]struct {
		edit  func(j *runpb.Job, t *runpb.TaskTemplate)
		field string // empty: accepted
	}{
		"least":        {func(*runpb.Job, *runpb.TaskTemplate) {}, ""},
		"no template":  {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Template = nil }, violation + "template"},
		"no task":      {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Template.Template = nil }, violation + "template.template"},
		"label":        {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Labels = map[string]string{"run.googleapis.com/x": "y"} }, violation + "labels"},
		"inner label":  {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Template.Labels = map[string]string{"A": "y"} }, violation + "template.labels"},
		"tasks":        {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Template.TaskCount = 10001 }, violation + "template.task_count"},
		"parallelism":  {func(j *runpb.Job, _ *runpb.TaskTemplate) { j.Template.Parallelism = -1 }, violation + "template.parallelism"},
		"long timeout": {func(_ *runpb.Job, t *runpb.TaskTemplate) { t.Timeout = durationpb.New(168 * time.Hour) }, ""},
		"timeout":      {func(_ *runpb.Job, t *runpb.TaskTemplate) { t.Timeout = durationpb.New(169 * time.Hour) }, violation + "template.template.timeout"},
		"retries": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.Retries = &runpb.TaskTemplate_MaxRetries{MaxRetries: 11}
		}, violation + "template.template.max_retries"},
		"generation": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
		}, violation + "template.template.execution_environment"},
		"no image":      {func(_ *runpb.Job, t *runpb.TaskTemplate) { t.Containers[0].Image = "" }, violation + "template.template.containers[0].image"},
		"no containers": {func(_ *runpb.Job, t *runpb.TaskTemplate) { t.Containers = nil }, violation + "template.template.containers"},
		"two containers": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.Containers = append(t.Containers, &runpb.Container{Image: "sidecar"})
		}, ""},
		"account": {func(_ *runpb.Job, t *runpb.TaskTemplate) { t.ServiceAccount = "nobody" }, violation + "template.template.service_account"},
		"vpc": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.VpcAccess = &runpb.VpcAccess{Connector: "short"}
		}, violation + "template.template.vpc_access.connector"},
		"gcs, which needs gen2": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.Volumes = []*runpb.Volume{{Name: "data", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "bucket"}}}}
		}, ""},
		"half a CPU": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.Containers[0].Resources = sized("0.5", "512Mi")
		}, "template.template.containers.resources.limits.cpu"},
		"variable": {func(_ *runpb.Job, t *runpb.TaskTemplate) {
			t.Containers[0].Env = []*runpb.EnvVar{{Name: "A=B"}}
		}, violation + "template.template.containers[0].env[0].name"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob()
			test.edit(j, j.GetTemplate().GetTemplate())
			before := proto.CloneOf(j)
			err := CreateJob("chore", j)
			checkField(t, err, test.field)
			if !proto.Equal(before, j) {
				t.Error("CreateJob changed its argument")
			}
			if test.field != "" {
				return
			}
			JobDefaults("chore", j, "a@b.iam.gserviceaccount.com")
			if err := UpdateJob(before, j); err != nil {
				t.Errorf("refused with its defaults: %v", err)
			}
			again := proto.CloneOf(j)
			if JobDefaults("chore", again, "c@d.iam.gserviceaccount.com"); !proto.Equal(again, j) {
				t.Errorf("completed twice: %v, then %v", j, again)
			}
		})
	}
	checkField(t, CreateJob("Chore", newJob()), "Violation in CreateJobRequest.job_id")
}

func checkField(t *testing.T, err error, want string) {
	t.Helper()
	got := fields(t, err)
	if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
		t.Errorf("fields %q, want %q (%v)", got, want, err)
	}
	for _, f := range got {
		if strings.Contains(f, ".service.") {
			t.Errorf("field %q is a service's", f)
		}
	}
}

func TestWorkerPools(t *testing.T) {
	const violation = "Violation in CreateWorkerPoolRequest.worker_pool."
	for name, test := range map[string]struct {
		edit  func(p *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate)
		field string
	}{
		"least":       {func(*runpb.WorkerPool, *runpb.WorkerPoolRevisionTemplate) {}, ""},
		"no template": {func(p *runpb.WorkerPool, _ *runpb.WorkerPoolRevisionTemplate) { p.Template = nil }, violation + "template"},
		"description": {func(p *runpb.WorkerPool, _ *runpb.WorkerPoolRevisionTemplate) {
			p.Description = strings.Repeat("x", 513)
		}, violation + "description"},
		"half a CPU": {func(_ *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate) {
			t.Containers[0].Resources = sized("0.5", "512Mi")
		}, "template.containers.resources.limits.cpu"},
		"little space": {func(_ *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate) {
			t.Containers[0].Resources = sized("1", "256Mi")
		}, "template.containers.resources.limits.memory"},
		"revision":     {func(_ *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate) { t.Revision = "other-1" }, "template.revision"},
		"own revision": {func(_ *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate) { t.Revision = "pool-1" }, ""},
		"instances": {func(p *runpb.WorkerPool, _ *runpb.WorkerPoolRevisionTemplate) {
			p.Scaling = &runpb.WorkerPoolScaling{ManualInstanceCount: proto.Int32(-1)}
		}, violation + "scaling.manual_instance_count"},
		"splits": {func(p *runpb.WorkerPool, _ *runpb.WorkerPoolRevisionTemplate) {
			p.InstanceSplits = []*runpb.InstanceSplit{{Type: 1, Percent: 60}}
		}, violation + "instance_splits"},
		"split of nothing": {func(p *runpb.WorkerPool, _ *runpb.WorkerPoolRevisionTemplate) {
			p.InstanceSplits = []*runpb.InstanceSplit{{Type: 2, Revision: "pool-9", Percent: 100}}
		}, "instance_splits[0].revision"},
		"two containers": {func(_ *runpb.WorkerPool, t *runpb.WorkerPoolRevisionTemplate) {
			t.Containers = append(t.Containers, &runpb.Container{Image: "sidecar"})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool()
			test.edit(p, p.GetTemplate())
			before := proto.CloneOf(p)
			checkField(t, CreateWorkerPool("pool", p), test.field)
			if !proto.Equal(before, p) {
				t.Error("CreateWorkerPool changed its argument")
			}
			if test.field != "" {
				return
			}
			WorkerPoolDefaults("pool", p, "a@b.iam.gserviceaccount.com")
			none := func(string) bool { return false }
			if err := UpdateWorkerPool("pool", p, p, none); err != nil {
				t.Errorf("refused with its defaults: %v", err)
			}
			again := proto.CloneOf(p)
			if WorkerPoolDefaults("pool", again, "c@d.iam.gserviceaccount.com"); !proto.Equal(again, p) {
				t.Errorf("completed twice: %v, then %v", p, again)
			}
		})
	}
	checkField(t, CreateWorkerPool("-pool", newPool()), "Violation in CreateWorkerPoolRequest.worker_pool_id")
}

// Share takes what two messages have in common, and nothing that only has the same name.
func TestShare(t *testing.T) {
	names := func(m proto.Message) []string {
		set := map[string]bool{}
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			set[string(fields.Get(i).Name())] = true
		}
		return slices.Sorted(maps.Keys(set))
	}
	pool := newPool()
	pool.Scaling = &runpb.WorkerPoolScaling{ManualInstanceCount: proto.Int32(2)}
	pool.Labels = map[string]string{"a": "b"}
	s := Share(&runpb.Service{}, pool)
	if s.GetTemplate() != nil || s.GetScaling() != nil || s.GetLabels()["a"] != "b" {
		t.Errorf("a service of a worker pool is %v", s)
	}
	// Jobs and worker pools are run from a revision's template: all that they have but these must be in it.
	own := map[string]bool{"max_retries": true}
	of := names(&runpb.RevisionTemplate{})
	for _, name := range append(names(&runpb.TaskTemplate{}), names(&runpb.WorkerPoolRevisionTemplate{})...) {
		if !slices.Contains(of, name) && !own[name] {
			t.Errorf("a revision's template has no %s", name)
		}
	}
}
