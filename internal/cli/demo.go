package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

const demoLong = `Starts a local Cloud Run, deploys the sample service hello (or --image), opens a
session in a twin of it, and removes everything at the end. What you see is what
cloudssh does with a service in the cloud; nothing leaves this machine.`

const demoExample = `  cloudssh demo
  cloudssh demo --exec 'env | sort'
  cloudssh demo --image python:3.13-slim -- python3 -c 'print(6 * 7)'
  cloudssh demo --exec sha256sum < file`

type demoOptions struct {
	connect  connectOptions
	emulator emulatorOptions
	image    string
}

// newDemoCmd is the main job on a Cloud Run of one's own.
func newDemoCmd(a *app) *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:     "demo [--exec COMMAND | -- ARGV...]",
		Short:   "Try it: a session in a twin on a local Cloud Run",
		Long:    demoLong,
		Example: demoExample,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			before, command, err := splitArgs(cmd, args, o.connect.exec)
			if err != nil {
				return err
			}
			if err := noArgs(cmd, before); err != nil {
				return err
			}
			o.connect.command = command
			if err := o.connect.validate(); err != nil {
				return err
			}
			return a.runDemo(cmd.Context(), o)
		},
	}
	o.connect.registerSession(cmd)
	o.connect.forward.registerAll(cmd)
	o.connect.source.registerCopy(cmd)
	o.connect.registerCopy(cmd)
	o.emulator.register(cmd)
	cmd.Flags().StringVar(&o.image, "image", "", "image of the service to clone (default: our sample)")
	for _, name := range []string{"keep", "persist", "share", "min-instances"} { // nothing outlives the demo
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err) // a misspelt flag name above
		}
	}
	return cmd
}

func (a *app) runDemo(ctx context.Context, o *demoOptions) error {
	o.emulator.listen = "127.0.0.1:0"
	err := a.withEmulator(ctx, &o.emulator, func(ctx context.Context, e *emulator.Server) error {
		if err := a.pointAt(e); err != nil {
			return err
		}
		o.connect.service, o.connect.unguarded = "hello", true
		img, err := o.load(ctx, a)
		if err != nil {
			return err
		}
		t := emulatorTarget{host: e.Addr, registry: e.RegistryAddr, project: e.Project, region: e.Region}
		// An image of the user's may not serve, or not yet; a twin does not mind.
		service := &deployOptions{name: o.connect.service, unchecked: o.image != ""}
		if _, err := a.deploy(ctx, t, service, img); err != nil {
			return err
		}
		return a.connect(ctx, &o.connect)
	})
	if err == nil {
		return nil
	}
	return &connectionError{err}
}

func (o *demoOptions) load(ctx context.Context, a *app) (v1.Image, error) {
	if o.image == "" {
		return images.Hello(ctx, cloudRunArch, a.version)
	}
	return (&deployOptions{image: o.image}).load(ctx)
}

// pointAt makes this process a client of e, as a shell that ran its exports
// would: Google's libraries read the environment, not our flags.
func (a *app) pointAt(e *emulator.Server) error {
	for _, line := range e.Exports() {
		k, v, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return fmt.Errorf("reading the emulator's export %q", line)
		}
		if err := os.Setenv(k, v); err != nil {
			return fmt.Errorf("setting %s: %w", k, err)
		}
	}
	a.global.project, a.global.region = e.Project, e.Region
	return nil
}
