package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

const (
	// grace is what containers have between SIGTERM and SIGKILL.
	grace = 10 * time.Second
	// drainTimeout is how long what the containers sent before they ended may take to reach the clients.
	drainTimeout = 5 * time.Second
	// cleanTimeout bounds the removal of a sandbox.
	cleanTimeout = time.Minute
)

// Why an instance ends, beside an ExitError and a livenessError.
var (
	errStop = errors.New("the instance is shut down") // with grace
	errKill = errors.New("the instance is killed")
)

// A livenessError is a container that failed its liveness probe.
type livenessError struct{ probeError }

// An instance is one sandbox with the revision's containers. Its life is run: start, wait for a reason to end, clean up.
type instance struct {
	id        string
	revision  *revision
	transport *http.Transport

	// life ends, with its cause, when the instance shall end or one of its containers has.
	life context.Context //nolint:containedctx // the life of the instance, which no call has
	end  context.CancelCauseFunc
	// hurry ends when there is no time for grace.
	hurry context.Context //nolint:containedctx // see life
	kill  context.CancelFunc
	// open ends when connections to the instance are cut.
	open context.Context //nolint:containedctx // see life
	cut  context.CancelFunc

	provisioned chan struct{} // closed when the sandbox is there
	settled     chan struct{} // closed when the instance has started or has not
	over        chan struct{} // closed when nothing is left of it
	err         error         // why it did not start; valid after settled

	wg      sync.WaitGroup // all that runs for the instance
	sandbox runtime.Sandbox
	closers []func() error // what the instance holds beside the sandbox

	procsMu  sync.Mutex
	procs    []runtime.Process
	finished int // of a task's main containers

	// Guarded by revision.mu.
	ready    bool
	inflight int
	drained  chan struct{} // closed at the end of the last request, once someone waits for that
	idle     *time.Timer
}

func newInstance(r *revision) *instance {
	i := &instance{
		id:          newInstanceID(),
		revision:    r,
		provisioned: make(chan struct{}),
		settled:     make(chan struct{}),
		over:        make(chan struct{}),
	}
	i.life, i.end = context.WithCancelCause(context.Background())
	i.hurry, i.kill = context.WithCancel(context.Background())
	i.open, i.cut = context.WithCancel(context.Background())
	i.transport = i.newTransport()
	return i
}

// run is the life of the instance.
func (i *instance) run() {
	r := i.revision
	i.err = i.start(i.life)
	close(i.settled)
	if i.err == nil {
		r.started(i)
		i.watchLiveness()
		<-i.life.Done()
	}
	cause := context.Cause(i.life)
	if i.err != nil && cause == nil {
		cause = i.err
	}
	i.end(cause)
	if !errors.Is(cause, errStop) {
		r.lost(i, i.err == nil)
	}
	if i.err != nil {
		r.explain(i.err)
	}
	i.terminate(i.err == nil && errors.Is(cause, errStop))
	i.drain()
	err := i.clean()
	r.gone(i, err)
	close(i.over)
}

// start makes the sandbox and starts the containers.
func (i *instance) start(ctx context.Context) error {
	r := i.revision
	containers, err := i.prepare(ctx)
	if err != nil {
		return err
	}
	hosts := map[string]string{"metadata.google.internal": metadataIP, "metadata": metadataIP}
	for _, c := range r.plan.containers {
		hosts[c.name] = "127.0.0.1"
	}
	i.sandbox, err = r.fleet.o.Runtime.Sandbox(ctx, runtime.SandboxSpec{ID: shortID(i.id), Hosts: hosts})
	if err != nil {
		return fmt.Errorf("making the sandbox of an instance: %w", err)
	}
	reachable, err := i.serveMetadata(ctx)
	if err != nil {
		return err
	}
	for n := range containers {
		if spec := &containers[n].spec; reachable && !isSet(spec.Env, apiVariable) {
			spec.Env = append(spec.Env, apiVariable+"="+apiAddress)
		}
	}
	close(i.provisioned)
	return i.startContainers(ctx, containers)
}

