package cloudrun

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const parent = "projects/p/locations/r/services/"

// cloud is a Cloud Run that does what a test says, for the faults that the emulator does not have. The rest is tested
// against the emulator, by cloudrun_test beside it and by package cli.
type cloud struct {
	runpb.UnimplementedServicesServer
	runpb.UnimplementedRevisionsServer
	longrunningpb.UnimplementedOperationsServer

	mu        sync.Mutex
	calls     []string
	services  map[string]*runpb.Service
	revisions map[string]*runpb.Revision
	ops       map[string]func() *longrunningpb.Operation
	serial    int

	// fault is asked before each call, with "GetService app" and the like.
	fault func(call string) error
	// created is called with a service that was just stored, and decides what each look at its operation finds; nil is
	// success at the second look.
	created func(svc *runpb.Service) func() *longrunningpb.Operation
	// kept makes deletions end without the service going.
	kept bool

	list    http.HandlerFunc // v1
	pushes  int
	refuse  func(*http.Request) int // registry: an HTTP status, or 0
	repo    name.Repository
	steps   []string
	details []string
	logs    []string
	maker   string
}

func (c *cloud) called(call string) error {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	fault := c.fault
	c.mu.Unlock()
	if fault != nil {
		return fault(call)
	}
	return nil
}

func (c *cloud) count(prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, call := range c.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

func (c *cloud) put(svc *runpb.Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services[svc.GetName()] = svc
}

func (c *cloud) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for n := range c.services {
		all = append(all, lastSegment(n))
	}
	slices.Sort(all)
	return all
}

func (c *cloud) GetService(_ context.Context, r *runpb.GetServiceRequest) (*runpb.Service, error) {
	if err := c.called("GetService " + lastSegment(r.GetName())); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if svc, ok := c.services[r.GetName()]; ok {
		return proto.CloneOf(svc), nil
	}
	return nil, status.Errorf(codes.NotFound, "Resource '%s' was not found", r.GetName())
}

func (c *cloud) GetRevision(_ context.Context, r *runpb.GetRevisionRequest) (*runpb.Revision, error) {
	if err := c.called("GetRevision " + lastSegment(r.GetName())); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if rev, ok := c.revisions[r.GetName()]; ok {
		return proto.CloneOf(rev), nil
	}
	return nil, status.Errorf(codes.NotFound, "Resource '%s' was not found", r.GetName())
}

func (c *cloud) ListRevisions(_ context.Context, r *runpb.ListRevisionsRequest) (*runpb.ListRevisionsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var resp runpb.ListRevisionsResponse
	for _, n := range slices.Sorted(maps.Keys(c.revisions)) {
		if strings.HasPrefix(n, r.GetParent()+"/") {
			resp.Revisions = append(resp.Revisions, c.revisions[n])
		}
	}
	return &resp, nil
}

func (c *cloud) CreateService(_ context.Context, r *runpb.CreateServiceRequest) (*longrunningpb.Operation, error) {
	verb := "CreateService "
	if r.GetValidateOnly() {
		verb = "Validate "
	}
	svc := proto.CloneOf(r.GetService())
	svc.Name = r.GetParent() + "/services/" + r.GetServiceId()
	c.mu.Lock()
	_, exists := c.services[svc.GetName()]
	c.serial++
	svc.Uid, svc.Etag = fmt.Sprintf("uid%d", c.serial), fmt.Sprintf("etag%d", c.serial)
	c.mu.Unlock()
	if err := c.called(verb + r.GetServiceId()); err != nil {
		return nil, err
	}
	if exists {
		return nil, status.Errorf(codes.AlreadyExists, "Resource '%s' already exists.", r.GetServiceId())
	}
	if r.GetValidateOnly() {
		return done(svc), nil
	}
	return c.create(svc), nil
}

