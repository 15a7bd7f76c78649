package cloudrun

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"cloud.google.com/go/run/apiv2/runpb"
)

// wantAll: every field of from that to has too is there, and those that it lacks are the ones named.
func wantAll(t *testing.T, to, from proto.Message, lacks ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, l := range lacks {
		missing[l] = true
	}
	src, dst := from.ProtoReflect(), to.ProtoReflect()
	fields := src.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		g := dst.Descriptor().Fields().ByName(f.Name())
		there := g != nil && dst.Has(g) && dst.Get(g).Equal(src.Get(f))
		if there == missing[string(f.Name())] {
			t.Errorf("%s.%s: taken over: %v", src.Descriptor().Name(), f.Name(), there)
		}
		delete(missing, string(f.Name()))
	}
	for l := range missing {
		t.Errorf("%s has no field %s", src.Descriptor().Name(), l)
	}
}

// statusFields are those that only the platform writes, and more.
func statusFields(more ...string) []string {
	return append(more, "create_time", "update_time", "delete_time", "expire_time", "creator", "last_modifier", "client",
		"client_version", "observed_generation", "terminal_condition", "conditions", "satisfies_pzs", "reconciling", "etag", "template")
}

// What a job or worker pool has is in the service and the revision that are made of it, so that Derive, which has a rule
// for each field of those, decides about it.
func TestFieldsOfJobs(t *testing.T) {
	job := &runpb.Job{}
	fill(job.ProtoReflect(), 0)
	svc, rev := fromJob(job)
	wantAll(t, svc, job, statusFields("execution_count", "latest_created_execution", "start_execution_token", "run_execution_token")...)
	wantAll(t, rev, job.GetTemplate(), "parallelism", "task_count", "template")
	wantAll(t, rev, job.GetTemplate().GetTemplate(), "max_retries")
}

func TestFieldsOfWorkerPools(t *testing.T) {
	pool := &runpb.WorkerPool{}
	fill(pool.ProtoReflect(), 0)
	wantAll(t, fromPool(pool), pool, statusFields("instance_splits", "instance_split_statuses", "scaling", "latest_ready_revision",
		"latest_created_revision", "threat_detection_enabled", "custom_audiences")...)
	wantAll(t, fromPoolTemplate(pool), pool.GetTemplate(), "revision")
}

func TestRunningInPool(t *testing.T) {
	pool := &runpb.WorkerPool{LatestCreatedRevision: "q-3"}
	if got := runningInPool(pool); got != "q-3" {
		t.Errorf("never ready: %s", got)
	}
	pool.LatestReadyRevision = "q-2"
	if got := runningInPool(pool); got != "q-2" {
		t.Errorf("no split: %s", got)
	}
	pool.InstanceSplitStatuses = []*runpb.InstanceSplitStatus{{Revision: "q-1", Percent: 90}, {Revision: "q-2", Percent: 10}}
	if got := runningInPool(pool); got != "q-1" {
		t.Errorf("split: %s", got)
	}
}
