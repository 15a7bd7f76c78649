package cli_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// client is OpenSSH's client, with cloudssh as its proxy.
type client struct {
	w     *world
	flags string   // of the proxy
	args  []string // of ssh, before the host
}

// openssh makes the key, as `cloudssh config write` does: ssh looks for it
// before it starts its proxy.
func (w *world) openssh(t *testing.T, flags string, args ...string) client {
	t.Helper()
	if _, err := os.Stat(filepath.Join(w.home, "cloudssh", "id_ed25519")); err != nil {
		w.cloudssh(t, "sessions").demand(t, 0)
	}
	return client{w: w, flags: flags, args: args}
}

// command is ssh with these arguments after its options.
func (c client) command(args ...string) *exec.Cmd {
	dir := filepath.Join(c.w.home, "cloudssh")
	all := []string{
		"-F", "none", "-o", "ProxyCommand=cloudssh proxy " + c.flags + " %h", "-i", filepath.Join(dir, "id_ed25519"),
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
	}
	cmd := exec.Command("ssh", slices.Concat(all, c.args, args)...)
	cmd.Env = c.w.env
	return cmd
}

// run runs ssh to its end.
func (c client) run(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	cmd := c.command(args...)
	errs, err := os.CreateTemp(t.TempDir(), "") // no pipe: the proxy has it too, and is not waited for
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, errs
	_ = cmd.Run() // the status is read from ProcessState
	said, err := os.ReadFile(errs.Name())
	if err != nil {
		t.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: string(said)}
}

// session starts a command that says it has begun, and goes on until its input
// ends.
func (c client) session(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := c.command("hello", "echo begun; cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("begun\n"))); err != nil {
		t.Fatalf("the command does not begin: %v", err)
	}
	return cmd
}

// proxies are the processes of this world that carry connections.
func (w *world) proxies(t *testing.T) (all []*os.Process) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		env, _ := os.ReadFile(file)                                          // it may have ended
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")) // the same
		words := strings.Split(string(args), "\x00")
		if len(words) < 2 || words[1] != "proxy" || !slices.Contains(strings.Split(string(env), "\x00"), "HOME="+w.home) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// proxied waits until the proxies have ended, and demands that only these
// services are left.
func (w *world) proxied(t *testing.T, want ...string) {
	t.Helper()
	for _, p := range w.proxies(t) {
		gone(t, p, patience)
	}
	w.within(t, patience, want...)
}

// TestProxy: what a command says and how it ends goes through, nothing of ours
// does, and the twin is deleted.
func TestProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "")
	r := ssh.run(t, strings.NewReader("in\n"), "hello", "cat; echo err >&2; exit 3")
	if r.code != 3 || r.stdout != "in\n" || r.stderr != "err\n" {
		t.Errorf("%+v", r)
	}
	w.proxied(t, "hello")
	known := w.knownHosts(t)
	if !strings.HasPrefix(known, "hello ssh-ed25519 ") || strings.Count(known, "\n") != 1 {
		t.Errorf("known hosts: %q", known)
	}
	aloud := w.openssh(t, "--progress --host-prefix twin-of- --host-key-alias h")
	aloud.args = []string{"-o", "HostKeyAlias=h"}
	r = aloud.run(t, nil, "Twin-Of-hello."+w.Region+"."+w.Project, "true")
	r.demand(t, 0, "waiting for Ready", "connecting to hello-ssh")
	w.proxied(t, "hello")
	if known = w.knownHosts(t); strings.Count(known, "\n") != 2 || !strings.Contains(known, "\nh ssh-ed25519 ") {
		t.Errorf("known hosts: %q", known)
	}
}

func (w *world) knownHosts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.home, "cloudssh", "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProxyRefuses: one sentence and a hint, before anything is made.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "")
	for host, want := range map[string]string{
		"nosuch":             "nosuch",
		"hello.nowhere1":     "nowhere1",
		"hello_world":        "hello_world",
		"hello.us-central1.": "project",
	} {
		r := ssh.run(t, nil, host, "true")
		r.demand(t, 255, "error: ", want, "hint: ")
	}
	w.cloudssh(t, "proxy", "--", "-x").demand(t, 255, "error: ")
	w.cloudssh(t, "proxy").demand(t, 2, "one host")
	w.cloudssh(t, "proxy", "hello", "--host-key-alias", "*").demand(t, 2, "--host-key-alias")
	m := w.terminal(t, "proxy", "hello")
	m.shows("cloudssh config write")
	if code := m.wait(); code != 255 {
		t.Errorf("on a terminal: %d\n%s", code, m.text())
	}
	w.demandOnly(t, "hello")
}

