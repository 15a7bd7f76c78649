package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

const emulatorLong = `Runs a local Cloud Run in the foreground: the Admin API (gRPC and REST), the
services' front door with its identity check, an image registry, a metadata
server, and real containers. It refuses what the real platform refuses.

When it is ready it prints the exports that point cloudssh, and Google's own
client libraries, at it. Everything it made is removed when it stops.`

const emulatorExample = `  cloudssh emulator                     # terminal 1
  export RUN_EMULATOR_HOST=...          # terminal 2: what it printed
  cloudssh hello`

// cloudRunArch is the one processor architecture Cloud Run runs.
const cloudRunArch = "amd64"

// emulatorStopTimeout bounds the removal of containers at the end.
const emulatorStopTimeout = time.Minute

type emulatorOptions struct {
	listen    string
	runtime   string
	noSamples bool
	idle      time.Duration
	maxTime   time.Duration
	stateDir  string
}

// newEmulatorCmd runs a local Cloud Run.
func newEmulatorCmd(a *app) *cobra.Command {
	o := &emulatorOptions{}
	cmd := &cobra.Command{
		Use:     "emulator",
		Short:   "Run a local Cloud Run",
		Long:    emulatorLong,
		Example: emulatorExample,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runEmulator(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8085", "address of the Admin API and the services; port 0 takes a free one")
	f.BoolVar(&o.noSamples, "no-samples", false, "do not deploy the sample services hello and hello-bare")
	f.DurationVar(&o.idle, "instance-idle-timeout", 15*time.Minute, "how long an instance without requests is kept")
	f.DurationVar(&o.maxTime, "max-request-timeout", time.Hour, "cut requests, WebSockets included, at this time at the latest")
	o.register(cmd)
	cmd.AddCommand(newDeployCmd(a))
	return cmd
}

// register adds the flags that the demo has too.
func (o *emulatorOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.runtime, "runtime", "auto", "what runs the containers: auto, runc, crun, runsc or docker")
	f.StringVar(&o.stateDir, "state-dir", "", "where images are unpacked (default: a cache folder)")
}

func (o *emulatorOptions) validate() error {
	if kinds := []string{"auto", "runc", "crun", "runsc", "docker"}; !slices.Contains(kinds, o.runtime) {
		return usagef("--runtime is one of %s, not %q", strings.Join(kinds, ", "), o.runtime)
	}
	return nil
}

func (a *app) runEmulator(ctx context.Context, o *emulatorOptions) error {
	return a.withEmulator(ctx, o, func(ctx context.Context, e *emulator.Server) error {
		if !o.noSamples {
			if err := a.deploySamples(ctx, e); err != nil {
				return err
			}
		}
		agent, err := a.pushAgent(ctx, e)
		if err != nil {
			return err
		}
		a.ui.Settle("")
		for _, line := range append(e.Exports(), "export "+agentImageVariable+"="+agent) {
			if _, err := fmt.Fprintln(output{a.out}, line); err != nil {
				return err
			}
		}
		a.ui.Notef("ready on %s, containers run in %s; stop with Ctrl-C", e.Addr, e.Runtime)
		<-ctx.Done()
		var signal *signalError
		if cause := context.Cause(ctx); errors.As(cause, &signal) {
			return nil // this is how it is stopped
		}
		return ctx.Err()
	})
}

// withEmulator runs f with an emulator, which is gone when it returns.
func (a *app) withEmulator(ctx context.Context, o *emulatorOptions, f func(context.Context, *emulator.Server) error) error {
	if err := o.validate(); err != nil {
		return err
	}
	_, done := a.ui.Progress("starting a local Cloud Run")
	e, err := emulator.New(ctx, emulator.Options{
		Listen: o.listen, RuntimeKind: o.runtime, StateDir: o.stateDir,
		IdleTimeout: o.idle, RequestTimeoutCap: o.maxTime, Logger: a.log,
	})
	done(err)
	if err != nil {
		return err
	}
	failed := f(ctx, e)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), emulatorStopTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- e.Close(end) }()
	select {
	case err := <-closed:
		if err != nil {
			err = fmt.Errorf("stopping the emulator: %w", err)
		}
		return errors.Join(failed, err)
	case <-a.abandon:
		return errors.Join(failed, withHints(errors.New("left without stopping the emulator's containers"), "cloudssh emulator # its next start removes them"))
	}
}

// pushAgent puts the image that a sidecar copies the agent from where instances
// of e find it, and returns its name.
func (a *app) pushAgent(ctx context.Context, e *emulator.Server) (ref string, err error) {
	_, done := a.ui.Progress("pushing the agent's image")
	defer func() { done(err) }()
	img, err := images.AgentImage(ctx, cloudRunArch, a.version)
	if err != nil {
		return "", err
	}
	return e.Push(ctx, e.Project+"/"+images.Agent, img)
}

// deploySamples deploys hello and hello-bare.
func (a *app) deploySamples(ctx context.Context, e *emulator.Server) error {
	t := emulatorTarget{host: e.Addr, registry: e.RegistryAddr, project: e.Project, region: e.Region}
	hello, err := images.Hello(ctx, cloudRunArch, a.version)
	if err != nil {
		return err
	}
	if _, err := a.deploy(ctx, t, &deployOptions{name: "hello"}, hello); err != nil {
		return err
	}
	bare, err := images.HelloBare(ctx, cloudRunArch, a.version)
	if err != nil {
		return err
	}
	_, err = a.deploy(ctx, t, &deployOptions{name: "hello-bare"}, bare)
	return err
}
