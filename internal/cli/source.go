package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// agentImageVariable names the image that a sidecar copies the agent from; an
// emulator sets it.
const agentImageVariable = "CLOUDSSH_AGENT_IMAGE"

// sourceOptions say what of a target is entered, and how.
type sourceOptions struct {
	revision, tag, image string

	container                        string
	noSidecars, writableVolumes, gpu bool

	inject, agentImage string
}

// register adds the flags of all targets.
func (o *sourceOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.revision, "revision", "", "clone this revision instead of the one that serves: one without traffic, an old or a failed one")
	f.StringVar(&o.tag, "tag", "", "clone the revision that has this traffic tag")
	f.StringVar(&o.image, "image", "", "run this image with all else as in the service")
	o.registerCopy(cmd)
}

// registerCopy adds the flags that make sense for every copy.
func (o *sourceOptions) registerCopy(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.container, "container", "", "container to enter (default: the one that takes requests)")
	f.BoolVar(&o.noSidecars, "no-sidecars", false, "leave out the other containers")
	f.BoolVar(&o.writableVolumes, "writable-volumes", false, "keep the volumes of Cloud Storage and NFS writable; they hold the service's data")
	f.BoolVar(&o.gpu, "gpu", false, "keep the GPU, which has its quota and its price")
	f.StringVar(&o.inject, "inject", string(provision.InjectAuto), "how the agent gets in: layer (of the image), sidecar (a container that brings it), none (the image has it), or auto")
	f.StringVar(&o.agentImage, "agent-image", "", "image that the sidecar is made of (default: $"+agentImageVariable+", or cloudssh's own)")
	complete(cmd, "inject", injectMethods()...)
}

func injectMethods() []string {
	return []string{
		string(provision.InjectAuto), string(provision.InjectLayer), string(provision.InjectSidecar), string(provision.InjectNone),
	}
}

func (o *sourceOptions) validate() error {
	if o.inject != "" && !slices.Contains(injectMethods(), o.inject) {
		return usagef("--inject is one of %s, not %q", strings.Join(injectMethods(), ", "), o.inject)
	}
	if o.revision != "" && o.tag != "" {
		return usagef("--revision and --tag both name a revision")
	}
	for _, ref := range []string{o.image, o.agentImage} {
		if ref == "" {
			continue
		}
		if _, err := parseImage(ref); err != nil {
			return err
		}
	}
	return nil
}

// target is what the name and the flags mean.
func (o *sourceOptions) target(name string) (provision.Target, error) {
	t, err := provision.ParseTarget(name)
	if err != nil {
		return t, err
	}
	if t.Kind == provision.KindJob && (o.revision != "" || o.tag != "") {
		return t, usagef("%s has no revisions: --revision and --tag do not go with it", t)
	}
	if t.Kind == provision.KindWorkerPool && o.tag != "" {
		return t, usagef("%s takes no requests: --tag does not go with it", t)
	}
	t.Revision, t.Tag, t.Image = o.revision, o.tag, o.image
	return t, nil
}
