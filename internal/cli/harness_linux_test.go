package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

// world is an emulator in this process, whose faults a test can choose, with
// the sample service in it. At the end of the test nothing may be left of it.
type world struct {
	*emulator.Server
	client *run.ServicesClient
	env    []string
	home   string
}

// hello is the sample's image, made once: building it compiles a program.
var hello = sync.OnceValues(func() (v1.Image, error) {
	return images.Hello(context.Background(), "amd64", "test")
})

// newWorld starts an emulator on runc and deploys hello.
func newWorld(t *testing.T, o emulator.Options) *world {
	t.Helper()
	w := emptyWorld(t, o)
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "hello", img)
	return w
}

func emptyWorld(t *testing.T, o emulator.Options) *world {
	t.Helper()
	needRuntime(t)
	o.StateDir = sharedState
	o.Listen, o.RuntimeKind, o.MemoryRegistry = "127.0.0.1:0", "runc", true
	starting()
	e, err := emulator.New(t.Context(), o)
	if err != nil {
		stopped()
		t.Fatal(err)
	}
	w := &world{Server: e}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("stopping the emulator: %v", err)
		}
		if left := stopped(); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	w.client, err = run.NewServicesClient(t.Context(), option.WithEndpoint(e.Addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.client.Close() })
	home := t.TempDir()
	w.home = home
	t.Cleanup(func() { w.noGuards(t) })
	w.env = append(os.Environ(), "HOME="+home, "CLOUDSSH_CONFIG_DIR="+filepath.Join(home, "cloudssh"),
		"XDG_STATE_HOME="+filepath.Join(home, ".local", "state"),
		"CLOUDSDK_CONFIG="+filepath.Join(home, "gcloud"), "NO_COLOR=1", "TERM=xterm",
		"XDG_CACHE_HOME="+sharedState, // a development build compiles the agent
		"GOCACHE="+goEnv("GOCACHE"), "GOMODCACHE="+goEnv("GOMODCACHE"))
	for _, line := range e.Exports() {
		w.env = append(w.env, strings.TrimPrefix(line, "export "))
	}
	return w
}

// stateDir is an emulator's state folder for one test alone.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloudssh-e2e-") //nolint:usetesting // a short path is the point
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *world) parent() string { return "projects/" + w.Project + "/locations/" + w.Region }

// push puts an image into the registry under name.
func (w *world) push(t *testing.T, repo string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(w.RegistryAddr + "/" + w.Project + "/" + repo + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// deploy makes a service and waits until it is ready.
func (w *world) deploy(t *testing.T, service string, img v1.Image, change ...func(*runpb.Service)) {
	t.Helper()
	s := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: w.push(t, service, img)}}}}
	for _, f := range change {
		f(s)
	}
	op, err := w.client.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: w.parent(), ServiceId: service, Service: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// services are the names of all services.
func (w *world) services(t *testing.T) []string {
	t.Helper()
	var names []string
	it := w.client.ListServices(t.Context(), &runpb.ListServicesRequest{Parent: w.parent()})
	for {
		s, err := it.Next()
		if errors.Is(err, iterator.Done) {
			slices.Sort(names)
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.GetName()[strings.LastIndex(s.GetName(), "/")+1:])
	}
}

// demandOnly fails the test if there are services besides those named.
func (w *world) demandOnly(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := w.services(t); !slices.Equal(got, want) {
		t.Errorf("services %q, want %q", got, want)
	}
}

// logs follows the log of a service's revision until it holds text.
func (w *world) logs(t *testing.T, service, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := w.client.GetService(ctx, &runpb.GetServiceRequest{Name: w.parent() + "/services/" + service})
	if err != nil {
		t.Fatal(err)
	}
	revision := s.GetLatestReadyRevision()
	if err := w.logged(ctx, service, revision[strings.LastIndex(revision, "/")+1:], text); err != nil {
		t.Fatal(err)
	}
}

// logged returns when the log of a revision holds text.
func (w *world) logged(ctx context.Context, service, revision, text string) error {
	uri := "http://" + w.Addr + "/emulator/v1/logs/" + w.parent() + "/services/" + service + "/revisions/" + revision + "?follow=1"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), text) {
			return nil
		}
	}
	return fmt.Errorf("the log of %s ended without %q", revision, text)
}

// result is how a cloudssh ended.
type result struct {
	code           int
	stdout, stderr string
}

// proc is a running cloudssh.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout bytes.Buffer
	stderr watched
	done   chan struct{}
}

// start runs cloudssh against w.
func (w *world) start(t *testing.T, args ...string) *proc {
	t.Helper()
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, cmd: exec.Command(exe, args...), done: make(chan struct{})}
	p.cmd.Env = w.env
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is read from ProcessState
		close(p.done)
	}()
	t.Cleanup(func() { finish(t, p.cmd.Process, p.done) })
	return p
}

// finish ends a cloudssh, if it has not ended. What a failed test has left may
// take its twin down itself, so that the next test in the same world has its own.
func finish(t *testing.T, p *os.Process, done <-chan struct{}) {
	t.Helper()
	if t.Failed() {
		_ = p.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-done:
		case <-time.After(30 * time.Second):
		}
	}
	_ = p.Kill()
	<-done
}

// cloudssh runs cloudssh to its end.
func (w *world) cloudssh(t *testing.T, args ...string) result {
	t.Helper()
	p := w.start(t, args...)
	_ = p.stdin.Close()
	return p.wait()
}

// wait returns when cloudssh has ended.
func (p *proc) wait() result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("cloudssh %q does not end; stderr:\n%s", p.cmd.Args, p.stderr.String())
	}
	return result{code: p.cmd.ProcessState.ExitCode(), stdout: p.stdout.String(), stderr: p.stderr.String()}
}

// until waits for text on stderr.
func (p *proc) until(text string) {
	p.t.Helper()
	select {
	case <-p.stderr.contains(text):
	case <-p.done:
		if !strings.Contains(p.stderr.String(), text) {
			p.t.Fatalf("cloudssh ended without saying %q; stderr:\n%s", text, p.stderr.String())
		}
	case <-time.After(patience):
		p.t.Fatalf("cloudssh does not say %q; stderr:\n%s", text, p.stderr.String())
	}
}

func (p *proc) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// demand checks a result's code and that stderr holds each text.
func (r result) demand(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr:\n%s", r.code, code, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr lacks %q:\n%s", text, r.stderr)
		}
	}
}

// watched is a buffer that tells when it holds a text.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	waits map[string]chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	for text, ch := range w.waits {
		if bytes.Contains(w.buf.Bytes(), []byte(text)) {
			close(ch)
			delete(w.waits, text)
		}
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *watched) contains(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan struct{})
	if bytes.Contains(w.buf.Bytes(), []byte(text)) {
		close(ch)
		return ch
	}
	if w.waits == nil {
		w.waits = map[string]chan struct{}{}
	}
	w.waits[text] = ch
	return ch
}
