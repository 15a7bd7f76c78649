package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/inject"
)

// registryHost names the emulator's registry; `cloudssh emulator` prints it.
const registryHost = "RUN_EMULATOR_REGISTRY"

// deployOptions describe a service to deploy to an emulator, as `gcloud run
// deploy` does.
type deployOptions struct {
	name    string
	image   string
	tarball string
	envVars []string
	env     map[string]string
	port    int32
	command []string
	args    []string
	user    string
	public  bool

	unchecked bool     // do not wait for the container to listen
	spool     *os.File // the content of a tarball that is a pipe
}

// newDeployCmd deploys to a running emulator.
func newDeployCmd(a *app) *cobra.Command {
	o := &deployOptions{}
	cmd := &cobra.Command{
		Use:   "deploy NAME --image REF | --tarball FILE",
		Short: "Deploy an image to the running emulator",
		Long: `Deploys an image to the emulator that RUN_EMULATOR_HOST names: from a registry,
or from a file that docker save or podman save wrote. The image is copied into
the emulator's own registry first.`,
		Example: `  cloudssh emulator deploy web --image python:3.13-slim --command python3 --args -m,http.server,8080
  docker save myapp | cloudssh emulator deploy myapp --tarball /dev/stdin`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one name, but got %s", cmd.CommandPath(), listed(args))
			}
			if (o.image == "") == (o.tarball == "") {
				return usagef("%s needs either --image or --tarball", cmd.CommandPath())
			}
			o.name = args[0]
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDeploy(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "image reference")
	f.StringVar(&o.tarball, "tarball", "", "image file, as docker save writes it")
	f.StringArrayVar(&o.envVars, "env", nil, "KEY=VALUE for the container; repeat for more")
	f.Int32Var(&o.port, "port", 0, "port the container listens on (default 8080)")
	f.StringSliceVar(&o.command, "command", nil, "entrypoint instead of the image's, comma-separated")
	f.StringSliceVar(&o.args, "args", nil, "arguments instead of the image's, comma-separated")
	f.StringVar(&o.user, "user", "", "user instead of the image's")
	f.BoolVar(&o.public, "allow-unauthenticated", false, "let anybody invoke the service")
	return cmd
}

func (a *app) runDeploy(ctx context.Context, o *deployOptions) error {
	target, err := a.emulatorTarget()
	if err != nil {
		return err
	}
	if o.env, err = parseDict("--env", prefixed(o.envVars)); err != nil {
		return err
	}
	img, err := o.load(ctx)
	if err != nil {
		return err
	}
	service, err := a.deploy(ctx, target, o, img)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(output{a.out}, service.GetUri())
	return err
}

// prefixed takes each flag as one pair, whatever commas it holds.
func prefixed(flags []string) []string {
	out := make([]string, len(flags))
	for i, f := range flags {
		out[i] = "^\x00^" + f
	}
	return out
}

// load reads the image from where the flags say.
func (o *deployOptions) load(ctx context.Context) (v1.Image, error) {
	if o.tarball != "" {
		img, err := tarball.Image(func() (io.ReadCloser, error) { return o.openTarball() }, nil)
		if err != nil {
			return nil, fmt.Errorf("reading the image in %s: %w", o.tarball, err)
		}
		return img, nil
	}
	ref, err := parseImage(o.image)
	if err != nil {
		return nil, err
	}
	img, err := inject.Resolve(ctx, ref, remote.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("reading the image %s: %w", o.image, err)
	}
	return img, nil
}

// openTarball opens the image's file once more. A pipe can be read only once,
// so the first time its content is put into a file without a name.
func (o *deployOptions) openTarball() (io.ReadCloser, error) {
	if o.spool != nil {
		return io.NopCloser(io.NewSectionReader(o.spool, 0, math.MaxInt64)), nil
	}
	f, err := os.Open(o.tarball)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.Mode().IsRegular() {
		return f, err
	}
	defer f.Close() //nolint:errcheck // only read
	spool, err := os.CreateTemp("", "cloudssh-image-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(spool.Name()); err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	if _, err := io.Copy(spool, f); err != nil {
		return nil, errors.Join(fmt.Errorf("copying %s: %w", o.tarball, err), spool.Close())
	}
	o.spool = spool
	return o.openTarball()
}

