package cloudrun_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/provision/cloudrun"
)

// A service whose newest revision crashes while an older one has the traffic, with a tag on a third.
func TestSourcesOfService(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	ref := p.push(t, "app", image(t, "/app"))
	p.deploy(t, "app", ref)
	svc := p.service(t, "app")
	first := svc.GetLatestCreatedRevision()
	svc.Template = template(ref, "SECOND")
	svc.Traffic = []*runpb.TrafficTarget{
		{Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION, Revision: last(first), Percent: 100},
		{Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, Tag: "next"},
	}
	p.update(t, svc)
	second := p.service(t, "app").GetLatestCreatedRevision()
	svc = p.service(t, "app")
	svc.Template = template(p.push(t, "broken", image(t, "/crash")), "THIRD")
	p.update(t, svc)
	third := p.service(t, "app").GetLatestCreatedRevision()
	if first == second || second == third {
		t.Fatalf("revisions %s, %s, %s", first, second, third)
	}
	for what, tc := range map[string]struct {
		target provision.Target
		want   string
	}{
		"the one with traffic": {provision.Target{Name: "app"}, "FIRST"},
		"without traffic":      {provision.Target{Name: "app", Revision: last(second)}, "SECOND"},
		"failed":               {provision.Target{Name: "app", Revision: last(third)}, "THIRD"},
		"of a tag":             {provision.Target{Name: "app", Tag: "next"}, "SECOND"},
	} {
		t.Run(what, func(t *testing.T) {
			twin, env := p.enter(t, func(r *provision.Request) { r.Target = tc.target })
			wantEnv(t, env, "WHICH="+tc.want)
			if twin.Source != "app" {
				t.Errorf("source %q", twin.Source)
			}
		})
	}
	_, err := p.create(t, func(r *provision.Request) { r.Target.Tag = "blue" })
	wantError(t, err, "no tag blue of service app; there is next", "cloudssh app --tag next")
}

// A service that never came up.
func TestSourceCrashes(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	p.deploy(t, "app", p.push(t, "app", image(t, "/crash")))
	_, env := p.enter(t, nil)
	wantEnv(t, env, "WHICH=FIRST")
	_, err := p.create(t, func(r *provision.Request) { r.Target.Tag = "blue" })
	wantError(t, err, "no tag blue of service app, which has none")
}

