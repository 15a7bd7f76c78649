package cli_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// The chaos matrix: what ends a client, in which phase of its session, and who
// else is there. Whatever it is, nothing may be left after the lease: no twin,
// no instance, no process, no file; and the target is as it was.
var (
	chaosSignals = []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT}
	chaosPhases  = []string{
		"find", "read", "push", "validate", "create", "ready", "dial", "handshake",
		"terminal", "exec", "transfer", "leave", "delete",
	}
	chaosSetups = []string{"one", "two", "detached"}
)

// chaos is one case of the matrix.
type chaos struct {
	signal       syscall.Signal
	phase, setup string
}

func (c chaos) String() string { return c.verb() + "-" + c.phase + "-" + c.setup }

func (c chaos) verb() string {
	return map[syscall.Signal]string{syscall.SIGKILL: "kill", syscall.SIGHUP: "hup", syscall.SIGTERM: "term", syscall.SIGINT: "int"}[c.signal]
}

// matrix is every case.
func matrix() (cases []chaos) {
	for _, setup := range chaosSetups {
		for _, phase := range chaosPhases {
			for _, signal := range chaosSignals {
				cases = append(cases, chaos{signal, phase, setup})
			}
		}
	}
	return cases
}

// sample is what CI runs of the matrix: each signal, and kill -9 with each
// setup, in phases that the seed chooses.
func sample(seed uint64) (cases []chaos) {
	order := rand.New(rand.NewPCG(seed, seed))
	phases := order.Perm(len(chaosPhases))
	for i, setup := range chaosSetups {
		for j, signal := range chaosSignals {
			if n := i*len(chaosSignals) + j; setup == "one" || signal == syscall.SIGKILL {
				cases = append(cases, chaos{signal, chaosPhases[phases[n%len(phases)]], setup})
			}
		}
	}
	return cases
}

// TestChaos runs a sample of the matrix, and all of it with CLOUDSSH_CHAOS=1
// (make chaos). CLOUDSSH_CHAOS_SEED chooses another sample.
func TestChaos(t *testing.T) {
	all := os.Getenv("CLOUDSSH_CHAOS") != ""
	seed := uint64(5)
	if text := os.Getenv("CLOUDSSH_CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	cases := sample(seed)
	if all {
		cases = matrix()
	}
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	results := &chaosResults{took: map[chaos]time.Duration{}}
	// Most of a case is waiting: for a lease, for an answer that a hook holds.
	busy := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for _, c := range cases {
		running.Go(func() {
			t.Run(c.String(), func(t *testing.T) {
				home := t.TempDir()
				r := &chaosRun{chaos: c, t: t, stage: s, world: w.apart(t, home), home: home, target: c.String(), busy: busy, lease: all}
				r.run()
				if !t.Failed() {
					results.note(c, r.took)
				}
			})
		})
	}
	running.Wait()
	if all {
		t.Log("\n" + results.table())
	}
	w.demandOnly(t, "hello")
}

// TestGuardOfDeadEmulator: when the local Cloud Run ends, and the client is
// killed, there is nothing to guard.
func TestGuardOfDeadEmulator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	c := w.start(t, "hello", "--exec", "echo in the session >&2; cat")
	c.until("in the session")
	guard := guardOf(t, c.cmd.Process.Pid)
	if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGKILL)
	<-c.done
	gone(t, guard, patience)
}

// apart is the same emulator for a user with a home of their own.
func (w *world) apart(t *testing.T, home string) *world {
	t.Helper()
	env := append(w.env[:len(w.env):len(w.env)], "HOME="+home,
		"CLOUDSSH_CONFIG_DIR="+home+"/config", "CLOUDSSH_STATE_DIR="+home+"/state", "XDG_STATE_HOME="+home+"/state",
		"CLOUDSDK_CONFIG="+home+"/gcloud", "TMPDIR="+home+"/tmp", "XDG_CONFIG_HOME="+filepath.Join(sharedState, "config"))
	if err := os.Mkdir(home+"/tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	return &world{Server: w.Server, client: w.client, env: env}
}

// chaosResults says how long it took until nothing was left.
type chaosResults struct {
	mu   sync.Mutex
	took map[chaos]time.Duration
}

func (r *chaosResults) note(c chaos, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took[c] = took
}

// table has a row for each phase and a column for each signal with each setup.
func (r *chaosResults) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "seconds until nothing was left (detached: until the lease or the user ended it)\n%-10s", "")
	for _, setup := range chaosSetups {
		for _, signal := range chaosSignals {
			fmt.Fprintf(&b, " %13s", chaos{signal: signal}.verb()+" "+setup)
		}
	}
	for _, phase := range chaosPhases {
		fmt.Fprintf(&b, "\n%-10s", phase)
		for _, setup := range chaosSetups {
			for _, signal := range chaosSignals {
				text := "-"
				if took, ok := r.took[chaos{signal, phase, setup}]; ok {
					text = fmt.Sprintf("%.1f", took.Seconds())
				}
				fmt.Fprintf(&b, " %13s", text)
			}
		}
	}
	return b.String()
}