// emulatorTarget is a running emulator.
type emulatorTarget struct {
	host, registry  string
	project, region string
}

// emulatorTarget reads the exports of `cloudssh emulator`.
func (a *app) emulatorTarget() (emulatorTarget, error) {
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	t := emulatorTarget{
		host:     a.env(emulatorHost),
		registry: a.env(registryHost),
		project:  first(a.global.project, a.env("CLOUDSDK_CORE_PROJECT")),
		region:   first(a.global.region, a.env("CLOUDSDK_RUN_REGION")),
	}
	if t.host == "" || t.registry == "" || t.project == "" || t.region == "" {
		return t, withHints(errors.New("no emulator: RUN_EMULATOR_HOST and its companions are not set"),
			"cloudssh emulator # in another terminal; then run the exports that it prints")
	}
	return t, nil
}

// deploy copies an image into the emulator's registry and makes or replaces
// the service.
func (a *app) deploy(ctx context.Context, t emulatorTarget, o *deployOptions, img v1.Image) (_ *runpb.Service, err error) {
	_, done := a.ui.Progress("deploying " + o.name)
	defer func() { done(err) }()
	if o.user != "" {
		if img, err = withUser(img, o.user); err != nil {
			return nil, err
		}
	}
	ref, err := name.ParseReference(t.registry+"/"+t.project+"/"+o.name+":latest", name.Insecure)
	if err != nil {
		return nil, usagef("service name %q: %w", o.name, err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return nil, fmt.Errorf("pushing the image to the emulator: %w", err)
	}
	client, err := run.NewServicesClient(ctx, option.WithEndpoint(t.host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // the result is known
	return apply(ctx, client, t, o, ref.Name())
}

func withUser(img v1.Image, user string) (v1.Image, error) {
	f, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	f = f.DeepCopy()
	f.Config.User = user
	return mutate.ConfigFile(img, f)
}

// apply creates the service, or updates the one there is.
func apply(ctx context.Context, client *run.ServicesClient, t emulatorTarget, o *deployOptions, ref string) (*runpb.Service, error) {
	parent := "projects/" + t.project + "/locations/" + t.region
	s := o.service(ref)
	op, err := client.CreateService(ctx, &runpb.CreateServiceRequest{Parent: parent, ServiceId: o.name, Service: s})
	if status.Code(err) == codes.AlreadyExists {
		s.Name = parent + "/services/" + o.name
		update, err := client.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: s})
		if err != nil {
			return nil, deployError(o.name, err)
		}
		deployed, err := update.Wait(ctx)
		return deployed, deployError(o.name, err)
	}
	if err != nil {
		return nil, deployError(o.name, err)
	}
	deployed, err := op.Wait(ctx)
	return deployed, deployError(o.name, err)
}

// deployError shows the platform's own words, without gRPC's.
func deployError(service string, err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("deploying %s: %s", service, strings.TrimSpace(s.Message()))
	}
	return fmt.Errorf("deploying %s: %w", service, err)
}

func (o *deployOptions) service(ref string) *runpb.Service {
	c := &runpb.Container{Image: ref, Command: o.command, Args: o.args}
	if o.port != 0 {
		c.Ports = []*runpb.ContainerPort{{ContainerPort: o.port}}
	}
	for k, v := range o.env {
		c.Env = append(c.Env, &runpb.EnvVar{Name: k, Values: &runpb.EnvVar_Value{Value: v}})
	}
	return &runpb.Service{
		InvokerIamDisabled: o.public,
		Template: &runpb.RevisionTemplate{
			Containers:          []*runpb.Container{c},
			HealthCheckDisabled: o.unchecked,
		},
	}
}
