package cloudrun_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/provision/cloudrun"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1WmLEHqTXKjkRTqJpTc9vpJ9nSQxkYVF8dAmqYtqbH test"

// platform is an emulator that runs Go functions as containers, and a backend on it.
type platform struct {
	*emulator.Server
	*cloudrun.Backend
	services *run.ServicesClient
	jobs     *run.JobsClient
	pools    *run.WorkerPoolsClient

	mu    sync.Mutex
	steps []string
	// agents are the environments of the agents that were started.
	agents [][]string
}

func newPlatform(t *testing.T, o emulator.Options, change ...func(*cloudrun.Options)) *platform {
	t.Helper()
	t.Parallel()
	p := &platform{}
	o.RuntimeKind, o.MemoryRegistry, o.StateDir, o.Region = "inprocess", true, t.TempDir(), "us-central1"
	o.Programs = map[string]runtime.Program{
		"/app":            serve,
		"/crash":          func(context.Context, runtime.Proc) error { return fmt.Errorf("no database") },
		"/work":           wait,
		"/done":           func(context.Context, runtime.Proc) error { return nil },
		"/cloudssh-agent": copier,
		inject.AgentPath: func(ctx context.Context, proc runtime.Proc) error {
			p.mu.Lock()
			p.agents = append(p.agents, proc.Env)
			p.mu.Unlock()
			return serve(ctx, proc)
		},
	}
	var err error
	if p.Server, err = emulator.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	clients := []option.ClientOption{
		option.WithEndpoint(p.Addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	options := cloudrun.Options{
		Project: p.Project, Region: p.Region, Account: "ann@example.com", ClientOptions: clients, RESTURL: "http://" + p.Addr,
		Agent: func(context.Context, string) (inject.Binary, error) {
			return inject.Binary{Bytes: []byte("agent"), Version: "v1"}, nil
		},
		AgentImage: p.push(t, "agent", image(t, "/cloudssh-agent")),
	}
	for _, f := range change {
		f(&options)
	}
	if p.Backend, err = cloudrun.New(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Backend.Close() })
	p.connect(t, clients)
	return p
}

func (p *platform) connect(t *testing.T, clients []option.ClientOption) {
	t.Helper()
	var err error
	if p.services, err = run.NewServicesClient(t.Context(), clients...); err != nil {
		t.Fatal(err)
	}
	if p.jobs, err = run.NewJobsClient(t.Context(), clients...); err != nil {
		t.Fatal(err)
	}
	if p.pools, err = run.NewWorkerPoolsClient(t.Context(), clients...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = p.services.Close(), p.jobs.Close(), p.pools.Close() })
}

// serve answers requests on the port that the platform names, if it does.
func serve(ctx context.Context, proc runtime.Proc) error {
	return listen(ctx, proc, cmp.Or(proc.Getenv("PORT"), "8080"))
}

// copier is the program of the agent's image: "copy --to DIR --listen PORT".
func copier(ctx context.Context, proc runtime.Proc) error {
	return listen(ctx, proc, proc.Args[len(proc.Args)-1])
}

func listen(ctx context.Context, proc runtime.Proc, port string) error {
	l, err := proc.Listen(ctx, ":"+port)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	err = wait(ctx, proc)
	_ = server.Close()
	<-ended
	return err
}

// wait does nothing until it is told to end.
func wait(ctx context.Context, proc runtime.Proc) error {
	for {
		select {
		case s := <-proc.Signals:
			if s == syscall.SIGTERM {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func image(t *testing.T, program string) v1.Image {
	t.Helper()
	layer, err := random.Layer(64, "application/vnd.docker.image.rootfs.diff.tar.gzip")
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", Config: v1.Config{Entrypoint: []string{program}}, RootFS: rootFS(t, img),
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func rootFS(t *testing.T, img v1.Image) v1.RootFS {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS
}

// push puts an image into the registry, and returns its reference by tag.
func (p *platform) push(t *testing.T, repo string, img v1.Image) string {
	t.Helper()
	ref, err := name.NewTag(p.RegistryAddr + "/" + p.Project + "/" + repo + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

func (p *platform) parent() string { return "projects/" + p.Project + "/locations/" + p.Region }

// deploy makes a service of one container.
func (p *platform) deploy(t *testing.T, service, ref string) {
	t.Helper()
	p.make(t, service, &runpb.Service{Template: template(ref, "FIRST")})
}

// make makes a service; whether it comes up is the test's business.
func (p *platform) make(t *testing.T, name string, svc *runpb.Service) {
	t.Helper()
	op, err := p.services.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: p.parent(), ServiceId: name, Service: svc})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = op.Wait(t.Context())
}

func template(ref, value string) *runpb.RevisionTemplate {
	return &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: ref, Env: []*runpb.EnvVar{env("WHICH", value)}}}}
}

func env(name, value string) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
}

// enter makes a twin, which is there until the test ends, and returns the environment of its agent.
func (p *platform) enter(t *testing.T, change func(*provision.Request)) (*provision.Twin, []string) {
	t.Helper()
	p.mu.Lock()
	p.agents = nil
	p.mu.Unlock()
	twin, err := p.create(t, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Delete(context.Background(), *twin); err != nil {
			t.Error(err)
		}
	})
	if !twin.Ready || !twin.Mine || twin.URL == "" {
		t.Errorf("twin %+v", twin)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.agents) == 0 {
		t.Fatalf("no agent was started in %s", twin.Name)
	}
	return twin, p.agents[len(p.agents)-1]
}

func (p *platform) create(t *testing.T, change func(*provision.Request)) (*provision.Twin, error) {
	t.Helper()
	return p.Create(t.Context(), p.request(change), p.progress)
}

func (p *platform) request(change func(*provision.Request)) provision.Request {
	req := provision.Request{
		Target: provision.Target{Name: "app"}, Owner: provision.Owner{Account: "ann@example.com", PublicKey: testKey}, Version: "v1",
	}
	if change != nil {
		change(&req)
	}
	return req
}

func (p *platform) progress(step string) (func(string), func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, step)
	return func(string) {}, func(error) {}
}

func (p *platform) said(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.steps {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func (p *platform) service(t *testing.T, name string) *runpb.Service {
	t.Helper()
	s, err := p.services.GetService(t.Context(), &runpb.GetServiceRequest{Name: p.parent() + "/services/" + name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantEnv(t *testing.T, env []string, vars ...string) {
	t.Helper()
	for _, v := range vars {
		found := false
		for _, e := range env {
			found = found || e == v
		}
		if !found {
			t.Errorf("the agent lacks %s in %q", v, env)
		}
	}
}

func wantError(t *testing.T, err error, text string, hints ...string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want %q", err, text)
	}
	all := strings.Join(provision.Hints(err), "\n")
	for _, h := range hints {
		if !strings.Contains(all, h) {
			t.Errorf("hints %q lack %q", all, h)
		}
	}
}
