package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	goruntime "runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/coder/websocket"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// TestMain looks for goroutines that outlive their servers: all tests close theirs.
func TestMain(m *testing.M) {
	if m.Run() == 0 {
		leaks()
	}
}

// leaks waits for the goroutines of this module to end, and panics when some do not.
func leaks() {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	deadline := time.Now().Add(time.Minute)
	for {
		var b strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			panic(err)
		}
		var ours []string
		for stack := range strings.SplitSeq(b.String(), "\n\n") {
			if strings.Contains(stack, "cloudssh/internal/emulator") && !strings.Contains(stack, "emulator_test.leaks") {
				ours = append(ours, stack)
			}
		}
		if len(ours) == 0 {
			return
		}
		if time.Now().After(deadline) {
			panic("goroutines left:\n" + strings.Join(ours, "\n\n"))
		}
		goruntime.Gosched() // nothing tells of a goroutine's end
	}
}

const parent = "projects/cloudssh-demo/locations/us-central1"

// web is the program of the sample image: it serves its environment, and WebSockets that echo.
func web(ctx context.Context, p runtime.Proc) error {
	l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, "listening")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Authorization", "X-Serverless-Authorization"} {
			fmt.Fprintf(w, "%s: %s\n", name, r.Header.Get(name))
		}
		fmt.Fprintln(w, strings.Join(p.Env, "\n"))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	})
	mux.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) {
		client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.Dial(ctx, "169.254.169.254:80")
		}}}
		defer client.CloseIdleConnections()
		req, _ := http.NewRequestWithContext(r.Context(), http.MethodGet,
			"http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/email", http.NoBody)
		req.Header.Set("Metadata-Flavor", "Google")
		resp, err := client.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	for {
		select {
		case sig := <-p.Signals:
			if sig == syscall.SIGTERM {
				_ = server.Close()
				return nil
			}
		case <-ctx.Done():
			_ = server.Close()
			return ctx.Err()
		case err := <-ended:
			return err
		}
	}
}

// crash is a program that fails at once.
func crash(_ context.Context, p runtime.Proc) error {
	fmt.Fprintln(p.Stderr, "no database")
	return errors.New("exit")
}

// image is an image that starts argv.
func image(t *testing.T, argv ...string) v1.Image {
	t.Helper()
	cfg, err := empty.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.Architecture, cfg.OS = "amd64", "linux"
	cfg.Config.Entrypoint = argv
	img, err := mutate.ConfigFile(empty.Image, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// start runs an emulator with the in-process runtime and two images, demo/web and demo/crash.
func start(t *testing.T, change ...func(*emulator.Options)) *emulator.Server {
	t.Helper()
	o := emulator.Options{
		RuntimeKind: runtime.InProcess, StateDir: t.TempDir(), MemoryRegistry: true,
		Programs: map[string]runtime.Program{"/web": web, "/crash": crash},
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := emulator.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	for repo, argv := range map[string]string{"demo/web": "/web", "demo/crash": "/crash"} {
		if _, err := s.Push(t.Context(), repo, image(t, argv)); err != nil && o.DenyPush == nil {
			t.Fatal(err)
		}
	}
	return s
}

// service is a minimal service.
func service(s *emulator.Server, repo string) *runpb.Service {
	return &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: s.RegistryAddr + "/" + repo}}}}
}

func grpcOptions(s *emulator.Server, more ...option.ClientOption) []option.ClientOption {
	return append([]option.ClientOption{
		option.WithEndpoint(s.Addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}, more...)
}

func restOptions(s *emulator.Server) []option.ClientOption {
	return []option.ClientOption{option.WithEndpoint("http://" + s.Addr), option.WithoutAuthentication()}
}

func services(t *testing.T, s *emulator.Server) *run.ServicesClient {
	t.Helper()
	c, err := run.NewServicesClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func restServices(t *testing.T, s *emulator.Server) *run.ServicesClient {
	t.Helper()
	c, err := run.NewServicesRESTClient(t.Context(), restOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialects are the official client over gRPC and over REST.
func dialects() map[string]func(*testing.T, *emulator.Server) *run.ServicesClient {
	return map[string]func(*testing.T, *emulator.Server) *run.ServicesClient{"grpc": services, "rest": restServices}
}

func revisions(t *testing.T, s *emulator.Server) *run.RevisionsClient {
	t.Helper()
	c, err := run.NewRevisionsClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// create creates a service and waits for it.
func create(t *testing.T, c *run.ServicesClient, id string, s *runpb.Service) *runpb.Service {
	t.Helper()
	op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: s})
	if err != nil {
		t.Fatal(err)
	}
	made, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// get requests a URL of a service and returns status and body.
func get(t *testing.T, s *emulator.Server, url string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := s.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
