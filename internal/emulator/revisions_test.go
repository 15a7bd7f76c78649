package emulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

const (
	toLatest   = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
	toRevision = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
)

func update(t *testing.T, s *emulator.Server, svc *runpb.Service) (*runpb.Service, error) {
	t.Helper()
	svc.Etag = ""
	op, err := services(t, s).UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: svc})
	if err != nil {
		return nil, err
	}
	return op.Wait(t.Context())
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	s := start(t)
	spec := service(s, "demo/web")
	spec.InvokerIamDisabled, spec.Template.Revision = true, "split-one"
	svc := create(t, services(t, s), "split", spec)

	spec = proto.CloneOf(svc)
	spec.Template.Revision = "split-two"
	spec.Traffic = []*runpb.TrafficTarget{
		{Type: toRevision, Revision: "split-one", Percent: 100},
		{Type: toRevision, Revision: "split-two", Tag: "next"},
	}
	svc, err := update(t, s, spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, s, svc.GetUri()); !strings.Contains(body, "K_REVISION=split-one") {
		t.Errorf("traffic did not stay:\n%s", body)
	}
	tagged := svc.GetTrafficStatuses()[1].GetUri()
	if _, body := get(t, s, tagged); !strings.Contains(tagged, "next---split-") || !strings.Contains(body, "K_REVISION=split-two") {
		t.Errorf("the tag's URL %s:\n%s", tagged, body)
	}
	if code, _ := get(t, s, strings.Replace(tagged, "next---", "last---", 1)); code != http.StatusNotFound {
		t.Errorf("an unknown tag: %d", code)
	}
	spec = proto.CloneOf(svc)
	spec.Traffic = []*runpb.TrafficTarget{{Type: toRevision, Revision: "split-nine", Percent: 100}}
	if _, err := update(t, s, spec); status.Code(err) != codes.InvalidArgument {
		t.Errorf("traffic to an unknown revision: %v, want InvalidArgument", err)
	}
	spec.Traffic = []*runpb.TrafficTarget{{Type: toRevision, Revision: "split-one", Percent: 50}, {Type: toLatest, Percent: 50}}
	if svc, err = update(t, s, spec); err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	for range 64 { // all alike: once in 2^63
		_, body := get(t, s, svc.GetUri())
		seen[strings.Contains(body, "K_REVISION=split-one")]++
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("of 64 requests %d went to one revision and %d to the other", seen[true], seen[false])
	}
}

func TestFailedUpdateKeepsServing(t *testing.T) {
	t.Parallel()
	s := start(t)
	spec := service(s, "demo/web")
	spec.InvokerIamDisabled = true
	before := create(t, services(t, s), "app", spec)
	spec = proto.CloneOf(before)
	spec.Template.Containers[0].Image = s.RegistryAddr + "/demo/crash"
	if _, err := update(t, s, spec); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("updating: %v, want FailedPrecondition", err)
	}
	after, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: before.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if after.GetLatestReadyRevision() != before.GetLatestReadyRevision() || after.GetLatestCreatedRevision() == before.GetLatestCreatedRevision() ||
		after.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_FAILED {
		t.Errorf("after a failed update: %v", after)
	}
	if code, _ := get(t, s, after.GetUri()); code != http.StatusOK {
		t.Errorf("status %d: the old revision no longer serves", code)
	}

	c := revisions(t, s)
	failed, err := c.GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: after.GetLatestCreatedRevision()})
	if err != nil || failed.GetReconciling() {
		t.Fatalf("failed revision %v, %v", failed, err)
	}
	resp, err := http.Get(failed.GetLogUri())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if log, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(log), "no database") {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := revisions(t, s)
	svc := create(t, services(t, s), "app", service(s, "demo/web"))
	first := svc.GetLatestReadyRevision()
	spec := proto.CloneOf(svc)
	spec.Template.MaxInstanceRequestConcurrency = 5
	svc, err := update(t, s, spec)
	if err != nil {
		t.Fatal(err)
	}
	it := c.ListRevisions(t.Context(), &runpb.ListRevisionsRequest{Parent: svc.GetName()})
	var names []string
	for r, err := it.Next(); !errors.Is(err, iterator.Done); r, err = it.Next() {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, r.GetName())
	}
	if len(names) != 2 || names[0] != svc.GetLatestReadyRevision() || names[1] != first {
		t.Errorf("revisions %v", names)
	}
	if _, err := c.DeleteRevision(t.Context(), &runpb.DeleteRevisionRequest{Name: names[0]}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting the revision that serves: %v, want FailedPrecondition", err)
	}
	op, err := c.DeleteRevision(t.Context(), &runpb.DeleteRevisionRequest{Name: first})
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := op.Wait(t.Context()); err != nil || gone.GetDeleteTime() == nil {
		t.Errorf("deleting: %v, %v", gone, err)
	}
	if _, err := c.GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: first}); status.Code(err) != codes.NotFound {
		t.Errorf("after deletion: %v, want NotFound", err)
	}
}