func TestSourceJob(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	op, err := p.jobs.CreateJob(t.Context(), &runpb.CreateJobRequest{Parent: p.parent(), JobId: "migrate", Job: &runpb.Job{
		Labels: map[string]string{"team": "shop"},
		Template: &runpb.ExecutionTemplate{TaskCount: 3, Template: &runpb.TaskTemplate{
			Containers: []*runpb.Container{{
				Image: p.push(t, "migrate", image(t, "/work")), Args: []string{"--all"},
				Env: []*runpb.EnvVar{env("WHICH", "JOB"), env("DATABASE", "orders")},
			}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	job := provision.Target{Kind: provision.KindJob, Name: "migrate"}
	twin, env := p.enter(t, func(r *provision.Request) { r.Target = job })
	wantEnv(t, env, "WHICH=JOB", "DATABASE=orders", "CLOUD_RUN_JOB=migrate", "CLOUD_RUN_EXECUTION=migrate-ssh-job",
		"CLOUD_RUN_TASK_INDEX=0", "CLOUD_RUN_TASK_ATTEMPT=0", "CLOUD_RUN_TASK_COUNT=1")
	if twin.Name != "migrate-ssh-job" || twin.Source != "job:migrate" {
		t.Errorf("twin %s of %s", twin.Name, twin.Source)
	}
	if got := p.service(t, twin.Name).GetTemplate().GetExecutionEnvironment(); got != runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2 {
		t.Errorf("runs in %v", got)
	}
	for listed, err := range p.Twins(t.Context()) {
		if err != nil || listed.Source != "job:migrate" {
			t.Errorf("listed %+v, %v", listed, err)
		}
	}
	joined, err := p.create(t, func(r *provision.Request) { r.Target = job })
	if err != nil || !joined.Joined || joined.Name != twin.Name {
		t.Errorf("joined %+v, %v", joined, err)
	}
	_, err = p.create(t, func(r *provision.Request) { r.Target.Name = "migrate" })
	wantError(t, err, "no service migrate in us-central1 of project cloudssh-demo; there is a job of that name", "cloudssh job:migrate")
	_, err = p.create(t, func(r *provision.Request) { r.Target.Kind, r.Target.Name = provision.KindJob, "migrat" })
	wantError(t, err, "no job migrat in us-central1 of project cloudssh-demo; did you mean job:migrate?", "cloudssh job:migrate")
}

func TestSourceWorkerPool(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	op, err := p.pools.CreateWorkerPool(t.Context(), &runpb.CreateWorkerPoolRequest{
		Parent: p.parent(), WorkerPoolId: "queue", WorkerPool: &runpb.WorkerPool{
			Template: &runpb.WorkerPoolRevisionTemplate{Containers: []*runpb.Container{{
				Image: p.push(t, "queue", image(t, "/work")), Env: []*runpb.EnvVar{env("WHICH", "POOL")},
			}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	revision := last(pool.GetLatestCreatedRevision())
	p.deploy(t, "queue", p.push(t, "app", image(t, "/app"))) // a service of the same name is another thing
	target := provision.Target{Kind: provision.KindWorkerPool, Name: "queue"}
	twin, env := p.enter(t, func(r *provision.Request) { r.Target = target })
	wantEnv(t, env, "WHICH=POOL", "CLOUD_RUN_WORKER_POOL=queue", "CLOUD_RUN_WORKER_POOL_REVISION="+revision)
	if twin.Name != "queue-ssh-pool" || twin.Source != "worker-pool:queue" {
		t.Errorf("twin %s of %s", twin.Name, twin.Source)
	}
	of, env := p.enter(t, func(r *provision.Request) { r.Target.Name = "queue" })
	wantEnv(t, env, "WHICH=FIRST")
	if of.Name != "queue-ssh" || of.Source != "queue" {
		t.Errorf("twin %s of %s", of.Name, of.Source)
	}
	_, err = p.create(t, func(r *provision.Request) { r.Target = target; r.Target.Revision = "queue-none" })
	wantError(t, err, "no revision queue-none of worker pool queue", "cloudssh worker-pool:queue --revision "+revision)
	_, err = p.create(t, func(r *provision.Request) { r.Target.Kind = provision.KindJob; r.Target.Name = "queue" })
	wantError(t, err, "no job queue in us-central1 of project cloudssh-demo; there is a service of that name; there is a worker pool of that name",
		"cloudssh queue", "cloudssh worker-pool:queue")
}

func (p *platform) update(t *testing.T, svc *runpb.Service) {
	t.Helper()
	op, err := p.services.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: svc})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = op.Wait(t.Context()) // whether it comes up is the test's business
}

func last(resource string) string { return resource[strings.LastIndexByte(resource, '/')+1:] }

// Without a region the kinds that no listing shows across regions are looked for in each.
func TestSourceInAnyRegion(t *testing.T) {
	regions := []string{"us-central1", "europe-west1", "asia-east1"}
	p := newPlatform(t, emulator.Options{Regions: regions}, func(o *cloudrun.Options) { o.Region = "" })
	ref := p.push(t, "migrate", image(t, "/work"))
	for job, where := range map[string][]string{"once": regions[1:2], "twice": regions[:2]} {
		for _, r := range where {
			op, err := p.jobs.CreateJob(t.Context(), &runpb.CreateJobRequest{
				Parent: "projects/" + p.Project + "/locations/" + r, JobId: job, Job: &runpb.Job{Template: &runpb.ExecutionTemplate{
					Template: &runpb.TaskTemplate{Containers: []*runpb.Container{{Image: ref}}},
				}},
			})
			if err == nil {
				_, err = op.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	job := func(name string) func(*provision.Request) {
		return func(r *provision.Request) { r.Target = provision.Target{Kind: provision.KindJob, Name: name} }
	}
	twin, _ := p.enter(t, job("once"))
	if twin.Region != "europe-west1" {
		t.Errorf("twin in %s", twin.Region)
	}
	_, err := p.create(t, job("twice"))
	wantError(t, err, "job twice is in several regions: europe-west1, us-central1", "cloudssh job:twice --region europe-west1")
	_, err = p.create(t, job("never"))
	wantError(t, err, "no job never in any region of project cloudssh-demo", "gcloud run jobs list --project cloudssh-demo")
	_, err = p.create(t, func(r *provision.Request) { r.Target.Name = "once" })
	wantError(t, err, "no service once in any region of project cloudssh-demo; there is a job of that name", "cloudssh job:once")
}

func TestContainers(t *testing.T) {
	var closed atomic.Bool
	p := newPlatform(t, emulator.Options{Faults: emulator.Faults{DenyPush: func(string) bool { return closed.Load() }}})
	work := p.push(t, "work", image(t, "/work"))
	svc := func(repo string, n int) *runpb.Service {
		s := &runpb.Service{Template: template(p.push(t, repo, image(t, "/app")), "WEB")}
		main := s.Template.Containers[0]
		main.Name, main.Ports = "web", []*runpb.ContainerPort{{ContainerPort: 8080}}
		for i := 1; i < n; i++ {
			s.Template.Containers = append(s.Template.Containers, &runpb.Container{
				Name: fmt.Sprintf("side%d", i), Image: work, Env: []*runpb.EnvVar{env("WHICH", fmt.Sprintf("SIDE%d", i))},
			})
		}
		return s
	}
	p.make(t, "two", svc("two", 2))
	p.make(t, "ten", svc("ten", 10))
	_, env := p.enter(t, func(r *provision.Request) { r.Target.Name, r.Container = "two", "side1" })
	wantEnv(t, env, "WHICH=SIDE1")
	twin, env := p.enter(t, func(r *provision.Request) { r.Target.Name, r.NoSidecars = "two", true })
	wantEnv(t, env, "WHICH=WEB")
	if all := p.containers(t, twin.Name); len(all) != 1 {
		t.Errorf("containers %v", all)
	}
	_, err := p.create(t, func(r *provision.Request) { r.Target.Name, r.Container = "two", "side2" })
	wantError(t, err, `no container "side2"; there is web, side1`, "cloudssh two --container side1")
	crash := svc("crash", 2)
	crash.Template.Containers[1].Image = p.push(t, "crashing", image(t, "/crash"))
	p.make(t, "crash", crash)
	_, err = p.create(t, func(r *provision.Request) { r.Target.Name = "crash" })
	wantError(t, err, "did not become ready", "cloudssh crash --no-sidecars", "cloudssh crash --container side1")
	_, env = p.enter(t, func(r *provision.Request) { r.Target.Name, r.Container = "crash", "side1" })
	wantEnv(t, env, "WHICH=SIDE1")
	_, err = p.create(t, func(r *provision.Request) { r.Target.Name, r.Inject = "ten", provision.InjectSidecar })
	wantError(t, err, "Cloud Run allows 10 containers", "cloudssh ten --inject layer")
	closed.Store(true)
	_, err = p.create(t, func(r *provision.Request) { r.Target.Name = "ten" })
	wantError(t, err, "and a sidecar cannot bring the agent: ", "roles/artifactregistry.writer", "--no-sidecars")
}
