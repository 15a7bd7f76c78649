package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// editing opens a file in vi and returns the screen when it is drawn.
func (m *terminal) editing() string {
	m.t.Helper()
	m.shows("# ")
	m.types("vi /app/README\r")
	m.asked("The sample service")
	return m.edits()
}

// asked waits for an editor to show a text, and has it say again where it is. The
// shell before it asked the terminal where the cursor is, and if the editor was
// faster than the answer it takes that for a key, and complains.
func (m *terminal) asked(text string) {
	m.t.Helper()
	m.sees(text, func(s string) bool { return strings.Contains(s, text) })
	m.types("\x07")
}

// edits waits for vi's whole screen.
func (m *terminal) edits() string {
	m.t.Helper()
	full := func(s string) bool {
		lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
		return len(lines) == 24 && strings.Contains(s, "The sample service") && strings.Contains(lines[23], "README")
	}
	m.sees("vi's screen", full)
	return m.text()
}

func (m *terminal) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.screen.String()
}

// leaves ends vi and the shell, and demands the shell's status.
func (m *terminal) leaves() {
	m.t.Helper()
	m.types(":q!\r")
	m.sees("the prompt", func(s string) bool { return !strings.Contains(s, "The sample service") })
	m.types("exit 9\r")
	if code := m.wait(); code != 9 {
		m.t.Errorf("exit code %d, want 9:\n%s", code, m.text())
	}
}

// demandScreen demands that a screen is what it was.
func demandScreen(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("the screen is\n%s\nand was\n%s", got, want)
	}
}

// sessionsOf are the terminal sessions that `cloudssh sessions` lists.
func (w *world) sessionsOf(t *testing.T, args ...string) []listed {
	t.Helper()
	r := w.cloudssh(t, append([]string{"sessions", "--format", "json"}, args...)...)
	r.demand(t, 0)
	var list []listed
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("%v:\n%s", err, r.stdout)
	}
	return list
}

type listed struct {
	Session  int
	Twin     string
	Attached bool
	Until    time.Time
	Share    string
	Viewers  []string
}

// TestDetachAndAttach: ~d leaves a session, attach comes back to its screen,
// and its end is the twin's.
func TestDetachAndAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	before := m.editing()
	guard := guardOf(t, m.cmd.Process.Pid)
	m.types("\r~d")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	m.shows("session 1 goes on in hello-ssh until ")
	m.shows("this machine holds it while awake")
	m.shows("cloudssh attach hello")
	list := w.sessionsOf(t)
	if len(list) != 1 || list[0].Session != 1 || list[0].Twin != "hello-ssh" || list[0].Attached || list[0].Until.IsZero() {
		t.Errorf("sessions: %+v", list)
	}
	w.cloudssh(t, "cleanup").demand(t, 1, "hello-ssh (session 1, detached ")

	// The line that vi's cursor is on has changed with the Enter; the rest has not.
	n := w.terminal(t, "attach")
	demandScreen(t, n.edits(), before)
	if list := w.sessionsOf(t, "hello"); len(list) != 1 || !list[0].Attached {
		t.Errorf("sessions: %+v", list)
	}
	n.leaves()
	w.demandOnly(t, "hello")
	gone(t, guard, patience)
	w.demandNoLogs(t)
	w.cloudssh(t, "attach").demand(t, 255, "there is no session to come back to")
}

// TestLeaveBesideDetached: a session that ends beside one that waits leaves the
// twin to it, and to the guard that holds it already.
func TestLeaveBesideDetached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("# ")
	m.types("~d")
	m.wait()
	w.detached(t)
	c := w.start(t, "hello", "--exec", "echo in the session >&2; cat")
	c.until("in the session")
	guard := guardOf(t, c.cmd.Process.Pid)
	_ = c.stdin.Close()
	c.wait().demand(t, 0, "hello-ssh stays: 1 detached session in it; come back with: cloudssh attach hello")
	gone(t, guard, patience)
	n := w.terminal(t, "attach")
	n.shows("# ")
	n.types("exit\r")
	n.wait()
	w.demandOnly(t, "hello")
}

// TestPersist: with --persist a session outlives a client that is killed, and a
// terminal that is closed; without it nothing does.
func TestPersist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello", "--persist")
	before := m.editing()
	m.kill()
	w.detached(t)

	n := w.terminal(t, "attach", "hello", "--session", "1", "--persist")
	demandScreen(t, n.edits(), before)
	_ = n.tty.Close()
	_ = n.pty.Close() // the kernel sends SIGHUP
	<-n.done
	if code := n.cmd.ProcessState.ExitCode(); code != 129 {
		t.Errorf("exit code %d, want 129", code)
	}
	w.detached(t)

	o := w.terminal(t, "attach")
	demandScreen(t, o.edits(), before)
	o.leaves()
	w.demandOnly(t, "hello")
}

// kill is kill -9.
func (m *terminal) kill() {
	m.t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	<-m.done
}

