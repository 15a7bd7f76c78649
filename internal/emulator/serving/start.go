package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

const (
	metadataIP = "169.254.169.254"
	// apiAddress is where an instance reaches the Admin API. On the platform it would go to run.googleapis.com.
	apiAddress  = metadataIP + ":65080" // no port that an app would take
	apiVariable = "RUN_EMULATOR_HOST"
)

// serveMetadata starts the instance's metadata server, and the Admin API beside it, where the runtime can listen inside
// of a sandbox. reachable tells whether the API is there.
func (i *instance) serveMetadata(ctx context.Context) (reachable bool, err error) {
	r := i.revision
	if r.fleet.o.Metadata == nil {
		return false, nil
	}
	err = i.serveInside(ctx, metadataIP+":80", r.fleet.o.Metadata(r.rev, i.id))
	if errors.Is(err, errors.ErrUnsupported) {
		r.log.printf("There is no metadata server: runtime %s cannot listen inside of a sandbox.", r.fleet.o.Runtime.Name())
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("starting the metadata server of an instance: %w", err)
	}
	if r.fleet.o.API == nil {
		return false, nil
	}
	if err := i.serveInside(ctx, apiAddress, r.fleet.o.API); err != nil {
		return false, fmt.Errorf("starting the Admin API of an instance: %w", err)
	}
	return true, nil
}

// serveInside serves HTTP at an address that the containers reach.
func (i *instance) serveInside(ctx context.Context, address string, h http.Handler) error {
	l, err := i.sandbox.Listen(ctx, address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	i.wg.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			i.revision.fleet.o.Logger.Warn("serving an instance", "revision", i.revision.rev.Name, "address", address, "error", err)
		}
	})
	i.closers = append(i.closers, s.Close)
	return nil
}

// A prepared container is one that the runtime can start.
type prepared struct {
	*container
	spec    runtime.Container
	outputs []*lineWriter
}

