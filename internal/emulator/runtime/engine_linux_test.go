package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// podman starts an engine with storage of its own for a test: the test does not touch, nor wait for,
// what else runs on the machine. The socket is made here and handed over
// (sd_listen_fds(3)), so that there is nothing to wait for.
func podman(t *testing.T) {
	t.Helper()
	needRoot(t)
	path, err := exec.LookPath("podman")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: podman is not installed; sudo apt-get install podman")
	}
	dir := t.TempDir()
	flags := []string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
	}
	t.Cleanup(func() {
		if t.Failed() {
			remove := exec.CommandContext(context.Background(), path, append(flags, "rm", "--all", "--force", "--depend", "--time=0")...)
			output, err := remove.CombinedOutput()
			t.Logf("removing what the test left: %s, %v", output, err)
		}
		awaitProcesses(t, dir)
		if err := removeTree(dir); err != nil {
			t.Error(err)
		}
	})
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // the socket is the engine's now
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	script := `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`
	args := slices.Concat([]string{"-c", script, "sh", path}, flags, []string{"system", "service", "--time=0"})
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // its mounts go with it
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("podman said:\n%s", log.String())
		}
	})
	if err := errors.Join(socket.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	awaitEngine(t, filepath.Join(dir, "sock"))
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "sock"))
}

// awaitEngine waits for the first answer: on a busy machine Podman takes longer to start than a user would wait.
func awaitEngine(t *testing.T, socket string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://podman/_ping", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("Podman answers %s, %v", resp.Status, err)
	}
}

