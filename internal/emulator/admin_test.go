package emulator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// refused tells whether an error of either dialect of the client has a code.
func refused(err error, want codes.Code) bool {
	var e interface {
		HTTPCode() int
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &e) {
		return status.Code(err) == want
	}
	if e.HTTPCode() > 0 {
		return e.HTTPCode() == map[codes.Code]int{
			codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.Unauthenticated: 401, codes.PermissionDenied: 403,
			codes.NotFound: 404, codes.AlreadyExists: 409, codes.Aborted: 409,
		}[want]
	}
	return e.GRPCStatus().Code() == want
}

func TestServiceLife(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			ctx := t.Context()
			req := &runpb.CreateServiceRequest{Parent: parent, ServiceId: "hello", Service: service(s, "demo/web"), ValidateOnly: true}
			op, err := c.CreateService(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			checked, err := op.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := checked.GetTemplate().GetContainers()[0].GetPorts()[0].GetContainerPort(); got != 8080 {
				t.Errorf("validate_only: default port %d, want 8080", got)
			}
			if _, err := c.GetService(ctx, &runpb.GetServiceRequest{Name: parent + "/services/hello"}); !refused(err, codes.NotFound) {
				t.Errorf("after validate_only: %v, want NotFound", err)
			}

			req.ValidateOnly = false
			if op, err = c.CreateService(ctx, req); err != nil {
				t.Fatal(err)
			}
			if meta, err := op.Metadata(); err != nil || meta.GetName() != parent+"/services/hello" {
				t.Errorf("Metadata() = %v, %v", meta, err)
			}
			made, err := op.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			checkReady(t, made)
			if _, err := c.CreateService(ctx, req); !refused(err, codes.AlreadyExists) {
				t.Errorf("creating it again: %v, want AlreadyExists", err)
			}

			made.Template.Containers[0].Env = []*runpb.EnvVar{{Name: "A", Values: &runpb.EnvVar_Value{Value: "1"}}}
			update, err := c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: made})
			if err != nil {
				t.Fatal(err)
			}
			updated, err := update.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			checkReady(t, updated)
			if updated.GetGeneration() != 2 || updated.GetLatestReadyRevision() == made.GetLatestReadyRevision() {
				t.Errorf("after an update: generation %d, revision %s", updated.GetGeneration(), updated.GetLatestReadyRevision())
			}

			deletion, err := c.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: made.GetName()})
			if err != nil {
				t.Fatal(err)
			}
			gone, err := deletion.Wait(ctx)
			if err != nil || gone.GetDeleteTime() == nil {
				t.Fatalf("deleting: %v, %v", gone, err)
			}
			if _, err := c.GetService(ctx, &runpb.GetServiceRequest{Name: made.GetName()}); !refused(err, codes.NotFound) {
				t.Errorf("after deletion: %v, want NotFound", err)
			}
			if op, err = c.CreateService(ctx, req); err != nil {
				t.Fatalf("creating it after deletion: %v", err)
			}
			if _, err := op.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func checkReady(t *testing.T, s *runpb.Service) {
	t.Helper()
	if c := s.GetTerminalCondition(); c.GetType() != "Ready" || c.GetState() != runpb.Condition_CONDITION_SUCCEEDED || s.GetReconciling() {
		t.Errorf("terminal condition %v, reconciling %v", c, s.GetReconciling())
	}
	var kinds []string
	for _, c := range s.GetConditions() {
		kinds = append(kinds, c.GetType()+" "+c.GetState().String())
	}
	want := []string{"RoutesReady CONDITION_SUCCEEDED", "ConfigurationsReady CONDITION_SUCCEEDED"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if s.GetObservedGeneration() != s.GetGeneration() || s.GetUid() == "" || s.GetEtag() == "" || s.GetCreator() == "" {
		t.Errorf("incomplete service: %v", s)
	}
	prefix := fmt.Sprintf("%s/revisions/hello-%05d-", s.GetName(), s.GetGeneration())
	if !strings.HasPrefix(s.GetLatestReadyRevision(), prefix) || s.GetLatestCreatedRevision() != s.GetLatestReadyRevision() {
		t.Errorf("revisions created %s, ready %s, want %s...", s.GetLatestCreatedRevision(), s.GetLatestReadyRevision(), prefix)
	}
	if !strings.Contains(s.GetUri(), ".us-central1.localhost:") || len(s.GetUrls()) != 1 || s.GetUrls()[0] != s.GetUri() {
		t.Errorf("uri %s, urls %v", s.GetUri(), s.GetUrls())
	}
	if ts := s.GetTrafficStatuses(); len(ts) != 1 || ts[0].GetPercent() != 100 {
		t.Errorf("traffic statuses %v", ts)
	}
}

func TestFailedCreateLeavesTheService(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			for image, reason := range map[string]string{"demo/crash": "HEALTH_CHECK_CONTAINER_ERROR", "demo/missing": "CONTAINER_MISSING"} {
				id := strings.ReplaceAll(image, "/", "-")
				op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: service(s, image)})
				if err != nil {
					t.Fatal(err)
				}
				_, failure := op.Wait(t.Context())
				left, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/" + id})
				if err != nil {
					t.Fatal(err)
				}
				ready := left.GetTerminalCondition()
				if ready.GetState() != runpb.Condition_CONDITION_FAILED || left.GetReconciling() || left.GetLatestReadyRevision() != "" {
					t.Errorf("service left behind: %v", left)
				}
				if !strings.HasPrefix(ready.GetMessage(), "Revision '"+id+"-00001-") {
					t.Errorf("message %q", ready.GetMessage())
				}
				if got := ready.GetReason().String() + ready.GetRevisionReason().String(); !strings.Contains(got, reason) {
					t.Errorf("reason %s, want %s", got, reason)
				}
				if status.Code(failure) != codes.FailedPrecondition || !strings.Contains(failure.Error(), ready.GetMessage()) {
					t.Errorf("operation failed with %v, want FailedPrecondition and %q", failure, ready.GetMessage())
				}
			}
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			ctx := t.Context()
			var want []string
			for i := range 5 {
				id := fmt.Sprintf("list-%d", i)
				op, err := c.CreateService(ctx, &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: service(s, "demo/web")})
				if err != nil {
					t.Fatal(err)
				}
				want = append([]string{parent + "/services/" + id}, want...)
				_ = op
			}
			var got []string
			it := c.ListServices(ctx, &runpb.ListServicesRequest{Parent: parent, PageSize: 2})
			pages := 0
			pager := iterator.NewPager(it, 2, "")
			for token := "more"; token != ""; pages++ {
				var batch []*runpb.Service
				var err error
				if token, err = pager.NextPage(&batch); err != nil {
					t.Fatal(err)
				}
				for _, s := range batch {
					got = append(got, s.GetName())
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
				t.Errorf("%d pages, services (-want +got):\n%s", pages, diff)
			}
			for _, req := range []*runpb.ListServicesRequest{
				{Parent: parent, PageToken: "nonsense"},
				{Parent: parent, PageSize: -1},
				{Parent: "projects/cloudssh-demo/locations/-"},
			} {
				if _, err := c.ListServices(ctx, req).Next(); !refused(err, codes.InvalidArgument) {
					t.Errorf("listing %v: %v, want InvalidArgument", req, err)
				}
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			ctx := t.Context()
			name := parent + "/services/up"
			missing := service(s, "demo/web")
			missing.Name, missing.Description, missing.Labels = name, "one", map[string]string{"a": "b"}
			if _, err := c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: missing}); !refused(err, codes.NotFound) {
				t.Fatalf("updating what is not there: %v", err)
			}
			op, err := c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: missing, AllowMissing: true})
			if err != nil {
				t.Fatal(err)
			}
			first, err := op.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}

			masked := &runpb.Service{Name: name, Description: "two", Etag: first.GetEtag()}
			op, err = c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: masked, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}}})
			if err != nil {
				t.Fatal(err)
			}
			second, err := op.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if second.GetDescription() != "two" || second.GetLabels()["a"] != "b" || second.GetEtag() == first.GetEtag() {
				t.Errorf("masked update: %v", second)
			}
			if second.GetLatestCreatedRevision() != first.GetLatestCreatedRevision() {
				t.Error("an unchanged template made a revision")
			}

			_, err = c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: masked})
			if !refused(err, codes.Aborted) {
				t.Errorf("update with a stale etag: %v, want Aborted", err)
			}
			_, err = c.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: name, Etag: first.GetEtag()})
			if !refused(err, codes.Aborted) {
				t.Errorf("deletion with a stale etag: %v, want Aborted", err)
			}

			trial := proto.CloneOf(second)
			trial.Template.Timeout = nil
			trial.Template.MaxInstanceRequestConcurrency = 7
			op, err = c.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: trial, ValidateOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			tried, err := op.Wait(ctx)
			if err != nil || tried.GetTemplate().GetTimeout().GetSeconds() != 300 || tried.GetTemplate().GetMaxInstanceRequestConcurrency() != 7 {
				t.Errorf("validate_only: %v, %v", tried, err)
			}
			now, err := c.GetService(ctx, &runpb.GetServiceRequest{Name: name})
			if err != nil || now.GetEtag() != second.GetEtag() {
				t.Errorf("after validate_only: etag %s, want %s (%v)", now.GetEtag(), second.GetEtag(), err)
			}
		})
	}
}