// create stores a service that is coming up, and returns its operation.
func (c *cloud) create(svc *runpb.Service) *longrunningpb.Operation {
	svc.Reconciling = true
	svc.CreateTime = timestamppb.New(time.Unix(1790000000, 0))
	svc.Uri = "https://" + lastSegment(svc.GetName()) + ".run.app"
	svc.Urls = []string{svc.GetUri(), "https://old.run.app"}
	svc.LatestCreatedRevision = lastSegment(svc.GetName()) + "-00001"
	svc.Conditions = []*runpb.Condition{{Type: "ConfigurationsReady", State: runpb.Condition_CONDITION_RECONCILING}}
	svc.TerminalCondition = &runpb.Condition{Type: "Ready", State: runpb.Condition_CONDITION_RECONCILING}
	c.put(svc)
	look := c.succeed(svc)
	if c.created != nil {
		look = c.created(svc)
	}
	return c.operation(look)
}

// succeed is ready at the second look.
func (c *cloud) succeed(svc *runpb.Service) func() *longrunningpb.Operation {
	looks := 0
	return func() *longrunningpb.Operation {
		if looks++; looks == 1 {
			return pending(svc)
		}
		up := proto.CloneOf(svc)
		up.Reconciling = false
		up.Conditions[0].State = runpb.Condition_CONDITION_SUCCEEDED
		up.TerminalCondition.State = runpb.Condition_CONDITION_SUCCEEDED
		c.put(up)
		return done(up)
	}
}

// UpdateService knows of labels alone.
func (c *cloud) UpdateService(_ context.Context, r *runpb.UpdateServiceRequest) (*longrunningpb.Operation, error) {
	name := r.GetService().GetName()
	if err := c.called("UpdateService " + lastSegment(name) + " " + strings.Join(r.GetUpdateMask().GetPaths(), ",")); err != nil {
		return nil, err
	}
	c.mu.Lock()
	svc, ok := c.services[name]
	c.serial++
	etag := fmt.Sprintf("etag%d", c.serial)
	c.mu.Unlock()
	switch {
	case !ok:
		return nil, status.Error(codes.NotFound, "no such service")
	case r.GetService().GetEtag() != svc.GetEtag():
		return nil, status.Error(codes.Aborted, "the etag does not match")
	}
	up := proto.CloneOf(svc)
	up.Labels, up.Etag = r.GetService().GetLabels(), etag
	c.put(up)
	looks := 0
	return c.operation(func() *longrunningpb.Operation {
		if looks++; looks == 1 {
			return pending(up)
		}
		return done(up)
	}), nil
}

func (c *cloud) DeleteService(_ context.Context, r *runpb.DeleteServiceRequest) (*longrunningpb.Operation, error) {
	if err := c.called("DeleteService " + lastSegment(r.GetName())); err != nil {
		return nil, err
	}
	c.mu.Lock()
	svc, ok := c.services[r.GetName()]
	c.mu.Unlock()
	switch {
	case !ok:
		return nil, status.Error(codes.NotFound, "no such service")
	case r.GetEtag() != svc.GetEtag():
		return nil, status.Error(codes.Aborted, "the etag does not match")
	}
	looks := 0
	return c.operation(func() *longrunningpb.Operation {
		if looks++; looks == 1 {
			return pending(svc)
		}
		c.mu.Lock()
		if !c.kept {
			delete(c.services, r.GetName())
		}
		c.mu.Unlock()
		return done(svc)
	}), nil
}

func (c *cloud) operation(look func() *longrunningpb.Operation) *longrunningpb.Operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	n := fmt.Sprintf("projects/p/locations/r/operations/%d", c.serial)
	c.ops[n] = look
	return &longrunningpb.Operation{Name: n}
}