// detached waits until the one session there is waits for a client.
func (w *world) detached(t *testing.T) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		list := w.sessionsOf(t)
		if len(list) == 1 && !list[0].Attached {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("sessions: %+v", list)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestPersistLeft: who leaves with ~. wants nothing kept.
func TestPersistLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello", "--persist")
	m.shows("# ")
	m.types("\r~.")
	if code := m.wait(); code != 255 {
		t.Errorf("exit code %d, want 255", code)
	}
	w.demandOnly(t, "hello")
}

// TestPersistEnds: a kept session that nobody comes back to ends with its
// grace, and its twin with it.
func TestPersistEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello", "--persist", "--idle-timeout", "2s")
	m.shows("# ")
	guard := guardOf(t, m.cmd.Process.Pid)
	m.kill()
	w.within(t, patience, "hello")
	gone(t, guard, patience)
}

// TestOffer: who opens a shell while a session waits is asked.
func TestOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	m.shows("# ")
	m.types("echo was $((40 + 2))\r")
	m.shows("was 42")
	m.types("~d")
	m.wait()

	n := w.terminal(t, "hello")
	n.shows("session 1 in hello-ssh was detached")
	n.shows("Join it? [y/N]")
	n.types("y\r")
	n.shows("was 42")
	n.types("exit\r")
	if code := n.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	w.demandOnly(t, "hello")
}

// TestTakeOver: a session that another terminal has goes where it is wanted.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	before := m.editing()
	r := w.cloudssh(t, "attach")
	r.demand(t, 255, "no session is detached", "cloudssh attach hello --session 1")
	n := w.terminal(t, "attach", "--session", "1")
	demandScreen(t, n.edits(), before)
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	m.shows("attached elsewhere")
	n.leaves()
	w.demandOnly(t, "hello")
}

// TestShare: a colleague joins with the command that was printed, as himself,
// and may do what he was allowed to.
func TestShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	bob := "bob@" + w.Project + ".iam.gserviceaccount.com"
	w.Grant(bob, "roles/run.developer")
	w.Grant("developer@"+w.Project+".iam.gserviceaccount.com", "roles/iam.serviceAccountTokenCreator")
	for _, mode := range []string{"read", "write"} {
		m := w.terminal(t, "hello", "--share="+mode)
		m.shows("is shared (" + mode + ")")
		m.shows("# ")
		m.types("echo from $((1 + 1))\r")
		m.shows("from 2")
		args := joinArgs(t, m.text())
		if slices.Contains(args, "--read-only") != (mode == "read") {
			t.Errorf("the command is %q", args)
		}
		n := (&world{Server: w.Server, client: w.client, env: w.elsewhere(t), home: w.home}).terminal(t, append(args, "--impersonate-service-account="+bob)...)
		n.shows("from 2")
		m.told("bob@")
		n.types("echo typed $((2 + 2))\r")
		if mode == "write" {
			m.shows("typed 4")
		}
		m.types("echo to all $((3 + 3))\r")
		n.shows("to all 6")
		if mode == "read" && strings.Contains(m.text(), "typed") {
			t.Errorf("a reader has typed:\n%s", m.text())
		}
		n.types("\r~.")
		n.wait()
		m.types("exit\r")
		if code := m.wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		w.demandOnly(t, "hello")
	}
}

// joinArgs are those of the command on a screen that a colleague types. The
// terminal has broken its line.
func joinArgs(t *testing.T, screen string) []string {
	t.Helper()
	lines := strings.Split(screen, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "cloudssh attach") })
	if i < 0 {
		t.Fatalf("no command to join with:\n%s", screen)
	}
	text := strings.Join(lines[i:i+2], "")
	command := regexp.MustCompile(`cloudssh (attach .*--session \d+( --read-only)?)`).FindStringSubmatch(text)
	if command == nil {
		t.Fatalf("no command to join with:\n%s", screen)
	}
	return strings.Fields(command[1])
}

// elsewhere is the environment of another machine: another home.
func (w *world) elsewhere(t *testing.T) []string {
	t.Helper()
	home := t.TempDir()
	t.Cleanup(func() { (&world{home: home}).noGuards(t) })
	return append(slices.Clone(w.env), "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, ".local", "state"), "CLOUDSSH_CONFIG_DIR="+home+"/cloudssh", "CLOUDSDK_CONFIG="+home+"/gcloud")
}

// TestAttachFromAnotherMachine: another key, the same account.
func TestAttachFromAnotherMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello")
	before := m.editing()
	m.types("\r~d")
	m.wait()
	other := &world{Server: w.Server, client: w.client, env: w.elsewhere(t), home: w.home}
	n := other.terminal(t, "attach")
	demandScreen(t, n.edits(), before)
	n.leaves()
	w.demandOnly(t, "hello")
}

// TestDetachedGuardEnds: asked to end, a guard stops holding the twin and leaves
// it to its limits.
func TestDetachedGuardEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello", "--idle-timeout", "10s") // in which the guard must take over
	m.shows("# ")
	guard := guardOf(t, m.cmd.Process.Pid)
	m.types("~d")
	m.wait()
	w.detached(t)
	if err := guard.Signal(os.Signal(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	gone(t, guard, patience)
	w.logs(t, "hello-ssh", "Container called exit(0).")
	w.cloudssh(t, "cleanup", "--yes").demand(t, 0)
	w.demandOnly(t, "hello")
}
