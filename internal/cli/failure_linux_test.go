package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestUnknownService names what is close and where was looked.
func TestUnknownService(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	w.cloudssh(t, "helo", "--exec", "true").demand(t, 255, "helo", "hello", w.Region)
	w.cloudssh(t, strings.Repeat("a", 60), "--exec", "true").demand(t, 255, "49")
	w.demandOnly(t, "hello")
}

// TestNoPermission names the permission, the role and the command that grants it.
func TestNoPermission(t *testing.T) {
	var denied atomic.Value
	denied.Store("")
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		DenyIAM: func(principal, permission, _ string) bool { return principal != "" && permission == denied.Load() },
	}})
	for permission, role := range map[string]string{
		"run.services.get":    "roles/run.",
		"run.services.create": "roles/run.developer",
	} {
		denied.Store(permission)
		w.cloudssh(t, "hello", "--exec", "true").demand(t, 255, permission, role, "gcloud projects add-iam-policy-binding "+w.Project)
	}
	w.demandOnly(t, "hello")
}

// TestTokenRefused: the front door does not know our ID token.
func TestTokenRefused(t *testing.T) {
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		DenyIAM: func(_, permission, _ string) bool { return permission == "run.routes.invoke" },
	}})
	w.cloudssh(t, "hello", "--exec", "true").demand(t, 255, "403", "run.routes.invoke", "add-iam-policy-binding")
	w.demandOnly(t, "hello")
}

// TestImageGone: the target's image is not in the registry any more, and the
// platform puts its own copy there again.
func TestImageGone(t *testing.T) {
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{}})
	ref, err := name.ParseReference(w.RegistryAddr + "/" + w.Project + "/hello:latest")
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(ref); err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(ref.Context().Digest(d.Digest.String())); err != nil {
		t.Fatal(err)
	}
	w.cloudssh(t, "hello", "--exec", "true").demand(t, 0, "restoring the image", w.RegistryAddr)
	w.demandOnly(t, "hello")
}

// TestPushRefused names the role that allows it.
func TestPushRefused(t *testing.T) {
	var deny atomic.Bool
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{DenyPush: func(string) bool { return deny.Load() }}})
	deny.Store(true)
	w.cloudssh(t, "hello", "--inject", "layer", "--exec", "true").demand(t, 255, "roles/artifactregistry.writer")
	w.demandOnly(t, "hello")
}

// TestNeverReady shows the condition, the last log lines and the log's address.
func TestNeverReady(t *testing.T) {
	var ready atomic.Pointer[world]
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		BeforeReady: func(ctx context.Context, revision string) error {
			if !strings.HasPrefix(revision, "hello-ssh") {
				return nil
			}
			// The agent can be reached a moment before it says so.
			if err := ready.Load().logged(ctx, "hello-ssh", revision, "agent started"); err != nil {
				return err
			}
			return errors.New("the platform had a bad day")
		},
	}})
	ready.Store(w)
	w.cloudssh(t, "hello", "--exec", "true").demand(t, 255, "the platform had a bad day", "/emulator/v1/logs/", "agent started")
	w.demandOnly(t, "hello")
}

// TestUpgradeRefusedAndCut: what stands between refuses WebSockets, or cuts
// them again and again. Nothing is lost, and the other wire is named.
func TestUpgradeRefusedAndCut(t *testing.T) {
	var cut atomic.Int64
	var refuse atomic.Bool
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		FrontEnd: func(rw http.ResponseWriter, r *http.Request) bool {
			if refuse.Load() && r.Header.Get("Upgrade") != "" {
				http.Error(rw, "upgrades are not allowed here", http.StatusBadRequest)
				return true
			}
			return false
		},
		DropAfter: func(r *http.Request) int64 {
			if r.Header.Get("Upgrade") == "" {
				return 0
			}
			return cut.Load()
		},
	}})
	const seq = "seq 1 300000"
	refuse.Store(true)
	r := w.cloudssh(t, "hello", "--exec", seq)
	r.demand(t, 0, "WebSocket upgrades are blocked here; using plain HTTPS")
	demandSeq(t, r.stdout, 300000)
	w.cloudssh(t, "hello", "--wire", "websocket", "--exec", "true").demand(t, 255, "upgrades are not allowed here")
	w.demandOnly(t, "hello")
	refuse.Store(false)
	cut.Store(200_000)
	r = w.cloudssh(t, "hello", "--exec", seq)
	r.demand(t, 0)
	if strings.Contains(r.stderr, "plain HTTPS") {
		t.Errorf("stderr:\n%s", r.stderr)
	}
	demandSeq(t, r.stdout, 300000)
	w.demandOnly(t, "hello")
}

