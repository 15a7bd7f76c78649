package emulator_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// bearer puts an access token on calls over an insecure connection, which gRPC's own oauth credentials refuse.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// as is a client with the credentials of an account.
func as(t *testing.T, s *emulator.Server, email string) *run.ServicesClient {
	t.Helper()
	token, _ := s.Issuer().AccessToken(email)
	return withToken(t, s, token)
}

func tokenOptions(s *emulator.Server, token string) []option.ClientOption {
	return grpcOptions(s, option.WithGRPCDialOption(grpc.WithPerRPCCredentials(bearer(token))))
}

func withToken(t *testing.T, s *emulator.Server, token string) *run.ServicesClient {
	t.Helper()
	c, err := run.NewServicesClient(t.Context(), tokenOptions(s, token)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Grant("dev@example.com", "roles/run.developer")
	s.Grant("viewer@example.com", "roles/run.viewer")
	s.Grant("full@example.com", "roles/run.developer")
	s.Grant("full@example.com", "roles/iam.serviceAccountUser")
	create := func(email string, svc *runpb.Service) error {
		op, err := as(t, s, email).CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "mine", Service: svc})
		if err != nil {
			return err
		}
		_, err = op.Wait(t.Context())
		return err
	}
	public := service(s, "demo/web")
	public.InvokerIamDisabled = true
	for _, test := range []struct {
		email   string
		svc     *runpb.Service
		message string
	}{
		{"viewer@example.com", service(s, "demo/web"), "Permission 'run.services.create' denied on resource 'namespaces/cloudssh-demo/services/mine' (or resource may not exist)."},
		{"dev@example.com", service(s, "demo/web"), "Permission 'iam.serviceaccounts.actAs' denied on service account"},
		{"full@example.com", public, "Permission 'run.services.setIamPolicy' denied"},
	} {
		err := create(test.email, test.svc)
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(status.Convert(err).Message(), test.message) {
			t.Errorf("%s: %v, want PermissionDenied %q", test.email, err, test.message)
		}
	}
	if err := create("full@example.com", service(s, "demo/web")); err != nil {
		t.Fatal(err)
	}
	made, err := as(t, s, "viewer@example.com").GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/mine"})
	if err != nil || made.GetCreator() != "full@example.com" {
		t.Errorf("creator %q, %v", made.GetCreator(), err)
	}
	if _, err := withToken(t, s, "nonsense").GetService(t.Context(), &runpb.GetServiceRequest{Name: made.GetName()}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token that is not ours: %v, want Unauthenticated", err)
	}
}

func TestRESTClientWithToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	token, _ := s.Issuer().AccessToken("nobody@example.com")
	c, err := run.NewServicesRESTClient(t.Context(), option.WithEndpoint("http://"+s.Addr),
		option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/x"}); !refused(err, codes.PermissionDenied) {
		t.Errorf("%v, want PermissionDenied", err)
	}
}

func TestIamPolicy(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			ctx := t.Context()
			name := create(t, c, "guarded", service(s, "demo/web")).GetName()
			first, err := c.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name, Options: &iampb.GetPolicyOptions{RequestedPolicyVersion: 3}})
			if err != nil || len(first.GetEtag()) == 0 || len(first.GetBindings()) != 0 {
				t.Fatalf("a new service's policy: %v, %v", first, err)
			}
			next := &iampb.Policy{Etag: first.GetEtag(), Bindings: []*iampb.Binding{{Role: "roles/run.viewer", Members: []string{"user:a@example.com"}}}}
			if _, err := c.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: next}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: next}); !refused(err, codes.Aborted) {
				t.Errorf("a stale etag: %v, want Aborted", err)
			}
			bad := &iampb.Policy{Bindings: []*iampb.Binding{{Role: "roles/run.viewer", Members: []string{"a@example.com"}}}}
			if _, err := c.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: bad}); !refused(err, codes.InvalidArgument) {
				t.Errorf("a member without a kind: %v, want InvalidArgument", err)
			}
			if _, err := as(t, s, "a@example.com").GetService(ctx, &runpb.GetServiceRequest{Name: name}); err != nil {
				t.Errorf("a viewer by the service's policy: %v", err)
			}
			if _, err := as(t, s, "b@example.com").GetService(ctx, &runpb.GetServiceRequest{Name: name}); !refused(err, codes.PermissionDenied) {
				t.Errorf("a stranger: %v, want PermissionDenied", err)
			}
			resp, err := as(t, s, "a@example.com").TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{
				Resource: name, Permissions: []string{"run.services.get", "run.services.delete"},
			})
			if diff := cmp.Diff([]string{"run.services.get"}, resp.GetPermissions()); diff != "" || err != nil {
				t.Errorf("permissions (-want +got):\n%s%v", diff, err)
			}
			owner, err := c.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: name, Permissions: []string{"run.services.delete"}})
			if err != nil || len(owner.GetPermissions()) != 1 {
				t.Errorf("the owner's permissions: %v, %v", owner, err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var deny atomic.Bool // a push reads too
	s := start(t, func(o *emulator.Options) {
		o.DenyIAM = func(principal, permission, _ string) bool {
			return principal == "" && permission == "run.services.delete"
		}
		o.AdminError = func(method, resource string) error {
			if method == "GetService" && strings.HasSuffix(resource, "/broken") {
				return status.Error(codes.DataLoss, "broken")
			}
			return nil
		}
		o.DenyPull = func(repo string) bool { return deny.Load() && repo == "demo/crash" }
	})
	deny.Store(true)
	c := services(t, s)
	if _, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: parent + "/services/a"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("DenyIAM: %v", err)
	}
	if _, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/broken"}); status.Code(err) != codes.DataLoss {
		t.Errorf("AdminError: %v", err)
	}
	op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "nopull", Service: service(s, "demo/crash")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "permission") {
		t.Errorf("DenyPull: %v", err)
	}
}

func TestDenyPush(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) {
		o.DenyPush = func(repo string) bool { return repo == "demo/web" }
	})
	if _, err := s.Push(t.Context(), "demo/web", image(t, "/web")); err == nil || !strings.Contains(err.Error(), "uploadArtifacts") {
		t.Errorf("pushing: %v, want a refusal that names the permission", err)
	}
	if _, err := s.Push(t.Context(), "demo/web/other", image(t, "/web")); err != nil {
		t.Errorf("pushing to another repository: %v", err)
	}
}
