package cli_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestStatusComesLast: the exit status is the command's, and nothing of what it
// wrote before is missing when it arrives.
func TestStatusComesLast(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	w.cloudssh(t, "hello", "--keep", "--exec", "true").demand(t, 0) // one twin for all of them
	for _, c := range []struct {
		name, command string
		args          []string
		code          int
		want          func(t *testing.T, r result)
	}{
		{name: "two million lines", command: "seq 1 2000000; exit 7", code: 7, want: func(t *testing.T, r result) {
			t.Helper()
			demandSum(t, r.stdout, sumOfLines(2_000_000))
		}},
		{
			name: "many lines on a terminal", args: []string{"--tty"}, command: "seq 1 200000; exit 8", code: 8,
			want: func(t *testing.T, r result) {
				t.Helper()
				demandSum(t, strings.ReplaceAll(r.stdout, "\r\n", "\n"), sumOfLines(200_000))
			},
		},
		{
			name: "binary", command: "head -c 20000000 /dev/urandom >/tmp/b; sha256sum /tmp/b >&2; cat /tmp/b; rm /tmp/b; exit 9", code: 9,
			want: func(t *testing.T, r result) {
				t.Helper()
				demandSum(t, r.stdout, lineWith(r.stderr, "  /tmp/b"))
			},
		},
		{name: "every byte", command: `i=0; while [ $i -lt 256 ]; do printf "\\$(printf %o $i)"; i=$((i+1)); done`, want: everyByte},
		{
			name: "a child holds the terminal", args: []string{"--tty"}, code: 10,
			command: `trap "" HUP; sleep 1000 & echo held; seq 1 100000; exit 10`, want: func(t *testing.T, r result) {
				t.Helper()
				demandSum(t, strings.TrimPrefix(strings.ReplaceAll(r.stdout, "\r\n", "\n"), "held\n"), sumOfLines(100_000))
			},
		},
		{
			name: "stdout closed, goes on", command: "echo before; exec >&-; head -c 50000000 /dev/zero | sha256sum >/tmp/sum; exit 11", code: 11,
			want: demandOut("before\n"),
		},
		{
			name: "both closed, goes on", command: "echo before; exec >&- 2>&-; head -c 50000000 /dev/zero | sha256sum >/tmp/sum2; exit 12", code: 12,
			want: demandOut("before\n"),
		},
		{name: "kills itself", command: "seq 1 100000; kill -9 $$", code: 137, want: func(t *testing.T, r result) {
			t.Helper()
			demandSum(t, r.stdout, sumOfLines(100_000))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := w.cloudssh(t, append([]string{"hello", "--quiet", "--exec", c.command}, c.args...)...)
			r.demand(t, c.code)
			c.want(t, r)
		})
	}
}

func demandOut(want string) func(*testing.T, result) {
	return func(t *testing.T, r result) {
		t.Helper()
		if r.stdout != want {
			t.Errorf("stdout %q, want %q", r.stdout, want)
		}
	}
}

func everyByte(t *testing.T, r result) {
	t.Helper()
	want := make([]byte, 256)
	for i := range want {
		want[i] = byte(i)
	}
	demandOut(string(want))(t, r)
}

// demandSum checks what came against a SHA-256, whose hexadecimal form sum
// begins with.
func demandSum(t *testing.T, got, sum string) {
	t.Helper()
	h := sha256.Sum256([]byte(got))
	if len(sum) < 64 || hex.EncodeToString(h[:]) != sum[:64] {
		t.Errorf("%d bytes arrived, whose sum is %x, not %s", len(got), h, sum)
	}
}

// lineWith is the line of a text that ends so; cloudssh may have warned before
// and after.
func lineWith(text, end string) string {
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimSpace(line), end) {
			return line
		}
	}
	return ""
}

// sumOfLines is the SHA-256 of what `seq 1 n` prints.
func sumOfLines(n int) string {
	h := sha256.New()
	for i := range n {
		fmt.Fprintf(h, "%d\n", i+1)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestStatusOfKilled: a command that somebody else ends, and one that the
// kernel ends because it takes all the memory. The session goes on.
func TestStatusOfKilled(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	c := w.start(t, "hello", "--memory", "512Mi", "--exec", "echo $$ >/tmp/pid; echo started >&2; sleep 1000; exit 1")
	c.until("started")
	w.cloudssh(t, "hello", "--memory", "512Mi", "--exec", "kill -TERM -$(cat /tmp/pid)").demand(t, 0)
	c.wait().demand(t, 143)

	r := w.cloudssh(t, "hello", "--memory", "512Mi", "--exec", "dd if=/dev/zero of=/dev/null bs=700M count=1; echo status $?; exit 13")
	r.demand(t, 13)
	if r.stdout != "status 137\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	w.cloudssh(t, "hello", "--memory", "512Mi", "--exec", "exec dd if=/dev/zero of=/dev/null bs=700M count=1").demand(t, 137)
	w.demandOnly(t, "hello")
}

// TestNoStatus: what ends under a command is named, and whether the command
// may be run again.
func TestNoStatus(t *testing.T) {
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	l := s.lay("hello", w.Addr)

	t.Run("the instance is stopped", func(t *testing.T) {
		c := w.start(t, "hello", "--exec", "echo started >&2; sleep 1000")
		c.until("started")
		w.deleteTwin(t, "hello-ssh")
		r := c.wait()
		r.demand(t, 255, "the instance was stopped, and the command with it")
		if strings.Contains(r.stderr, "may still be running") {
			t.Errorf("the command is gone, and the user is told:\n%s", r.stderr)
		}
		w.demandOnly(t, "hello")
	})
	t.Run("the instance is gone", func(t *testing.T) {
		mark := rand.Text()
		c := w.start(t, "hello", "--set-env-vars", "MARK="+mark, "--exec", "echo started >&2; sleep 1000")
		c.until("started")
		for _, pid := range processesWith(t, "MARK="+mark, "cloudssh-agent") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		c.wait().demand(t, 255, "the command")
		w.demandOnly(t, "hello")
	})
	t.Run("the twin was deleted during an outage", func(t *testing.T) {
		c := w.start(t, "hello", "--exec", "echo started >&2; sleep 1000")
		c.until("started")
		l.move()
		w.deleteTwin(t, "hello-ssh")
		l.cut()
		c.wait().demand(t, 255, "the command")
		w.demandOnly(t, "hello")
	})
	t.Run("it never started", func(t *testing.T) {
		w.cloudssh(t, "hello", "--", "/no/such/program").demand(t, 127, "/no/such/program")
		w.demandOnly(t, "hello")
	})
}

// deleteTwin deletes a service, as somebody in the console might.
func (w *world) deleteTwin(t *testing.T, service string) {
	t.Helper()
	op, err := w.client.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: w.parent() + "/services/" + service})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// processesWith finds this machine's processes, those in containers included,
// by a variable of their environment and a word of their command line.
func processesWith(t *testing.T, variable, word string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		env, _ := os.ReadFile(filepath.Join(dir, "environ")) // a process that has just ended has none
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if !strings.Contains("\x00"+string(env), "\x00"+variable+"\x00") || !strings.Contains(string(args), word) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