// demandSeq demands what seq 1 n prints.
func demandSeq(t *testing.T, got string, n int) {
	t.Helper()
	var want strings.Builder
	for i := range n {
		fmt.Fprintln(&want, i+1)
	}
	if got != want.String() {
		t.Errorf("%d bytes of output, want %d, or others", len(got), want.Len())
	}
}

// TestRuntimeMissing says how to install one.
func TestRuntimeMissing(t *testing.T) {
	needRuntime(t)
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("crun"); err == nil {
		t.Skip("SKIPPED: this machine has crun, whose lack the test is about")
	}
	cmd := exec.Command(exe, "demo", "--exec", "true", "--runtime", "crun", "--state-dir", stateDir(t))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 255 || !strings.Contains(string(out), "apt-get install crun") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestDiskFull: the emulator has no room to unpack the twin's image.
func TestDiskFull(t *testing.T) {
	needRuntime(t)
	dir := stateDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "demo", "--exec", "true", "--runtime", "runc", "--state-dir", filepath.Join(dir, "s"))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CACHE_HOME="+sharedState, "GOCACHE="+goEnv("GOCACHE"), "GOMODCACHE="+goEnv("GOMODCACHE"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 255 || !strings.Contains(string(out), "no space left on device") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestAgentOfAnotherVersion: a twin that an older cloudssh made and kept.
func TestAgentOfAnotherVersion(t *testing.T) {
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		FrontEnd: func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") == "" {
				return false
			}
			rw.Header().Set("Cloudssh-Version", "v0.0.1")
			rw.WriteHeader(http.StatusUpgradeRequired)
			return true
		},
	}})
	w.cloudssh(t, "hello", "--exec", "true").demand(t, 255, "v0.0.1", "test", "cloudssh cleanup")
	w.demandOnly(t, "hello")
}

// phase is a step of a session in which a test can hold cloudssh.
type phase struct {
	name string
	says string // on stderr, when it is there
	hold func(*holds)
}

// holds blocks the emulator where a phase asks for it, until released.
type holds struct {
	find, pull, admin, push, ready, dial atomic.Bool
	release                              atomic.Pointer[chan struct{}]
}

// arm makes the next waits last until the returned function is called, or the
// test ends.
func (h *holds) arm(t *testing.T) (release func()) {
	t.Helper()
	ch := make(chan struct{})
	h.release.Store(&ch)
	release = sync.OnceFunc(func() { close(ch) })
	t.Cleanup(release) // an emulator that holds somebody does not end
	return release
}

func (h *holds) wait() { <-*h.release.Load() }

func (h *holds) faults() emulator.Faults {
	return emulator.Faults{
		AdminError: func(method, resource string) error {
			finding := h.find.Load() && method == "GetService" && strings.HasSuffix(resource, "/hello")
			creating := h.admin.Load() && method == "CreateService" && strings.Contains(resource, "hello-ssh")
			if finding || creating {
				h.wait()
			}
			return nil
		},
		DenyPull: func(string) bool {
			if h.pull.Load() {
				h.wait()
			}
			return false
		},
		DenyPush: func(string) bool {
			if h.push.Load() {
				h.wait()
			}
			return false
		},
		BeforeReady: func(ctx context.Context, revision string) error {
			if h.ready.Load() && strings.HasPrefix(revision, "hello-ssh") {
				<-ctx.Done()
			}
			return nil
		},
		FrontEnd: func(_ http.ResponseWriter, r *http.Request) bool {
			if h.dial.Load() && r.Header.Get("Upgrade") != "" {
				<-r.Context().Done()
			}
			return false
		},
	}
}

var phases = []phase{
	{"find", "finding hello", func(h *holds) { h.find.Store(true) }},
	{"pull", "reading image", func(h *holds) { h.pull.Store(true) }},
	{"push", "adding the agent", func(h *holds) { h.push.Store(true) }},
	{"create", "creating", func(h *holds) { h.admin.Store(true) }},
	{"ready", "waiting for Ready", func(h *holds) { h.ready.Store(true) }},
	{"dial", "connecting to", func(h *holds) { h.dial.Store(true) }},
	{"session", "in the session", func(*holds) {}},
}

// TestSignalInEachPhase: Ctrl-C, a closed terminal or SIGTERM, whenever it
// comes, leaves no twin, and is what the exit code says.
func TestSignalInEachPhase(t *testing.T) {
	for _, p := range phases {
		t.Run(p.name, func(t *testing.T) {
			h := &holds{}
			w := newWorld(t, emulator.Options{Faults: h.faults()})
			p.hold(h)
			for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGHUP: 129, syscall.SIGTERM: 143} {
				release := h.arm(t)
				c := w.start(t, "hello", "--exec", "echo in the session >&2; cat")
				c.until(p.says)
				c.signal(sig)
				release()
				c.wait().demand(t, code)
				w.demandOnly(t, "hello")
			}
		})
	}
}