// TestProxyCarries 50 MB both ways, while the network is cut under it.
func TestProxyCarries(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	l := s.lay("hello", w.Addr)
	ssh := w.openssh(t, "")
	const size = 50 << 20
	sum := sha256.New()
	cuts := &reads{Reader: io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sum), every: size / 4, f: l.cut}
	cmd := ssh.command("hello", "cat")
	back := sha256.New()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cuts, back, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprintf("%x", back.Sum(nil)), fmt.Sprintf("%x", sum.Sum(nil)); got != want {
		t.Errorf("the checksum is %s, want %s", got, want)
	}
	if l.count() < 4 {
		t.Errorf("%d wires carried it", l.count())
	}
	w.proxied(t, "hello")
}

// reads calls f after every so many bytes.
type reads struct {
	io.Reader
	every, n int
	f        func()
}

func (r *reads) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.n += n; r.n >= r.every {
		r.n = 0
		r.f()
	}
	return n, err
}

// TestProxiesTogether join one twin, and the last of them deletes it.
func TestProxiesTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "")
	// Each comes while others leave.
	results := make(chan result)
	const many = 4
	for n := range many {
		go func() {
			<-time.After(time.Duration(n) * 100 * time.Millisecond)
			results <- ssh.run(t, nil, "hello", "echo ok")
		}()
	}
	for range many {
		if r := <-results; r.code != 0 || r.stdout != "ok\n" || r.stderr != "" {
			t.Errorf("%+v", r)
		}
	}
	w.proxied(t, "hello")
	w.demandNoLogs(t)
}

// TestProxyKilled: whoever is killed, the twin goes.
func TestProxyKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "")
	t.Run("ssh", func(t *testing.T) {
		cmd := ssh.session(t)
		_ = cmd.Process.Kill()
		w.proxied(t, "hello")
	})
	for name, signal := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGHUP": syscall.SIGHUP} {
		t.Run("proxy by "+name, func(t *testing.T) {
			ssh.session(t)
			for _, p := range w.proxies(t) {
				if err := p.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			w.proxied(t, "hello")
		})
	}
	w.demandNoLogs(t)
}

// TestProxyKilledWithOthers: the connection of a proxy that was killed does not
// keep the twin once the others are gone.
func TestProxyKilledWithOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "")
	ssh.session(t)
	killed := w.proxies(t)
	other := ssh.session(t)
	guard := guardOf(t, killed[0].Pid)
	_ = killed[0].Kill()
	gone(t, guard, patience)
	w.demandOnly(t, "hello", "hello-ssh")
	_ = other.Process.Signal(syscall.SIGTERM)
	w.proxied(t, "hello")
}

// TestProxyKeeps: --keep leaves the twin, and each ssh finds it again; when its
// instance was replaced, the new host key takes the place of the old one.
func TestProxyKeeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "--keep")
	ssh.run(t, nil, "hello", "true").demand(t, 0)
	w.proxied(t, "hello", "hello-ssh")
	before := w.knownHosts(t)
	if r := ssh.run(t, nil, "hello", "kill -TERM 1; sleep 1000"); r.code != 255 || strings.Count(r.stderr, "error: ") > 1 {
		t.Errorf("%+v", r)
	}
	w.proxied(t, "hello", "hello-ssh")
	ssh.run(t, nil, "hello", "true").demand(t, 0)
	w.proxied(t, "hello", "hello-ssh")
	if after := w.knownHosts(t); after == before || strings.Count(after, "\n") != 1 {
		t.Errorf("known hosts: before %q, after %q", before, after)
	}
	w.cloudssh(t, "cleanup", "--yes").demand(t, 0)
	w.demandOnly(t, "hello")
}

// TestProxyOfAMaster: many sessions over one connection, which stays a while
// after the last of them.
func TestProxyOfAMaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	ssh := w.openssh(t, "", "-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", "ControlPath="+filepath.Join(stateDir(t), "%n"))
	t.Cleanup(func() {
		if t.Failed() {
			_ = ssh.command("-O", "exit", "hello").Run() // it may have ended
		}
	})
	ssh.run(t, nil, "hello", "true").demand(t, 0)
	if r := ssh.run(t, strings.NewReader("again"), "hello", "cat"); r.code != 0 || r.stdout != "again" {
		t.Errorf("%+v", r)
	}
	if n := len(w.proxies(t)); n != 1 {
		t.Errorf("%d proxies", n)
	}
	w.demandOnly(t, "hello", "hello-ssh")
	ssh.run(t, nil, "-O", "exit", "hello").demand(t, 0)
	w.proxied(t, "hello")
}
