package emulator_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// The life of a worker pool, over both dialects: its instances run without a port, as many as it says.
func TestWorkerPool(t *testing.T) {
	t.Parallel()
	started := make(chan []string, 10)
	s := start(t, chores(started))
	img := pushChores(t, s)
	grpcClient, err := run.NewWorkerPoolsClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = grpcClient.Close() })
	restClient, err := run.NewWorkerPoolsRESTClient(t.Context(), restOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = restClient.Close() })
	for dialect, c := range map[string]*run.WorkerPoolsClient{"grpc": grpcClient, "rest": restClient} {
		t.Run(dialect, func(t *testing.T) {
			id := "pool-" + dialect
			name := parent + "/workerPools/" + id
			op, err := c.CreateWorkerPool(t.Context(), &runpb.CreateWorkerPoolRequest{Parent: parent, WorkerPoolId: id, WorkerPool: &runpb.WorkerPool{
				Template: &runpb.WorkerPoolRevisionTemplate{Containers: []*runpb.Container{{Image: img("forever")}}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			made, err := op.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			revision := made.GetLatestReadyRevision()
			if made.GetName() != name || made.GetScaling().GetManualInstanceCount() != 1 || made.GetInstanceSplitStatuses()[0].GetPercent() != 100 ||
				!strings.HasPrefix(revision, name+"/revisions/"+id+"-00001-") || len(made.GetTemplate().GetContainers()[0].GetPorts()) != 0 {
				t.Errorf("made %v", made)
			}
			short := revision[strings.LastIndex(revision, "/")+1:]
			want := []string{"CLOUD_RUN_WORKER_POOL=" + id, "CLOUD_RUN_WORKER_POOL_REVISION=" + short}
			if env := <-started; !slices.Equal(env, want) {
				t.Errorf("environment %q, want %q", env, want)
			}
			rev, err := revisions(t, s).GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: revision})
			if err != nil || rev.GetContainers()[0].GetImage() != img("forever") {
				t.Errorf("revision %v: %v", rev, err)
			}
			if first, err := revisions(t, s).ListRevisions(t.Context(), &runpb.ListRevisionsRequest{Parent: name}).Next(); err != nil || first.GetName() != revision {
				t.Errorf("newest revision %v: %v", first, err)
			}
			up, err := c.UpdateWorkerPool(t.Context(), &runpb.UpdateWorkerPoolRequest{
				WorkerPool: &runpb.WorkerPool{Name: name, Scaling: &runpb.WorkerPoolScaling{ManualInstanceCount: proto.Int32(3)}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"scaling"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if scaled, err := up.Wait(t.Context()); err != nil || scaled.GetLatestReadyRevision() != revision || scaled.GetScaling().GetManualInstanceCount() != 3 {
				t.Fatalf("scaled to %v: %v", scaled, err)
			}
			<-started
			<-started
			next := replaceRevision(t, s, c, name, img("forever"))
			for range 3 {
				if env := <-started; !slices.Contains(env, "MODE=next") {
					t.Errorf("environment of the next revision %q", env)
				}
			}
			wantGoodbyes(t, s, revision, 3)
			if first, err := c.ListWorkerPools(t.Context(), &runpb.ListWorkerPoolsRequest{Parent: parent}).Next(); err != nil || first.GetName() != name {
				t.Errorf("newest worker pool %v: %v", first, err)
			}
			if _, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/" + id}); status.Code(err) != codes.NotFound {
				t.Errorf("a service of that name: %v", err)
			}
			del, err := c.DeleteWorkerPool(t.Context(), &runpb.DeleteWorkerPoolRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := del.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantGoodbyes(t, s, next, 3)
		})
	}
}

// replaceRevision changes a worker pool's template and deletes the revision that it had.
func replaceRevision(t *testing.T, s *emulator.Server, c *run.WorkerPoolsClient, name, image string) (next string) {
	t.Helper()
	old, err := c.GetWorkerPool(t.Context(), &runpb.GetWorkerPoolRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	op, err := c.UpdateWorkerPool(t.Context(), &runpb.UpdateWorkerPoolRequest{
		WorkerPool: &runpb.WorkerPool{Name: name, Template: &runpb.WorkerPoolRevisionTemplate{Containers: []*runpb.Container{{
			Image: image, Env: []*runpb.EnvVar{{Name: "MODE", Values: &runpb.EnvVar_Value{Value: "next"}}},
		}}}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"template"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(changed.GetLatestReadyRevision(), "-00002-") || changed.GetScaling().GetManualInstanceCount() != old.GetScaling().GetManualInstanceCount() {
		t.Errorf("changed to %v", changed)
	}
	if _, err := revisions(t, s).DeleteRevision(t.Context(), &runpb.DeleteRevisionRequest{Name: changed.GetLatestReadyRevision()}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the revision in use: %v", err)
	}
	del, err := revisions(t, s).DeleteRevision(t.Context(), &runpb.DeleteRevisionRequest{Name: old.GetLatestReadyRevision()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := del.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return changed.GetLatestReadyRevision()
}

// wantGoodbyes tells whether so many instances of a revision, of which nothing is left, got SIGTERM.
func wantGoodbyes(t *testing.T, s *emulator.Server, revision string, want int) {
	t.Helper()
	_, log := do(t, s, http.MethodGet, "/emulator/v1/logs/"+revision, "")
	if n := strings.Count(log, "goodbye"); n != want {
		t.Errorf("%d of %d instances got SIGTERM: %q", n, want, log)
	}
}

// A worker pool with no instances is ready without starting one.
func TestWorkerPoolOfNone(t *testing.T) {
	t.Parallel()
	s := start(t, chores(make(chan []string))) // an instance that started would never end
	img := pushChores(t, s)
	c, err := run.NewWorkerPoolsClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	pool := &runpb.WorkerPool{
		Scaling:  &runpb.WorkerPoolScaling{ManualInstanceCount: proto.Int32(0)},
		Template: &runpb.WorkerPoolRevisionTemplate{Containers: []*runpb.Container{{Image: img("forever")}}},
	}
	op, err := c.CreateWorkerPool(t.Context(), &runpb.CreateWorkerPoolRequest{Parent: parent, WorkerPoolId: "none", WorkerPool: pool})
	if err != nil {
		t.Fatal(err)
	}
	made, err := op.Wait(t.Context())
	if err != nil || made.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_SUCCEEDED {
		t.Fatalf("made %v: %v", made, err)
	}
	_, log := do(t, s, http.MethodGet, "/emulator/v1/logs/"+made.GetLatestReadyRevision(), "")
	if strings.Contains(log, "goodbye") {
		t.Errorf("an instance ran: %q", log)
	}
	pool.Template.Containers[0].Image = img("nothing")
	_, err = c.CreateWorkerPool(t.Context(), &runpb.CreateWorkerPoolRequest{Parent: parent, WorkerPoolId: "Bad", WorkerPool: pool})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "Violation in CreateWorkerPoolRequest.worker_pool_id") {
		t.Errorf("a bad id: %v", err)
	}
}