// TestImageIsPinned: a tag that moves changes nothing for a revision that exists.
func TestImageIsPinned(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) {
		o.IdleTimeout = time.Millisecond // the next request starts the next instance
	})
	spec := service(s, "demo/web")
	spec.InvokerIamDisabled = true
	svc := create(t, services(t, s), "app", spec)
	if _, err := s.Push(t.Context(), "demo/web", image(t, "/crash")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if code, body := get(t, s, svc.GetUri()); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
	}
}

// TestDeleteWhileStarting: deleting a service ends its deployment, and the creation's operation fails.
func TestDeleteWhileStarting(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.BeforeReady = holdUntil(nil) })
	c := services(t, s)
	op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "app", Service: service(s, "demo/web")})
	if err != nil {
		t.Fatal(err)
	}
	deletion, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: parent + "/services/app"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: parent + "/services/app"})
	if err != nil && status.Code(err) != codes.NotFound { // it may be gone already
		t.Fatal(err)
	}
	if _, err := deletion.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again != nil {
		if _, err := again.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := op.Wait(t.Context()); status.Code(err) != codes.Aborted {
		t.Errorf("the creation: %v, want Aborted", err)
	}
}

func TestCloseWhileStarting(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.BeforeReady = holdUntil(nil) })
	c := services(t, s)
	if _, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "app", Service: service(s, "demo/web")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestStateDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, "emulator-0", "blobs", "sha256")
	later := filepath.Join(dir, "emulator-1", "volumes")
	for _, d := range []string{left, later} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "abandoned"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shared := func(o *emulator.Options) { o.StateDir, o.MemoryRegistry = dir, false }
	first := start(t, shared)
	for _, d := range []string{left, later} {
		if _, err := os.Stat(filepath.Join(d, "abandoned")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a killed emulator left in %s is still there (%v)", d, err)
		}
	}
	second := start(t, shared)
	for _, s := range []*emulator.Server{first, second} {
		create(t, services(t, s), "both", service(s, "demo/web"))
	}
	for _, s := range []*emulator.Server{first, second} {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			files++
			t.Logf("left: %s", path)
		}
		return err
	})
	if err != nil || files != 0 {
		t.Errorf("%d files left (%v)", files, err)
	}
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, o := range map[string]emulator.Options{
		"port in use":     {Listen: s.Addr, RuntimeKind: runtime.InProcess, StateDir: t.TempDir()},
		"unknown runtime": {RuntimeKind: "lxc", StateDir: t.TempDir()},
		"state directory": {RuntimeKind: runtime.InProcess, StateDir: "/dev/null/x"},
	} {
		if s, err := emulator.New(t.Context(), o); err == nil {
			t.Errorf("%s: started on %s", name, s.Addr)
		}
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	s := start(t)
	want := "export RUN_EMULATOR_HOST=" + s.Addr + " export GCE_METADATA_HOST=" + s.MetadataAddr +
		" export CLOUDSDK_CORE_PROJECT=cloudssh-demo export CLOUDSDK_RUN_REGION=us-central1 export RUN_EMULATOR_REGISTRY=" + s.RegistryAddr
	if got := strings.Join(s.Exports(), " "); got != want {
		t.Errorf("Exports() = %s, want %s", got, want)
	}
}
