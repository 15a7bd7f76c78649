package serving

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// imageOf is an image without files, for linux/amd64.
func imageOf(t *testing.T, config v1.Config) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// web is a program that serves HTTP on $PORT until SIGTERM, or until it is told to exit.
func web(h http.Handler, exit <-chan error) runtime.Program {
	return func(ctx context.Context, p runtime.Proc) error {
		l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
		if err != nil {
			return err
		}
		s := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = s.Serve(l)
		}()
		defer func() {
			_ = s.Close()
			<-served
		}()
		select {
		case err := <-exit:
			return err
		case sig := <-p.Signals:
			if sig != syscall.SIGTERM {
				return errors.New("an unexpected signal")
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) })
}

// A fixture is a Fleet with a revision to deploy.
type fixture struct {
	t       *testing.T
	runtime *memRuntime
	options Options
	fleet   *Fleet
	rev     Revision

	mu         sync.Mutex
	conditions []*runpb.Condition
}

// newFixture is a Fleet whose containers run app unless their image, of the name of a program, says otherwise.
func newFixture(t *testing.T, app runtime.Program, change ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{t: t, runtime: newMemRuntime(map[string]runtime.Program{"app": app})}
	f.options = Options{
		Runtime:  f.runtime,
		StateDir: t.TempDir(),
		Pull: func(_ context.Context, ref string) (v1.Image, error) {
			return imageOf(t, v1.Config{Entrypoint: []string{ref}}), nil
		},
	}
	f.rev = Revision{
		Project: "demo", ProjectNumber: "123456789012", Region: "us-central1", Service: "hello", Name: "hello-00001-abc",
		LogURI:   "http://logs",
		Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: "app"}}},
	}
	for _, c := range change {
		c(f)
	}
	var err error
	if f.fleet, err = New(f.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	if err := f.fleet.Close(context.Background()); err != nil {
		f.t.Error("closing:", err)
	}
	if open, _ := f.runtime.counts(); open != 0 {
		f.t.Errorf("%d sandboxes are left", open)
	}
}

func (f *fixture) report(c *runpb.Condition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conditions = append(f.conditions, c)
}

func (f *fixture) tryDeploy() error {
	f.t.Helper()
	return f.fleet.Deploy(f.t.Context(), f.rev, f.report)
}

func (f *fixture) deploy() {
	f.t.Helper()
	if err := f.tryDeploy(); err != nil {
		f.t.Fatalf("%v\nlog:\n%s", err, f.logs())
	}
}

// get makes a request and waits for its answer.
func (f *fixture) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.fleet.Handler(f.rev.Key()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// start makes a request whose answer arrives in the channel.
func (f *fixture) start(path string) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() { done <- f.get(path) }()
	return done
}

func (f *fixture) wantAnswer(w *httptest.ResponseRecorder, code int, body string) {
	f.t.Helper()
	if w.Code != code || w.Body.String() != body {
		f.t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, code, body)
	}
}

func (f *fixture) wantInstances(n int) {
	f.t.Helper()
	if got := len(f.fleet.Instances(f.rev.Key())); got != n {
		f.t.Errorf("%d instances, want %d", got, n)
	}
}

func (f *fixture) logs() string {
	return strings.Join(f.fleet.Tail(f.rev.Key(), 1000), "\n")
}

func (f *fixture) wantLog(text string) {
	f.t.Helper()
	if !strings.Contains(f.logs(), text) {
		f.t.Errorf("the log lacks %q:\n%s", text, f.logs())
	}
}

func template(change func(*runpb.RevisionTemplate)) func(*fixture) {
	return func(f *fixture) { change(f.rev.Template) }
}

// pass lets time pass, which under testing/synctest takes none.
func pass(d time.Duration) { <-time.After(d) }
