package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// patience is how long a test waits for what comes by itself, on a machine that
// may have much else to do.
const patience = 3 * time.Minute

// guardOf is the process that guards the twin of a client that runs.
func guardOf(t *testing.T, client int) *os.Process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // state, parent
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(strings.Fields(rest)) < 2 || strings.Fields(rest)[1] != fmt.Sprint(client) {
			continue
		}
		if slices.Contains(strings.Split(string(args), "\x00"), "guard") {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			p, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatal("nobody guards the twin")
	return nil
}

// gone waits until a process that is not our child has ended. Who inherits it
// may be slow to bury it: a zombie is gone.
func gone(t *testing.T, p *os.Process, within time.Duration) {
	t.Helper()
	limit := time.After(within)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-limit:
			t.Fatalf("process %d goes on after %s", p.Pid, within)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// noGuards demands that all guards of this world have ended, or do soon.
func (w *world) noGuards(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		env, _ := os.ReadFile(file) // it may have ended
		args, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		words := strings.Split(string(args), "\x00")
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), "HOME="+w.home) || len(words) < 2 || words[1] != "guard" {
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
		if t.Failed() { // it may well hold what the test did not end
			_ = p.Kill()
		}
		gone(t, p, patience)
	}
}

// within waits until only these services are left.
func (w *world) within(t *testing.T, limit time.Duration, want ...string) {
	t.Helper()
	end := time.Now().Add(limit)
	for !slices.Equal(w.services(t), want) {
		if time.Now().After(end) {
			t.Fatalf("services %q after %s, want %q", w.services(t), limit, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// TestKilledClient: kill -9, and the twin goes all the same; nothing of the
// guard stays, its log included.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	c := w.start(t, "hello", "--exec", "echo in the session >&2; cat")
	c.until("in the session")
	guard := guardOf(t, c.cmd.Process.Pid)
	c.signal(syscall.SIGKILL)
	<-c.done
	w.within(t, patience, "hello")
	gone(t, guard, patience)
	w.demandNoLogs(t)
}

// demandNoLogs: what a guard has to say stays, once it has ended, only when
// something went wrong.
func (w *world) demandNoLogs(t *testing.T) {
	t.Helper()
	w.noGuards(t)
	logs, err := filepath.Glob(filepath.Join(w.home, ".local", "state", "cloudssh", "guard-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		t.Errorf("%s is left (%v):\n%s", name, err, text)
	}
}

// TestKilledWhileCreating: the guard knows of a twin before the platform does.
func TestKilledWhileCreating(t *testing.T) {
	t.Parallel()
	h := &holds{}
	w := newWorld(t, emulator.Options{Faults: h.faults()})
	h.ready.Store(true)
	c := w.start(t, "hello", "--exec", "true")
	c.until("waiting for Ready")
	c.signal(syscall.SIGKILL)
	<-c.done
	w.within(t, patience, "hello")
}

// TestKilledWithOthers: another session in the twin goes on, and takes it down.
func TestKilledWithOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	a := w.start(t, "hello", "--exec", "echo session A >&2; cat")
	a.until("session A")
	b := w.start(t, "hello", "--exec", "echo session B >&2; cat")
	b.until("session B")
	guard := guardOf(t, a.cmd.Process.Pid)
	a.signal(syscall.SIGKILL)
	<-a.done
	gone(t, guard, patience)
	w.demandOnly(t, "hello", "hello-ssh")
	_ = b.stdin.Close()
	b.wait().demand(t, 0)
	w.demandOnly(t, "hello")
}

// TestKilledGroup: the guard is not in the process group of its session, nor
// does a closed terminal reach it.
func TestKilledGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("# ")
	guard := guardOf(t, m.cmd.Process.Pid)
	if err := syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.done
	w.within(t, patience, "hello")
	gone(t, guard, patience)
}

// TestKilledWithItsGuard: as when the machine dies. The instance ends at its
// idle limit, and cleanup finds the twin.
func TestKilledWithItsGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	c := w.start(t, "hello", "--idle-timeout", "1s", "--exec", "echo in the session >&2; cat")
	c.until("in the session")
	if err := guardOf(t, c.cmd.Process.Pid).Kill(); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGKILL)
	<-c.done
	list := w.cloudssh(t, "list")
	if !strings.Contains(list.stdout, "hello-ssh") {
		t.Errorf("list: %q", list.stdout)
	}
	w.logs(t, "hello-ssh", "Container called exit(0).")
	w.demandOnly(t, "hello", "hello-ssh")
	w.cloudssh(t, "cleanup", "--yes").demand(t, 0)
	w.demandOnly(t, "hello")
}

// TestGuardOfAnotherTwin: the twin that a guard holds is deleted, and made again
// before the guard comes back to it. The new one, in which nobody is yet, is not
// the guard's to ask and to delete.
func TestGuardOfAnotherTwin(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	m := w.terminal(t, "hello")
	m.shows("# ")
	guard := guardOf(t, m.cmd.Process.Pid)
	m.types("\r~d")
	if code := m.wait(); code != 0 {
		t.Fatalf("detaching ends with %d:\n%s", code, m.text())
	}
	for s.dialsOf("hello") < 2 { // the session's, and the guard's
		<-time.After(20 * time.Millisecond)
	}
	again := s.arm("hello", placeDial, 0)
	t.Cleanup(again.free)
	w.deleteTwin(t, "hello-ssh")
	<-again.reached
	w.cloudssh(t, "hello", "--keep", "--exec", "true").demand(t, 0)
	made := w.twin(t)
	again.free()
	gone(t, guard, patience)
	w.cloudssh(t, "hello", "--keep", "--exec", "true").demand(t, 0, "joining")
	if now := w.twin(t); now.GetUid() != made.GetUid() {
		t.Errorf("the twin that was made has been replaced by %s", now.GetUid())
	}
}

// twin is hello's.
func (w *world) twin(t *testing.T) *runpb.Service {
	t.Helper()
	s, err := w.client.GetService(t.Context(), &runpb.GetServiceRequest{Name: w.parent() + "/services/hello-ssh"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNoGuard: a session does without one, and says so.
func TestNoGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	w.env = append(w.env, "XDG_STATE_HOME=/dev/null")
	w.cloudssh(t, "hello", "--exec", "true").demand(t, 0) // without a place for its log
	w.demandOnly(t, "hello")
}