// alive tells whether the instance can take requests. The revision's mu is held.
func (i *instance) alive() bool { return i.ready && i.life.Err() == nil }

// watchLiveness runs the liveness probes. The first that fails ends the instance.
func (i *instance) watchLiveness() {
	for _, c := range i.revision.plan.containers {
		if c.liveness == nil {
			continue
		}
		i.wg.Go(func() {
			err := c.liveness.whileAlive(i.life, i.sandbox.Dial)
			if i.life.Err() == nil {
				i.revision.log.printf("LIVENESS %s probe failed %d times consecutively for container %q on %s. The instance has been shut down.",
					c.liveness.kind, c.liveness.threshold, c.name, c.liveness)
				i.end(&livenessError{probeError{c.name, c.liveness, err}})
			}
		})
	}
}

// terminate ends the containers, by SIGTERM first if there is grace, and returns when they have ended.
func (i *instance) terminate(gracefully bool) {
	i.procsMu.Lock()
	procs := i.procs
	i.procsMu.Unlock()
	if gracefully {
		i.signal(procs, syscall.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		if ended(procs, timer.C, i.hurry.Done()) {
			return
		}
	}
	i.signal(procs, syscall.SIGKILL)
	timer := time.NewTimer(cleanTimeout)
	defer timer.Stop()
	ended(procs, timer.C, nil) // else closing the sandbox says why
}

func (i *instance) signal(procs []runtime.Process, sig syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(i.life), cleanTimeout)
	defer cancel()
	for _, p := range procs {
		if err := p.Signal(ctx, sig); err != nil {
			i.revision.fleet.o.Logger.Warn("signalling a container", "revision", i.revision.rev.Name, "signal", int(sig), "error", err)
		}
	}
}

// ended waits for processes, until either channel says to stop waiting.
func ended(procs []runtime.Process, timeout <-chan time.Time, hurry <-chan struct{}) bool {
	for _, p := range procs {
		select {
		case <-p.Done():
		case <-timeout:
			return false
		case <-hurry:
			return false
		}
	}
	return true
}

// drain waits until the last bytes of the containers have reached their clients, but not for ever, and cuts all connections.
func (i *instance) drain() {
	defer i.cut()
	r := i.revision
	r.mu.Lock()
	if i.inflight == 0 {
		r.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	i.drained = drained
	r.mu.Unlock()
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	case <-i.hurry.Done():
	}
}

// signalDrained is called at the end of the last request. The revision's mu is held.
func (i *instance) signalDrained() {
	if i.drained != nil {
		close(i.drained)
		i.drained = nil
	}
}

// clean removes all that the instance made.
func (i *instance) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(i.life), cleanTimeout)
	defer cancel()
	i.transport.CloseIdleConnections()
	var errs []error
	for _, closer := range i.closers {
		errs = append(errs, closer())
	}
	var err error
	if i.sandbox != nil {
		err = i.sandbox.Close(ctx)
	}
	if err == nil {
		i.wg.Wait() // nothing runs that it could wait for
	}
	i.kill()
	errs = append(errs, err)
	errs = append(errs, os.RemoveAll(i.revision.fleet.files.instance(i.id)))
	return errors.Join(errs...)
}

// rest starts the time after which an instance without requests is shut down. The revision's mu is held.
func (i *instance) rest() {
	i.stopResting()
	var timer *time.Timer
	timer = time.AfterFunc(i.revision.fleet.o.IdleTimeout, func() {
		r := i.revision
		r.mu.Lock()
		defer r.mu.Unlock()
		if i.idle == timer && len(r.instances) > r.min {
			r.retire(i)
		}
	})
	i.idle = timer
}

func (i *instance) stopResting() {
	if i.idle != nil {
		i.idle.Stop()
		i.idle = nil
	}
}

// dial connects to the port of the ingress container.
func (i *instance) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return i.sandbox.Dial(ctx, i.revision.plan.port)
}
