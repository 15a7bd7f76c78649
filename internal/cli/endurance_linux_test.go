package cli_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// endurance is a set of sessions in bad weather: one twin, whose requests the
// platform cuts early, behind a line that loses, cuts and moves.
type endurance struct {
	world   *world
	line    *line
	size    int64         // of a transfer, in bytes
	timeout time.Duration // of requests
	length  time.Duration // of the weather
	every   time.Duration // between two cuts, on average
	hole    time.Duration // length of a black hole
	sleep   time.Duration // of the machine
	over    chan struct{} // closed when the weather is

	starting sync.RWMutex // held while a session starts; a black hole waits for that

	mu      sync.Mutex
	clients []int // process ids
	cuts    int
}

// TestEndurance: transfers, an editor, a forwarded port and an idle shell live
// through cuts, a black hole, a machine that sleeps, a change of address and an
// agent that is short of memory, with nothing lost and the same screens.
// CLOUDSSH_SOAK=1 makes it 15 minutes (make soak).
func TestEndurance(t *testing.T) {
	s := newStage()
	e := &endurance{
		size: 24 << 20, timeout: 3 * time.Second, length: 8 * time.Second, every: 400 * time.Millisecond,
		hole: 2 * time.Second, sleep: time.Second, over: make(chan struct{}),
	}
	if os.Getenv("CLOUDSSH_SOAK") != "" {
		e.size, e.timeout, e.length, e.every = 1<<30, 20*time.Second, 15*time.Minute, 5*time.Second
		e.hole, e.sleep = time.Minute, 45*time.Second
	}
	e.world = newWorld(t, emulator.Options{RequestTimeoutCap: e.timeout, Faults: s.faults()})
	e.line = s.lay("hello", e.world.Addr)
	// One session holds the twin for all of them.
	holder := e.start(t, nil, "cat")

	var running sync.WaitGroup
	for name, f := range map[string]func(*testing.T){
		"download": e.download, "upload": e.upload, "editor": e.editor, "idle shell": e.idleShell,
		"forwarded port": e.port, "memory": e.memoryPressure,
	} {
		running.Go(func() { t.Run(name, f) })
	}
	e.weather(t.Context())
	close(e.over)
	running.Wait()
	_ = holder.stdin.Close()
	holder.wait().demand(t, 0)
	t.Logf("%d cuts, %d connections for the sessions; the holder said:\n%s", e.cuts, e.line.count(), holder.stderr.String())
	e.world.demandOnly(t, "hello")
}

// weather is what happens to the line and to the machine. It ends calm.
func (e *endurance) weather(ctx context.Context) {
	end := time.After(e.length)
	hole, move, sleep := time.After(e.length/5), time.After(e.length*2/3), time.After(e.length*3/4)
	for {
		pause := time.Duration(rand.Int64N(int64(2 * e.every)))
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-time.After(pause):
			e.cuts++
			e.line.cut()
		case <-hole:
			e.blackHole()
		case <-move:
			e.line.move()
		case <-sleep:
			e.signal(syscall.SIGSTOP)
			<-time.After(e.sleep)
			e.signal(syscall.SIGCONT)
		}
	}
}

// blackHole loses everything for a while. It is about sessions that live:
// none starts meanwhile.
func (e *endurance) blackHole() {
	e.starting.Lock()
	defer e.starting.Unlock()
	e.line.stop()
	<-time.After(e.hole)
	e.line.start()
}

// signal sends a signal to all clients, as a machine that sleeps stops them.
func (e *endurance) signal(s syscall.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, pid := range e.clients {
		_ = syscall.Kill(pid, s) // one that has ended needs none
	}
}

// note makes a client share the machine's sleep.
func (e *endurance) note(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients = append(e.clients, pid)
}

// calm reports whether the weather is over.
func (e *endurance) calm() bool {
	select {
	case <-e.over:
		return true
	default:
		return false
	}
}