// startContainers starts each container when those that it depends on have started, and returns when all have.
func (i *instance) startContainers(ctx context.Context, containers []prepared) error {
	ready := map[string]chan struct{}{}
	for _, c := range containers {
		ready[c.name] = make(chan struct{})
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range containers {
		g.Go(func() error {
			if err := i.unpack(gctx, c); err != nil {
				return err
			}
			for _, d := range c.container.spec.GetDependsOn() {
				select {
				case <-ready[d]:
				case <-gctx.Done():
					return context.Cause(gctx)
				}
			}
			if err := i.startContainer(gctx, c); err != nil {
				return err
			}
			close(ready[c.name])
			return nil
		})
	}
	return g.Wait()
}

// unpack uses the time in which a container waits for those that it depends on.
func (i *instance) unpack(ctx context.Context, c prepared) error {
	p, can := i.revision.fleet.o.Runtime.(runtime.Preparer)
	if !can || len(c.container.spec.GetDependsOn()) == 0 {
		return nil
	}
	if err := p.Prepare(ctx, c.image); err != nil {
		return fmt.Errorf("starting container %s: %w", c.name, err)
	}
	return nil
}

// startContainer starts one container and waits for its startup probe.
func (i *instance) startContainer(ctx context.Context, c prepared) error {
	p, err := i.sandbox.Start(ctx, c.spec)
	if err != nil {
		return err
	}
	i.procsMu.Lock()
	i.procs = append(i.procs, p)
	i.procsMu.Unlock()
	i.wg.Go(func() {
		<-p.Done()
		for _, w := range c.outputs {
			w.flush()
		}
		i.exited(c.container, p.Exit())
	})
	defer i.boost(c.container, p)()
	if c.startup == nil {
		return nil
	}
	attempts, err := c.startup.untilStarted(ctx, i.sandbox.Dial)
	if err == nil && i.life.Err() != nil {
		err = context.Cause(i.life) // what answered has ended
	}
	i.revision.logProbe(c.container, attempts, err)
	if err != nil && ctx.Err() == nil {
		return &probeError{c.name, c.startup, err}
	}
	return err
}

// boostTime is how long a container keeps the CPU of its start after it has started.
const boostTime = 10 * time.Second

// boost gives a container more CPU while it starts, if the service wants that and the runtime can. The function that it
// returns is called when the container has started. See
// https://docs.cloud.google.com/run/docs/configuring/services/cpu#startup-boost.
func (i *instance) boost(c *container, p runtime.Process) (started func()) {
	throttled, can := p.(runtime.Throttled)
	if !can || !c.spec.GetResources().GetStartupCpuBoost() {
		return func() {}
	}
	limit := func(cpus float64) {
		if err := throttled.LimitCPU(cpus); err != nil {
			i.revision.fleet.o.Logger.Warn("changing the CPU of a container", "revision", i.revision.rev.Name, "container", c.name, "error", err)
		}
	}
	limit(boosted(c.cpu))
	return func() {
		i.wg.Go(func() {
			if wait(i.life, boostTime) == nil {
				limit(c.cpu)
			}
		})
	}
}

// boosted is how many CPUs a container with a limit has while it starts.
func boosted(cpus float64) float64 {
	switch {
	case cpus <= 1:
		return 2
	case cpus <= 2:
		return 4
	default:
		return 8
	}
}

// prepare makes what the containers need before the runtime has to do with them.
func (i *instance) prepare(ctx context.Context) ([]prepared, error) {
	r := i.revision
	volumes, err := r.fleet.prepareVolumes(ctx, r.plan, i.id)
	if err != nil {
		return nil, err
	}
	var all []prepared
	for n, c := range r.plan.containers {
		p, err := i.prepareContainer(ctx, c, volumes)
		var secret *secretError
		if errors.As(err, &secret) {
			err = &secretError{fmt.Sprintf("containers[%d].%s", n, secret.field), secret.err}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (i *instance) prepareContainer(ctx context.Context, c *container, volumes map[string]mountedVolume) (prepared, error) {
	r := i.revision
	mounts, err := c.mounts(volumes)
	if err != nil {
		return prepared{}, err
	}
	env, err := c.environ(r.plan, func(name, version string) (string, error) {
		value, err := r.fleet.secret(ctx, r.rev, name, version)
		return string(value), err
	})
	if err != nil {
		return prepared{}, err
	}
	out := &lineWriter{log: r.log, container: c.name, stream: stdout}
	errs := &lineWriter{log: r.log, container: c.name, stream: stderr}
	return prepared{c, runtime.Container{
		Name:   c.name,
		Image:  c.image,
		Args:   c.argv(),
		Env:    env,
		Dir:    c.dir(),
		User:   c.config.User,
		Mounts: mounts,

		ReadOnly: r.fleet.o.ReadOnlyRoot,

		CPU:    c.cpu,
		Memory: c.memory,
		Stdout: out,
		Stderr: errs,
	}, []*lineWriter{out, errs}}, nil
}

// exited ends the instance with its container, unless it was ending anyway, or it is a task that others still work on.
func (i *instance) exited(c *container, exit runtime.Exit) {
	if i.life.Err() == nil {
		i.revision.logExit(c, exit)
	}
	if i.revision.rev.Kind == Job && exit.Success() {
		if i.completes(c) {
			i.end(errDone)
		}
		return
	}
	i.end(&ExitError{c.name, exit})
}

func (r *revision) logExit(c *container, exit runtime.Exit) {
	switch {
	case exit.Err != nil:
		r.log.printf("Container %s ended: %v", c.name, exit.Err)
	case exit.OOM:
		// The kernel kills at the limit: that much was in use.
		r.log.printf("Memory limit of %s exceeded with %s used. Consider increasing the memory limit, see "+
			"https://cloud.google.com/run/docs/configuring/memory-limits", mebibytes(c.memory), mebibytes(c.memory))
	case exit.Signal != "":
		r.log.printf("Container terminated on signal %d.", exit.Code-128)
	default:
		r.log.printf("Container called exit(%d).", exit.Code)
	}
}

// logProbe says how a startup probe ended, as the platform does.
func (r *revision) logProbe(c *container, attempts int, err error) {
	p, prefix := c.startup, "STARTUP"
	if p.implicit {
		prefix = "Default STARTUP"
	}
	var exit *ExitError
	switch {
	case err == nil:
		r.log.printf("%s %s probe succeeded after %d %s for container %q on %s.",
			prefix, p.kind, attempts, plural(attempts, "attempt"), c.name, p)
	case errors.Is(err, context.DeadlineExceeded):
		r.log.printf("%s %s probe failed %d %s consecutively for container %q on %s. The instance was not started. "+
			"Connection failed with status DEADLINE_EXCEEDED.", prefix, p.kind, attempts, plural(attempts, "time"), c.name, p)
	case errors.As(err, &exit):
		r.log.printf("%s %s probe failed %d %s consecutively for container %q on %s. The instance was not started. "+
			"Connection failed with status CANCELLED.", prefix, p.kind, attempts, plural(attempts, "time"), c.name, p)
	case !slices.Contains([]error{errStop, errKill}, err):
		r.log.printf("%s %s probe failed %d %s consecutively for container %q on %s. The instance was not started. %v",
			prefix, p.kind, attempts, plural(attempts, "time"), c.name, p, err)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// explain writes to the log what the platform's condition message does not say.
func (r *revision) explain(err error) {
	var start *runtime.StartError
	switch {
	case errors.As(err, &start):
		r.log.printf("terminated: Application failed to start: %v", start.Err)
	case !isContainerFault(err) && !errors.Is(err, errStop) && !errors.Is(err, errKill):
		r.log.printf("The instance could not be started: %v", err)
	}
}