// TestEngineMissesTheEnd has an engine that does not tell of the end to who waited for it before.
func TestEngineMissesTheEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch condition := r.URL.Query().Get("condition"); {
		case condition == string(container.WaitConditionNextExit):
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case condition == string(container.WaitConditionNotRunning):
			_, _ = io.WriteString(w, `{"StatusCode": 7}`)
		default:
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	defer s.Close()
	c, err := client.NewClientWithOpts(client.WithHost("tcp://"+strings.TrimPrefix(s.URL, "http://")), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // before the server is closed, which waits for its requests
	p := &engineProcess{engine: &engine{client: c}, id: "short"}
	ended, failed := c.ContainerWait(ctx, p.id, container.WaitConditionNextExit)
	quiet := make(chan struct{})
	close(quiet)
	if got := p.await(ctx, ended, failed, quiet); got != (Exit{Code: 7}) {
		t.Errorf("exit %+v, want status 7", got)
	}
}

// awaitProcesses waits for the processes that work in a directory: those that clean up after
// Podman's containers go on after everything else has ended.
func awaitProcesses(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(line, []byte(dir)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
	}
}

func engineRuntime(t *testing.T) *engine {
	t.Helper()
	r, err := New(t.Context(), Options{Kind: Docker})
	if err != nil {
		t.Fatal(err)
	}
	e := r.(*engine)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestEngine(t *testing.T) {
	podman(t)
	e := engineRuntime(t)
	image := appendTo(t, busyboxImage(t), zstdLayer(t, file("zstd", "compressed\n")))
	s := sandboxOf(t, e, "one")
	for name, test := range map[string]struct {
		container Container
		want      result
	}{
		"args are kept": {
			Container{Args: []string{"/bin/sh", "-c", `printf '%s|' "$@"`, "sh", "a b", "", `c'd`}},
			result{stdout: "a b||c'd|"},
		},
		"output apart, exit status": {shell(nil, "echo out; echo err >&2; exit 7"), result{"out\n", "err\n", Exit{Code: 7}}},
		"layer in Zstandard":        {Container{Args: []string{"cat", "/zstd"}}, result{stdout: "compressed\n"}},
		"directory":                 {Container{Args: []string{"pwd"}, Dir: "/srv/app"}, result{stdout: "/srv/app\n"}},
		"user":                      {Container{Args: []string{"id", "-un"}, User: "www"}, result{stdout: "www\n"}},
		"environment":               {Container{Args: []string{"/bin/sh", "-c", "echo $A$PORT"}, Env: []string{"A=1"}}, result{stdout: "1\n"}},
	} {
		test.container.Image = image
		if got := run(t, s, test.container); got != test.want {
			t.Errorf("%s: got  %+v\nwant %+v", name, got, test.want)
		}
	}
	got := run(t, s, Container{Image: image, Args: []string{"seq", "1", "200000"}})
	if n := strings.Count(got.stdout, "\n"); n != 200000 {
		t.Errorf("%d lines, want 200000", n)
	}
	testEngineStartErrors(t, s)
	testEngineSharing(t, s)
	testEngineSignal(t, s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertEngineEmpty(t, e)
	testNetwork(t, e)
}

func testEngineStartErrors(t *testing.T, s Sandbox) {
	t.Helper()
	image := busyboxImage(t)
	for name, test := range map[string]struct {
		container Container
		is        error
		says      string
	}{
		"missing binary": {Container{Args: []string{"/nope"}}, fs.ErrNotExist, "/nope"},
		"unknown user":   {Container{Args: []string{"id"}, User: "nobody"}, nil, "nobody"},
	} {
		c := test.container
		c.Name, c.Image = "app", image
		_, err := s.Start(t.Context(), c)
		var startErr *StartError
		if !errors.As(err, &startErr) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v of type %T, want a StartError that says %q", name, err, err, test.says)
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: error %v is not %v", name, err, test.is)
		}
	}
}

func testEngineSharing(t *testing.T, s Sandbox) {
	t.Helper()
	image := busyboxImage(t)
	out := newLineWaiter()
	shared := []Mount{{Destination: "/shared", Kind: Tmpfs, Shared: "work", Size: 1 << 20}}
	writer := shell(image, "echo hello > /shared/file; echo ready; sleep 1000")
	writer.Name, writer.Mounts, writer.Stdout, writer.User = "writer", shared, out, "www"
	start(t, s, writer)
	out.wait(t, "ready")
	reader := shell(image, "cat /shared/file; stat -c %a /shared; touch /shared/y && ls /new || touch /new || echo read-only")
	reader.Mounts, reader.ReadOnly = shared, true
	for range 2 {
		if got := run(t, s, reader); got.stdout != "hello\n1777\nread-only\n" {
			t.Errorf("second container: %+v", got)
		}
	}
}

func testEngineSignal(t *testing.T, s Sandbox) {
	t.Helper()
	out := newLineWaiter()
	c := shell(busyboxImage(t), "trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done")
	c.Stdout = out
	p := start(t, s, c)
	out.wait(t, "ready")
	if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Exit(); got != (Exit{Code: 3}) {
		t.Errorf("exit %+v, want status 3", got)
	}
	if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
	c.Args, c.Stdout = []string{"sleep", "1000"}, nil
	p = start(t, s, c)
	if err := p.Signal(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Exit(); got != (Exit{Code: 137, Signal: "SIGKILL"}) {
		t.Errorf("exit %+v, want SIGKILL", got)
	}
}

func assertEngineEmpty(t *testing.T, e *engine) {
	t.Helper()
	ours := filters.NewArgs(filters.Arg("label", ownerLabel))
	containers, err := e.client.ContainerList(t.Context(), container.ListOptions{All: true, Filters: ours})
	if err != nil || len(containers) > 0 {
		t.Errorf("containers left: %v, %v", containers, err)
	}
	volumes, err := e.client.VolumeList(t.Context(), volume.ListOptions{Filters: ours})
	if err != nil || len(volumes.Volumes) > 0 {
		t.Errorf("volumes left: %v, %v", volumes.Volumes, err)
	}
}

// TestEngineReap removes a dead process's container and keeps a living one's.
func TestEngineReap(t *testing.T) {
	podman(t)
	e := engineRuntime(t)
	s := sandboxOf(t, e, "alive")
	gone := exec.CommandContext(t.Context(), "/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(ownerName(), "/")
	image, err := e.images.load(t.Context(), busyboxImage(t))
	if err != nil {
		t.Fatal(err)
	}
	dead, err := e.client.ContainerCreate(t.Context(), &container.Config{
		Image: image, Entrypoint: []string{"sleep", "1000"},
		Labels: map[string]string{ownerLabel: host + "/" + strconv.Itoa(gone.Process.Pid)},
	}, &container.HostConfig{NetworkMode: "none", Resources: container.Resources{Ulimits: ulimits(true)}}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.client.ContainerStart(t.Context(), dead.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := e.client.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil || len(left) != 1 || left[0].ID != s.(*engineSandbox).holder {
		t.Errorf("containers: %+v, %v, want the living sandbox's only", left, err)
	}
}

// TestEngineHostsAreNotRelative: what lies in the working directory is no engine of ours.
func TestEngineHostsAreNotRelative(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("HOME", "")
	t.Chdir(t.TempDir())
	for _, socket := range []string{"podman/podman.sock", ".docker/run/docker.sock"} {
		if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		var config net.ListenConfig
		l, err := config.Listen(t.Context(), "unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for _, host := range engineHosts() {
		if !filepath.IsAbs(strings.TrimPrefix(host, "unix://")) {
			t.Errorf("would try %s", host)
		}
	}
}