func (c *cloud) GetOperation(_ context.Context, r *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	if err := c.called("GetOperation"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	look := c.ops[r.GetName()]
	c.mu.Unlock()
	if look == nil {
		return nil, status.Error(codes.NotFound, "no such operation")
	}
	op := look()
	op.Name = r.GetName()
	return op, nil
}

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func pending(svc *runpb.Service) *longrunningpb.Operation {
	return &longrunningpb.Operation{Metadata: packed(svc)}
}

func done(svc *runpb.Service) *longrunningpb.Operation {
	return &longrunningpb.Operation{Done: true, Result: &longrunningpb.Operation_Response{Response: packed(svc)}}
}

func failed(code codes.Code, message string) *longrunningpb.Operation {
	return &longrunningpb.Operation{Done: true, Result: &longrunningpb.Operation_Error{Error: status.New(code, message).Proto()}}
}

// start serves a cloud with the service app, and returns a backend on it.
func start(t *testing.T) (*cloud, *Backend) {
	t.Helper()
	c := &cloud{
		services: map[string]*runpb.Service{}, revisions: map[string]*runpb.Revision{},
		ops: map[string]func() *longrunningpb.Operation{},
	}
	c.registry(t)
	c.app(t)
	rest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.list == nil {
			http.Error(w, `{"error":{"code":404,"message":"not here"}}`, http.StatusNotFound)
			return
		}
		c.list(w, r)
	}))
	t.Cleanup(rest.Close)
	b, err := New(t.Context(), Options{
		Project: "p", Region: "r", Account: "ann@example.com",
		ClientOptions: []option.ClientOption{
			option.WithEndpoint(c.serve(t)), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		},
		REST: rest.Client(), RESTURL: rest.URL,
		Agent: func(_ context.Context, arch string) (inject.Binary, error) {
			return inject.Binary{Bytes: []byte("agent for " + arch), Version: "v1.2.3"}, nil
		},
		Logs: func(_ context.Context, uri string) ([]string, error) { return append(c.logs, "from "+uri), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.pollFirst, b.pollMost = time.Millisecond, time.Millisecond
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, b
}

func (c *cloud) serve(t *testing.T) (addr string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	runpb.RegisterServicesServer(srv, c)
	runpb.RegisterRevisionsServer(srv, c)
	longrunningpb.RegisterOperationsServer(srv, c)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func (c *cloud) registry(t *testing.T) {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		refuse := c.refuse
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			c.pushes++
		}
		c.mu.Unlock()
		if refuse != nil {
			if code := refuse(r); code != 0 {
				w.WriteHeader(code)
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	repo, err := name.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/demo/app")
	if err != nil {
		t.Fatal(err)
	}
	c.repo = repo
}

// app is the service, with its image in the registry and one revision.
func (c *cloud) app(t *testing.T) {
	t.Helper()
	img, err := random.Image(512, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.Config(img, v1.Config{Entrypoint: []string{"/hello"}, User: "65532"})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(c.repo.Tag("v1"), img); err != nil {
		t.Fatal(err)
	}
	c.pushes = 0
	c.services[parent+"app"] = &runpb.Service{
		Name: parent + "app", LatestReadyRevision: parent + "app/revisions/app-00001", InvokerIamDisabled: true,
	}
	c.revisions[parent+"app/revisions/app-00001"] = &runpb.Revision{
		Name: parent + "app/revisions/app-00001", Containers: []*runpb.Container{{Image: c.repo.Tag("v1").String()}},
	}
}

// progress writes down the steps, and how they ended.
func (c *cloud) progress(step string) (func(string), func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, step)
	n := len(c.steps) - 1
	return func(detail string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.details = append(c.details, detail)
		}, func(err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err != nil {
				c.steps[n] += " FAILED"
			}
		}
}

func request() provision.Request {
	return provision.Request{
		Target: provision.Target{Name: "app"}, Owner: provision.Owner{Account: "ann@example.com", PublicKey: testKey}, Version: "v1.2.3",
		TTL: time.Hour, Now: func() time.Time { return time.Unix(1790000000, 0) },
	}
}

// page answers v1 lists with these services, one a page.
func page(unreachable []string, services ...knService) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &n) // absent on the first page
		answer := map[string]any{"unreachable": unreachable}
		if n < len(services) {
			answer["items"] = services[n : n+1]
		}
		if n+1 < len(services) {
			answer["metadata"] = map[string]string{"continue": fmt.Sprint(n + 1)}
		}
		var buf bytes.Buffer
		if err := json.NewEncoder(&buf).Encode(answer); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(buf.Bytes())
	}
}

func listed(name, region string, labels map[string]string) knService {
	var s knService
	s.Metadata.Name = name
	s.Metadata.Labels = map[string]string{"cloud.googleapis.com/location": region}
	maps.Copy(s.Metadata.Labels, labels)
	s.Status.URL = "https://" + name + ".run.app"
	return s
}