// interruptedWhileDeleting is a session that a signal has ended, held where the
// platform is asked to delete its twin until release is called.
func interruptedWhileDeleting(t *testing.T, s syscall.Signal) (w *world, c *proc, release func()) {
	t.Helper()
	held := make(chan struct{})
	deleting := make(chan struct{}, 8)
	w = newWorld(t, emulator.Options{Faults: emulator.Faults{AdminError: func(method, _ string) error {
		if method == "DeleteService" {
			deleting <- struct{}{}
			<-held
		}
		return nil
	}}})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release) // an emulator that holds somebody does not end
	c = w.start(t, "hello", "--exec", "echo in the session >&2; cat")
	c.until("in the session")
	c.signal(s)
	select {
	case <-deleting:
	case <-c.done:
		t.Fatalf("cloudssh ended before it had its twin deleted; stderr:\n%s", c.stderr.String())
	}
	return w, c, release
}

// TestSecondInterruptLeavesAtOnce and prints what deletes the twin.
func TestSecondInterruptLeavesAtOnce(t *testing.T) {
	w, c, release := interruptedWhileDeleting(t, syscall.SIGINT)
	guard := guardOf(t, c.cmd.Process.Pid)
	c.signal(syscall.SIGINT)
	c.wait().demand(t, 130, "cloudssh cleanup --project "+w.Project, "gcloud run services delete hello-ssh --region "+w.Region)
	release()
	gone(t, guard, patience) // it sees that the deletion goes on
	w.within(t, patience, "hello")
}

// TestDeleteFails: the twin that is left is named, with the command.
func TestDeleteFails(t *testing.T) {
	var refuse atomic.Bool
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{AdminError: func(method, _ string) error {
		if refuse.Load() && method == "DeleteService" {
			return errors.New("no deletions today")
		}
		return nil
	}}})
	refuse.Store(true)
	w.cloudssh(t, "hello", "--exec", "exit 3").demand(t, 3, "hello-ssh", "no deletions today", "gcloud run services delete hello-ssh")
	w.demandOnly(t, "hello", "hello-ssh")
	refuse.Store(false)
	w.cloudssh(t, "cleanup", "--yes").demand(t, 0)
	w.within(t, patience, "hello") // the guard may be deleting it already
}

// TestTwoSessionsShareATwin, and the last one to leave deletes it, whichever
// that is.
func TestTwoSessionsShareATwin(t *testing.T) {
	for _, firstLeavesFirst := range []bool{true, false} {
		w := newWorld(t, emulator.Options{})
		a := w.start(t, "hello", "--exec", "echo session A >&2; cat")
		a.until("session A")
		b := w.start(t, "hello", "--exec", "echo session B >&2; cat")
		b.until("session B")
		w.demandOnly(t, "hello", "hello-ssh")
		early, late := a, b
		if !firstLeavesFirst {
			early, late = b, a
		}
		_ = early.stdin.Close()
		early.wait().demand(t, 0, "1 more session")
		w.demandOnly(t, "hello", "hello-ssh")
		_ = late.stdin.Close()
		late.wait().demand(t, 0)
		w.demandOnly(t, "hello")
	}
}

// TestTwoSessionsAtOnce start together, before there is any twin.
func TestTwoSessionsAtOnce(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	a := w.start(t, "hello", "--exec", "echo A; cat")
	b := w.start(t, "hello", "--exec", "echo B; cat")
	_ = a.stdin.Close()
	_ = b.stdin.Close()
	ra, rb := a.wait(), b.wait()
	ra.demand(t, 0)
	rb.demand(t, 0)
	if ra.stdout != "A\n" || rb.stdout != "B\n" {
		t.Errorf("stdout %q and %q", ra.stdout, rb.stdout)
	}
	w.demandOnly(t, "hello")
}

// TestNameTaken: hello-ssh is somebody's service, which is left alone.
func TestNameTaken(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "hello-ssh", img, func(s *runpb.Service) { s.Labels = map[string]string{"team": "shop"} })
	r := w.cloudssh(t, "hello", "--exec", "echo $K_SERVICE")
	r.demand(t, 0)
	if !strings.HasPrefix(r.stdout, "hello-ssh-") {
		t.Errorf("the twin is %q", r.stdout)
	}
	w.demandOnly(t, "hello", "hello-ssh")
}

