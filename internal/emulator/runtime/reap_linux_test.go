package runtime

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// crashDirEnv makes the test binary the process that is killed: see TestReap.
const crashDirEnv = "CLOUDSSH_TEST_CRASH_DIR"

// TestReap kills a process that runs a sandbox, while another one lives on the same state directory.
func TestReap(t *testing.T) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crash(t, dir)
	}
	dir := t.TempDir()
	alive := ociRuntime(t, Runc, dir)
	living := sandboxOf(t, alive, "alive")
	image := busyboxImage(t)
	p := start(t, living, shell(image, "sleep 1000"))

	killed := killedOwner(t, dir)
	if mounts, err := mountsUnder(killed); err != nil || len(mounts) < 3 {
		t.Fatalf("the killed process left these mounts: %v, %v", mounts, err)
	}

	for range 2 {
		if err := alive.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if exists(killed) || exists(killed+".lock") {
		t.Errorf("still there: %s", killed)
	}
	if mounts, err := mountsUnder(killed); err != nil || len(mounts) > 0 {
		t.Errorf("still mounted: %v, %v", mounts, err)
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/cloudssh-" + filepath.Base(killed) + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("control groups: %v, %v", left, err)
	}

	select {
	case <-p.Done():
		t.Errorf("the living runtime's container has ended: %+v", p.Exit())
	default:
	}
	if got := run(t, living, Container{Name: "second", Image: image, Args: []string{"true"}}); got.exit != (Exit{}) {
		t.Errorf("the living sandbox: %+v", got)
	}
}

// killedOwner runs this test in a process that is killed when it has made a sandbox, and returns
// what was its directory.
func killedOwner(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestReap$")
	child.Env = append(os.Environ(), crashDirEnv+"="+dir)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("the process to kill said %q, %v", line, err)
	}
	cancel() // SIGKILL
	if err := child.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "ready "))
}

// crash makes one of everything and waits to be killed.
func crash(t *testing.T, dir string) {
	t.Helper()
	r, err := New(t.Context(), Options{Kind: Runc, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := sandboxOf(t, r, "crashed")
	if _, err := s.Listen(t.Context(), "169.254.169.254:80"); err != nil {
		t.Fatal(err)
	}
	out := newLineWaiter()
	c := shell(busyboxImage(t), "trap '' TERM; echo up; sleep 1000")
	c.Stdout, c.Mounts = out, []Mount{{Destination: "/v", Kind: Tmpfs, Shared: "v"}}
	start(t, s, c)
	out.wait(t, "up")
	_, _ = os.Stdout.WriteString("ready " + r.(*oci).state.dir + "\n")
	select {}
}

func TestReapRemovesImagesOfEarlierBoots(t *testing.T) {
	dir := t.TempDir()
	r := ociRuntime(t, Runc, dir)
	old := filepath.Join(dir, "images", "earlier", "abc")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	s := sandboxOf(t, r, "one")
	run(t, s, Container{Image: busyboxImage(t), Args: []string{"true"}})
	if err := r.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "images", "*", "*"))
	if err != nil || len(kept) != 1 || filepath.Dir(kept[0]) != r.images.dir {
		t.Errorf("images: %v, %v", kept, err)
	}
}

// BenchmarkFirstOutput measures from making a sandbox to the first byte of its container.
func BenchmarkFirstOutput(b *testing.B) {
	r := ociRuntime(b, Runc, b.TempDir())
	image := busyboxImage(b)
	if _, err := r.images.rootfs(b.Context(), image); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := sandboxOf(b, r, "one")
		out := newFirstByte()
		c := shell(image, "echo up")
		c.Stdout = out
		if _, err := s.Start(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		<-out.seen
		b.StopTimer()
		if err := s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// firstByte closes a channel when something is written.
type firstByte struct{ seen chan struct{} }

func newFirstByte() *firstByte { return &firstByte{make(chan struct{})} }

func (f *firstByte) Write(p []byte) (int, error) {
	select {
	case <-f.seen:
	default:
		close(f.seen)
	}
	return len(p), nil
}
