package emulator

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// admin is the Admin API: one implementation behind gRPC, REST and the v1 dialect.
type admin struct {
	runpb.UnimplementedServicesServer
	runpb.UnimplementedRevisionsServer
	runpb.UnimplementedWorkerPoolsServer
	runpb.UnimplementedJobsServer
	runpb.UnimplementedExecutionsServer
	runpb.UnimplementedTasksServer
	longrunningpb.UnimplementedOperationsServer
	locationpb.UnimplementedLocationsServer

	ctx     context.Context // ends when the emulator closes
	work    sync.WaitGroup  // deployments and deletions
	store   *store
	fleet   *serving.Fleet
	images  *images
	issuer  *identity.Issuer
	regions []string
	account string // who the unauthenticated owner is, for creator and last_modifier
	addr    string // of the listener, for log URIs
	faults  Faults
	// disabled are the APIs that no project has enabled; secrets is Options.Secret.
	disabled []string
	secrets  func(ctx context.Context, name, version string) ([]byte, error)
	around   platform // what is in the way of services
	logger   *slog.Logger
}

// register puts the API on a gRPC server, or on whatever else takes service descriptions.
func (a *admin) register(r grpc.ServiceRegistrar) {
	runpb.RegisterServicesServer(r, a)
	runpb.RegisterRevisionsServer(r, a)
	runpb.RegisterWorkerPoolsServer(r, a)
	runpb.RegisterJobsServer(r, a)
	runpb.RegisterExecutionsServer(r, a)
	runpb.RegisterTasksServer(r, a)
	longrunningpb.RegisterOperationsServer(r, a)
	r.RegisterService(locationsDesc(), a)
}

// caller is who makes a request. Without credentials it is the emulator's owner, who may do everything: clients made
// with option.WithoutAuthentication, and curl, work.
type caller struct {
	email string
	owner bool
}

type callerKey struct{}

// authenticate turns an Authorization header into the context of a request.
func (a *admin) authenticate(ctx context.Context, authorization string) (context.Context, error) {
	if authorization == "" {
		return context.WithValue(ctx, callerKey{}, caller{owner: true}), nil
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	email, err := a.issuer.VerifyAccess(strings.TrimSpace(token))
	if !strings.EqualFold(scheme, "Bearer") || err != nil {
		return nil, unauthenticated()
	}
	return context.WithValue(ctx, callerKey{}, caller{email: email}), nil
}

func unauthenticated() error {
	return status.Error(codes.Unauthenticated, "Request had invalid authentication credentials. "+
		"Expected OAuth 2 access token, login cookie or other valid authentication credential. "+
		"See https://developers.google.com/identity/sign-in/web/devconsole-project.")
}

// intercept authenticates a gRPC request and gives Faults.AdminError its chance.
func (a *admin) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	var authorization string
	if v := metadata.ValueFromIncomingContext(ctx, "authorization"); len(v) > 0 {
		authorization = v[0]
	}
	ctx, err := a.authenticate(ctx, authorization)
	if err != nil {
		return nil, err
	}
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	if err := a.fault(method, resourceOf(req)); err != nil {
		return nil, err
	}
	a.logger.DebugContext(ctx, "admin request", "method", method, "resource", resourceOf(req))
	return next(ctx, req)
}

// open refuses what would start something when the emulator is closing. The caller holds the store's mutex.
func (a *admin) open() error {
	if a.store.closed {
		return status.Error(codes.Unavailable, "The emulator is stopping.")
	}
	return nil
}

// fault refuses a Cloud Run request where the API is not enabled, or Faults.AdminError says so.
func (a *admin) fault(method, resource string) error {
	if err := a.enabled(apiRun, projectOf(resource)); err != nil {
		return err
	}
	return a.inject(method, resource)
}

func (a *admin) inject(method, resource string) error {
	if a.faults.AdminError == nil {
		return nil
	}
	return a.faults.AdminError(method, resource)
}

