package runtime

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestRunsc runs what is different with gVisor, whose containers are not processes of this kernel.
func TestRunsc(t *testing.T) { testTool(t, Runsc) }

func TestCrun(t *testing.T) { testTool(t, Crun) }

func testTool(t *testing.T, kind string) {
	t.Helper()
	r := ociRuntime(t, kind, t.TempDir())
	s := sandboxOf(t, r, "one")
	image := busyboxImage(t)
	for name, test := range map[string]struct {
		container Container
		want      result
	}{
		"output apart, exit status": {shell(nil, "echo out; echo err >&2; exit 7"), result{"out\n", "err\n", Exit{Code: 7}}},
		"args are kept": {
			Container{Args: []string{"/bin/sh", "-c", `printf '%s|' "$@"`, "sh", "a b", "", `c'd`}}, result{stdout: "a b||c'd|"},
		},
		"user": {Container{Args: []string{"id"}, User: "www"}, result{stdout: "uid=33(www) gid=33(www) groups=33(www),50(staff)\n"}},
		"hosts": {
			Container{Args: []string{"grep", "metadata", "/etc/hosts"}}, result{stdout: "169.254.169.254\tmetadata.google.internal\n"},
		},
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
	_, err := s.Start(t.Context(), Container{Name: "app", Image: image, Args: []string{"/nope"}})
	if startErr := new(StartError); !errors.As(err, &startErr) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing binary: %v, want a StartError that is fs.ErrNotExist", err)
	}
	testEngineSignal(t, s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertSandboxGone(t, r, "one")
	testNetwork(t, r)
	testShared(t, r)
}

// testShared shares a volume between two containers that run.
func testShared(t *testing.T, r Runtime) {
	t.Helper()
	s := sandboxOf(t, r, "shared")
	image := busyboxImage(t)
	out := newLineWaiter()
	shared := []Mount{{Destination: "/shared", Kind: Tmpfs, Shared: "work", Size: 1 << 20}}
	writer := shell(image, "trap 'exit 0' TERM; echo hello > /shared/file; echo ready; while :; do sleep 1000 & wait $!; done")
	writer.Name, writer.Mounts, writer.Stdout = "writer", shared, out
	p := start(t, s, writer)
	out.wait(t, "ready")
	reader := shell(image, "cat /shared/file")
	reader.Mounts = shared
	if got := run(t, s, reader); got.stdout != "hello\n" {
		t.Errorf("second container: %+v", got)
	}
	if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Exit(); got != (Exit{}) {
		t.Errorf("exit %+v, want status 0", got)
	}
}
