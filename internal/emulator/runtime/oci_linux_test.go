package runtime

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ociRuntime makes a runtime for a test and checks at the end that nothing is left of it.
func ociRuntime(tb testing.TB, kind, stateDir string) *oci {
	tb.Helper()
	needOCI(tb, kind)
	r, err := New(tb.Context(), Options{Kind: kind, StateDir: stateDir, Logger: slog.New(slog.NewTextHandler(testWriter{tb}, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		assertNothingLeft(tb, stateDir)
	})
	return r.(*oci)
}

// needOCI skips a test on a machine that cannot run it, and says why. Where
// root and the runtime are there, nothing is an excuse.
func needOCI(tb testing.TB, kind string) {
	tb.Helper()
	if why := privileged(); why != nil {
		tb.Skipf("SKIPPED, NOT TESTED: %v", why)
	}
	if _, err := findTool(kind); err != nil {
		tb.Skipf("SKIPPED, NOT TESTED: %s is not installed; %s", kind, installHint(kind))
	}
	if kind == Crun && findCgroups().hybrid {
		tb.Skip("SKIPPED, NOT TESTED: crun does not run where control groups of both versions have controllers")
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// assertNothingLeft checks mounts, states of the OCI runtime, namespaces and control groups.
func assertNothingLeft(tb testing.TB, stateDir string) {
	tb.Helper()
	mounts, err := mountsUnder(stateDir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range mounts {
		tb.Errorf("left mounted: %s", m)
	}
	left, err := filepath.Glob(filepath.Join(stateDir, "run", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range left {
		tb.Errorf("left: %s", name)
	}
}

// assertSandboxGone checks that nothing of a sandbox is left while its runtime lives on.
func assertSandboxGone(tb testing.TB, r *oci, id string) {
	tb.Helper()
	for _, pattern := range []string{
		filepath.Join(r.state.dir, "sandboxes", id),
		filepath.Join(r.state.dir, "netns", id+"*"),
		filepath.Join(r.tool.root, "*-"+id+"-*"),
		filepath.Join(r.state.dir, "tmp", "*"),
		"/sys/fs/cgroup/cloudssh-" + r.state.id + "-" + id + "-*",
		"/sys/fs/cgroup/*/cloudssh-" + r.state.id + "-" + id + "-*",
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range left {
			tb.Errorf("left of sandbox %s: %s", id, name)
		}
	}
	mounts, err := mountsUnder(r.state.dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range mounts {
		if strings.Contains(m, id) {
			tb.Errorf("left of sandbox %s: mount %s", id, m)
		}
	}
}

func sandboxOf(tb testing.TB, r Runtime, id string) Sandbox {
	tb.Helper()
	s, err := r.Sandbox(tb.Context(), SandboxSpec{ID: id, Hosts: map[string]string{"metadata.google.internal": "169.254.169.254"}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// result is what a container said and how it ended.
type result struct {
	stdout, stderr string
	exit           Exit
}

func run(tb testing.TB, s Sandbox, c Container) result {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Name = orDefault(c.Name, "app")
	p, err := s.Start(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	<-p.Done()
	return result{stdout.String(), stderr.String(), p.Exit()}
}

func shell(image v1.Image, script string) Container {
	return Container{Name: "app", Image: image, Args: []string{"/bin/sh", "-c", script}}
}

func TestOCIProcess(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	for name, test := range map[string]struct {
		container Container
		want      result
	}{
		"args are kept": {
			Container{Args: []string{"/bin/sh", "-c", `printf '%s|' "$@"`, "sh", "a b", "", `c'd`}},
			result{stdout: "a b||c'd|"},
		},
		"env": {
			Container{Args: []string{"env"}, Env: []string{"B=2", "A=1 x"}},
			result{stdout: "B=2\nA=1 x\nPATH=" + defaultPath + "\nHOME=/root\n"},
		},
		"stdout and stderr apart": {
			shell(nil, "echo out; echo err >&2"),
			result{stdout: "out\n", stderr: "err\n"},
		},
		"exit status": {shell(nil, "exit 7"), result{exit: Exit{Code: 7}}},
		"status above 128 is no signal": {
			shell(nil, "exit 137"), result{exit: Exit{Code: 137}},
		},
		"directory is made": {
			Container{Args: []string{"pwd"}, Dir: "/srv/app"}, result{stdout: "/srv/app\n"},
		},
		"user by name": {
			Container{Args: []string{"/bin/sh", "-c", "id; echo $HOME"}, User: "www"},
			result{stdout: "uid=33(www) gid=33(www) groups=33(www),50(staff)\n/var/www\n"},
		},
		"user and group": {
			Container{Args: []string{"id"}, User: "www:staff"},
			result{stdout: "uid=33(www) gid=50(staff) groups=50(staff)\n"},
		},
		"numbers": {
			Container{Args: []string{"id"}, User: "65532:1000"},
			result{stdout: "uid=65532 gid=1000 groups=1000\n"},
		},
		"hostname": {Container{Args: []string{"hostname"}}, result{stdout: "localhost\n"}},
		"hosts": {
			Container{Args: []string{"grep", "metadata", "/etc/hosts"}},
			result{stdout: "169.254.169.254\tmetadata.google.internal\n"},
		},
		"stdin is empty": {Container{Args: []string{"cat"}}, result{}},
		"only a loopback interface": {
			shell(nil, "ls /sys/class/net"), result{stdout: "lo\n"},
		},
		"own processes": {
			shell(nil, "echo $$ /proc/[0-9]*"), result{stdout: "1 /proc/1\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.container.Image = image
			if got := run(t, s, test.container); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestOCIPrivileges(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	got := run(t, s, shell(image, "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"))
	if want := "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\n"; got.stdout != want {
		t.Errorf("root has %q, want %q", got.stdout, want)
	}
	c := shell(image, "grep -E '^CapEff' /proc/self/status; echo x >/dev/stderr")
	c.User = "www"
	if got := run(t, s, c); got.stdout != "CapEff:\t0000000000000000\n" || got.stderr != "x\n" {
		t.Errorf("another user has %+v", got)
	}
	if got := run(t, s, shell(image, "mount -t tmpfs none /tmp")); got.exit.Code == 0 {
		t.Error("a container may mount")
	}
}

func TestOCIOutputIsDrained(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	got := run(t, s, Container{Image: busyboxImage(t), Args: []string{"seq", "1", "200000"}})
	if n := strings.Count(got.stdout, "\n"); n != 200000 || !strings.HasSuffix(got.stdout, "\n200000\n") {
		t.Errorf("%d lines, want 200000", n)
	}
	if got.exit != (Exit{}) {
		t.Errorf("exit %+v", got.exit)
	}
}

// failingWriter fails at once.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOCIOutputThatNobodyTakes(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	c := Container{Name: "app", Image: busyboxImage(t), Args: []string{"seq", "1", "200000"}, Stdout: failingWriter{}}
	p := start(t, s, c)
	<-p.Done()
	if e := p.Exit(); e.Code != 0 || e.Signal != "" || !errors.Is(e.Err, io.ErrClosedPipe) {
		t.Errorf("exit %+v, want status 0 and the writer's error", e)
	}
}

func TestOCISignals(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	for name, test := range map[string]struct {
		signal syscall.Signal
		want   Exit
	}{
		"handled": {syscall.SIGTERM, Exit{Code: 3}},
		"killed":  {syscall.SIGKILL, Exit{Code: 137, Signal: "SIGKILL"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := newLineWaiter()
			c := shell(image, `trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done`)
			c.Stdout = out
			p := start(t, s, c)
			out.wait(t, "ready\n")
			if err := p.Signal(t.Context(), test.signal); err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			if got := p.Exit(); got != test.want {
				t.Errorf("exit %+v, want %+v", got, test.want)
			}
			if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
				t.Errorf("signal after the end: %v", err)
			}
		})
	}
}

func TestOCIStartErrors(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t, file("data", "no program"))
	for name, test := range map[string]struct {
		container Container
		is        error
		says      string
	}{
		"missing binary": {
			Container{Args: []string{"/nope"}}, fs.ErrNotExist, `exec: "/nope": stat /nope: no such file or directory`,
		},
		"missing in PATH": {
			Container{Args: []string{"nope"}}, fs.ErrNotExist, `exec: "nope": executable file not found in $PATH`,
		},
		"not executable": {
			Container{Args: []string{"/data"}}, fs.ErrPermission, `exec: "/data": permission denied`,
		},
		"unknown user": {
			Container{Args: []string{"id"}, User: "nobody"}, nil, `user "nobody" is not in /etc/passwd of the image`,
		},
		"unknown group": {
			Container{Args: []string{"id"}, User: "www:nobody"}, nil, `group "nobody" is not in /etc/group of the image`,
		},
		"no command": {Container{}, nil, "no command"},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.container
			c.Name, c.Image = "app", image
			_, err := s.Start(t.Context(), c)
			var startErr *StartError
			if !errors.As(err, &startErr) {
				t.Fatalf("error %v of type %T, want a StartError", err, err)
			}
			if !strings.HasPrefix(err.Error(), "starting container app: ") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(s.(*ociSandbox).dir, "container-*")); err != nil || len(left) > 0 {
		t.Errorf("left of containers that did not start: %v, %v", left, err)
	}
}

// TestOCIScratch runs an image that has a program and nothing else, not even directories.
func TestOCIScratch(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	content, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	image := imageOf(t, layerOf(t, executable("busybox", string(content))))
	c := Container{Name: "app", Image: image, Args: []string{"/busybox", "cat", "/etc/hostname"}, User: "65532"}
	if got, want := run(t, s, c), (result{stdout: "localhost\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.User = "www"
	_, err = s.Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), `user "www" is not a number and the image has no /etc/passwd`) {
		t.Errorf("a user's name in an image without users: %v", err)
	}
}

func TestOCIContainersAreApart(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	image := busyboxImage(t)
	s := sandboxOf(t, r, "one")
	if got := run(t, s, shell(image, "echo x > /new && rm /bin/env && cat /new")); got.stdout != "x\n" {
		t.Errorf("writing: %+v", got)
	}
	if got := run(t, s, shell(image, "ls /new /bin/env")); got.stdout != "/bin/env\n" {
		t.Errorf("another container sees: %+v", got)
	}
}

func TestOCIMounts(t *testing.T) {
	r := ociRuntime(t, Runc, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("bound\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := Mount{Destination: "/shared", Kind: Tmpfs, Shared: "work", Size: 1 << 20}
	first := shell(image, "echo hello > /shared/file; df -k /shared | grep -o '1024 '; dd if=/dev/zero of=/shared/big bs=1M count=2 2>/dev/null || echo full; rm /shared/big")
	first.Mounts = []Mount{shared}
	first.User = "www"
	if got := run(t, s, first); got.stdout != "1024 \nfull\n" {
		t.Errorf("shared volume of 1 MiB: %+v", got)
	}
	readOnly := shared
	readOnly.ReadOnly = true
	second := shell(image, "cat /shared/file /shared/in/file; touch /shared/x || echo read-only; touch /own/x && ls /own")
	second.Mounts = []Mount{
		{Destination: "/shared/in", Kind: Bind, Source: source, ReadOnly: true}, {Destination: "/own", Kind: Tmpfs}, readOnly,
	}
	// The mount point inside of the volume has to be there before it is read-only.
	if got := run(t, s, Container{Image: image, Args: []string{"/bin/busybox", "mkdir", "/shared/in"}, Mounts: []Mount{shared}}); got.exit.Code != 0 {
		t.Fatalf("mkdir: %+v", got)
	}
	if got := run(t, s, second); got.stdout != "hello\nbound\nread-only\nx\n" {
		t.Errorf("second container: %+v", got)
	}
}