// resourceOf finds the name of the resource that a request is about.
func resourceOf(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	switch r := req.(type) {
	case *runpb.CreateServiceRequest:
		return r.GetParent() + "/services/" + r.GetServiceId()
	case *runpb.UpdateServiceRequest:
		return r.GetService().GetName()
	case *runpb.CreateJobRequest:
		return r.GetParent() + "/jobs/" + r.GetJobId()
	case *runpb.UpdateJobRequest:
		return r.GetJob().GetName()
	case *runpb.CreateWorkerPoolRequest:
		return r.GetParent() + "/workerPools/" + r.GetWorkerPoolId()
	case *runpb.UpdateWorkerPoolRequest:
		return r.GetWorkerPool().GetName()
	}
	for _, field := range []protoreflect.Name{"name", "parent", "resource"} {
		if fd := m.ProtoReflect().Descriptor().Fields().ByName(field); fd != nil {
			return m.ProtoReflect().Get(fd).String()
		}
	}
	return ""
}

// who names the caller in creator and last_modifier.
func (a *admin) who(ctx context.Context) string {
	if c, _ := ctx.Value(callerKey{}).(caller); !c.owner {
		return c.email
	}
	return a.account
}

// allowed tells whether the caller has a permission through the project's policy or the resource's own.
func (a *admin) allowed(ctx context.Context, permission, resource string, n scope) bool {
	c, _ := ctx.Value(callerKey{}).(caller)
	return a.permitted(c, permission, resource, n)
}

func (a *admin) permitted(c caller, permission, resource string, n scope) bool {
	if a.faults.DenyIAM != nil && a.faults.DenyIAM(c.email, permission, resource) {
		return false
	}
	return c.owner || identity.Allowed(c.email, permission, a.store.policies(n)...)
}

// authorize refuses a caller who lacks a permission; resource is what the refusal names.
func (a *admin) authorize(ctx context.Context, permission, resource string, n scope) error {
	if a.allowed(ctx, permission, resource, n) {
		return nil
	}
	return identity.PermissionDenied(permission, resource)
}

// authorizeRuntime refuses a caller who may not act as the service account that a service runs as, or who makes the
// service public without the permission to do that.
func (a *admin) authorizeRuntime(ctx context.Context, n serviceName, old, s *runpb.Service) error {
	if err := a.authorizeActAs(ctx, n, s.GetTemplate().GetServiceAccount()); err != nil {
		return err
	}
	if s.GetInvokerIamDisabled() && !old.GetInvokerIamDisabled() {
		return a.authorize(ctx, "run.services.setIamPolicy", n.namespaced(), n)
	}
	return nil
}

func (a *admin) authorizeActAs(ctx context.Context, n scope, account string) error {
	const actAs = "iam.serviceaccounts.actAs"
	on := resource{n.place(), account}
	if !a.allowed(ctx, actAs, account, on) && !a.allowed(ctx, "iam.serviceAccounts.actAs", account, on) {
		return status.Errorf(codes.PermissionDenied, "Permission '%s' denied on service account %s (or it may not exist).", actAs, account)
	}
	return nil
}

// location checks the location that a request names.
func (a *admin) location(field, name string) (location, error) {
	l, err := parseLocation(field, name)
	if err != nil {
		return location{}, err
	}
	return a.checkLocation(field, l)
}

func (a *admin) checkLocation(field string, l location) (location, error) {
	if l.region == "-" {
		return location{}, status.Errorf(codes.InvalidArgument, "Invalid value for field %q: the location must be a region and cannot be the \"-\" wildcard.", field)
	}
	if !slices.Contains(a.regions, l.region) {
		return location{}, status.Errorf(codes.PermissionDenied, "Permission denied on 'locations/%s' (or it may not exist).", l.region)
	}
	return a.store.canonical(l), nil
}

func (a *admin) service(field, name string) (serviceName, error) {
	n, err := parseService(field, name)
	if err != nil {
		return serviceName{}, err
	}
	n.location, err = a.checkLocation(field, n.location)
	return n, err
}

func (a *admin) pool(field, name string) (serviceName, error) {
	n, err := parsePool(field, name)
	if err != nil {
		return serviceName{}, err
	}
	n.location, err = a.checkLocation(field, n.location)
	return n, err
}

// policies are the policies that decide about something: the project's and, when it exists, its own.
func (st *store) policies(n scope) []*iampb.Policy {
	st.mu.Lock()
	defer st.mu.Unlock()
	policies := []*iampb.Policy{st.project(n.place().project)}
	if p, err := st.policy(n); err == nil {
		policies = append(policies, p)
	}
	return policies
}