// TestBareImage: no shell, no /tmp, no /etc/passwd, and not root.
func TestBareImage(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	img, err := images.HelloBare(t.Context(), "amd64", "test")
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "hello-bare", img)
	w.cloudssh(t, "hello-bare", "--exec", "ls / | grep -x hello").demand(t, 0)
	w.cloudssh(t, "hello-bare", "--shell", "/bin/bash", "--exec", "ls").demand(t, 127, "/bin/bash")
	w.cloudssh(t, "hello-bare", "--exec", "/.cloudssh/cloudssh-agent --version").demand(t, 0)
	w.cloudssh(t, "hello-bare", "--exec", "rsync --server . /").demand(t, 127, "rsync: not found", "cloudssh cp")
	w.cloudssh(t, "hello-bare", "--exec", "scp -t -d /none").demand(t, 1) // served, and told in its protocol
	r := w.cloudssh(t, "hello-bare", "--", "/no/such/program")
	r.demand(t, 127, "/no/such/program")
	r = w.cloudssh(t, "hello-bare", "--", "/.cloudssh/cloudssh-agent", "--version")
	r.demand(t, 0)
	if !strings.Contains(r.stdout, "test") {
		t.Errorf("stdout %q", r.stdout)
	}
	w.demandOnly(t, "hello", "hello-bare")
}

// TestCleanupOfExpired: a lease that is over needs no question, and what is no
// twin is never touched.
func TestCleanupOfExpired(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "old-ssh", img, func(s *runpb.Service) {
		s.Labels = map[string]string{"cloudssh": "twin", "cloudssh-source": "old", "cloudssh-owner": "somebody", "cloudssh-expires": "1"}
	})
	w.cloudssh(t, "cleanup").demand(t, 0, "nothing to clean up")
	w.demandOnly(t, "hello", "old-ssh")
	r := w.cloudssh(t, "cleanup", "--all-owners", "--expired")
	r.demand(t, 0)
	if r.stdout != "deleted old-ssh (a twin of old in us-central1)\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	w.demandOnly(t, "hello")
}

// TestDeployFromTarball: a file that docker save wrote, and the same in a pipe.
func TestDeployFromTarball(t *testing.T) {
	w := emptyWorld(t, emulator.Options{})
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference("hello:latest")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hello.tar")
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		t.Fatal(err)
	}
	r := w.cloudssh(t, "emulator", "deploy", "one", "--tarball", file, "--env", "GREETING=a,b")
	r.demand(t, 0)
	if !strings.HasPrefix(r.stdout, "http://one-") {
		t.Errorf("stdout %q", r.stdout)
	}
	p := w.start(t, "emulator", "deploy", "two", "--tarball", "/dev/stdin")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = p.stdin.Close()
	p.wait().demand(t, 0)
	r = w.cloudssh(t, "one", "--exec", "echo $GREETING")
	r.demand(t, 0)
	if r.stdout != "a,b\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	w.demandOnly(t, "one", "two")
}

// TestReaderGone: `cloudssh hello --exec yes | head -1` ends, quietly, and
// takes the twin with it.
func TestReaderGone(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", `"$0" hello --quiet --exec yes | head -1; echo "${PIPESTATUS[0]}"`, exe)
	cmd.Env = w.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != "y\n141\n" || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", out, stderr.String())
	}
	w.demandOnly(t, "hello")
}

// TestTerminalGoneTwice: the kernel and the shell both send SIGHUP when a window
// is closed, and the clean-up goes on all the same.
func TestTerminalGoneTwice(t *testing.T) {
	w, c, release := interruptedWhileDeleting(t, syscall.SIGHUP)
	c.signal(syscall.SIGHUP)
	c.signal(syscall.SIGHUP)
	release()
	c.wait().demand(t, 129)
	w.demandOnly(t, "hello")
}

// TestNoIDToken: credentials that give no ID token are told at once, not after
// the patience for a fresh URL.
func TestNoIDToken(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	target, err := url.Parse("http://" + w.MetadataAddr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	metadata := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/identity") {
			http.Error(rw, "no ID tokens today", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	defer metadata.Close()
	w.env = append(w.env, "GCE_METADATA_HOST="+strings.TrimPrefix(metadata.URL, "http://"))
	r := w.cloudssh(t, "hello", "--exec", "true")
	r.demand(t, 255, "ID token", "no ID tokens today")
	if n := strings.Count(r.stderr, "no ID tokens today"); n > 2 { // the failed step and the error
		t.Errorf("tried %d times:\n%s", n, r.stderr)
	}
	w.demandOnly(t, "hello")
}
