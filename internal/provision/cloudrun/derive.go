package cloudrun

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	client         = "cloudssh"
	maxDescription = 512 // characters (Service.description)
	maxLabels      = 64
	// connectionLife is the longest request timeout of Cloud Run, and so the life of one WebSocket.
	connectionLife = time.Hour
	concurrency    = 80 // Cloud Run's own default from one CPU up
	defaultPort    = 8080
)

// Spec is what a twin's spec comes from besides its service and revision.
type Spec struct {
	Project, Region string
	// Name is the twin's, Source what it is made of as users type it ("" means the service's name), Lease what it says
	// about itself, Made when it was made.
	Name, Source string
	Lease        provision.Lease
	Made         time.Time
	// Images are the images by the containers' index in the revision; a container without one keeps what it has.
	Images map[int]string
	// App is how the program of the container that takes requests starts.
	App inject.App
	// Key opens the twin, in authorized_keys form.
	Key         string
	IdleTimeout time.Duration
	// CPU, Memory and ServiceAccount replace the service's when not empty.
	CPU, Memory, ServiceAccount string
	SetEnv                      map[string]string
	// Overrides replace what the target has; Command and Args of them are in App already.
	Overrides provision.Overrides
	// Inject is how the agent gets in, decided: InjectAuto and "" mean a layer. With InjectSidecar AgentImage is the image
	// that holds the agent.
	Inject     provision.InjectMethod
	AgentImage string
	// Container is the one that is entered; "" means the one that takes requests.
	Container string
	// NoSidecars leaves the other containers out, WritableVolumes keeps Cloud Storage and NFS volumes as writable as they
	// are, GPU keeps the GPU.
	NoSidecars, WritableVolumes, GPU bool
	// ExtraEnv are variables that the platform sets in the target's kind and does not in a service: those of a job's task.
	// The target's own of the same names stand.
	ExtraEnv []*runpb.EnvVar
	// MinInstances is how many instances are kept when no request is open.
	MinInstances int
	Version      string
}

// Derive makes a twin's spec from a service, one of its revisions and a Spec, and says where it differs from the service.
// It is pure: the result shares no memory with the arguments.
func Derive(target *runpb.Service, rev *runpb.Revision, spec Spec) (*runpb.Service, []Change, error) {
	d := deriver{copier: copier{fieldRules()}, rev: rev, spec: spec, source: lastSegment(target.GetName())}
	template, err := d.template()
	if err != nil {
		return nil, nil, err
	}
	twin := &runpb.Service{}
	d.fields(twin, target)
	lease := spec.Lease.Labels(d.source)
	twin.Description = d.description()
	twin.Labels = withLabels(target.GetLabels(), lease)
	twin.Annotations = spec.Lease.Annotations()
	twin.Client, twin.ClientVersion = client, spec.Version
	twin.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_ALL
	twin.Scaling = &runpb.ServiceScaling{
		ScalingMode: runpb.ServiceScaling_AUTOMATIC, MinInstanceCount: int32(spec.MinInstances), MaxInstanceCount: 1,
	}
	twin.InvokerIamDisabled, twin.DefaultUriDisabled, twin.IapEnabled = false, false, false
	template.Labels = withLabels(rev.GetLabels(), lease)
	twin.Template = template
	return twin, changes(target, rev, twin), nil
}

// deriver is one run of Derive.
type deriver struct {
	copier
	rev    *runpb.Revision
	spec   Spec
	source string
}

func (d deriver) description() string {
	by := d.spec.Lease.Account
	if by == "" {
		by = "an unnamed user"
	}
	s := fmt.Sprintf("cloudssh twin of %s, started by %s at %s", d.source, by, d.spec.Made.UTC().Format(time.RFC3339))
	if d.spec.Lease.Reason != "" {
		s += ": " + d.spec.Lease.Reason
	}
	if r := []rune(s); len(r) > maxDescription {
		s = string(r[:maxDescription])
	}
	return s
}

func (d deriver) template() (*runpb.RevisionTemplate, error) {
	t := &runpb.RevisionTemplate{}
	d.fields(t, d.rev)
	t.Scaling = &runpb.RevisionScaling{MinInstanceCount: 0, MaxInstanceCount: 1}
	t.Timeout = durationpb.New(connectionLife)
	t.MaxInstanceRequestConcurrency = concurrency
	t.HealthCheckDisabled = false
	if d.spec.ServiceAccount != "" {
		t.ServiceAccount = d.spec.ServiceAccount
	}
	if c := d.rev.GetVpcAccess().GetConnector(); c != "" {
		t.VpcAccess.Connector = d.connector(c)
	}
	unknown := d.volumes(t)
	for i := range d.rev.GetContainers() {
		c, err := d.container(i)
		if err != nil {
			return nil, err
		}
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m *runpb.VolumeMount) bool { return unknown[m.GetName()] })
		t.Containers = append(t.Containers, c)
	}
	if len(t.Containers) == 0 {
		return nil, fmt.Errorf("revision %s has no container", lastSegment(d.rev.GetName()))
	}
	nameMain(t.Containers, mainContainer(d.rev.GetContainers()))
	return t, nil
}

// connector is a VPC connector's full name. The API may return the last part alone, and refuses that on creation
// (hashicorp/terraform-provider-google#17735).
func (d deriver) connector(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return fmt.Sprintf("projects/%s/locations/%s/connectors/%s", d.spec.Project, d.spec.Region, name)
}

// volumes copies the volumes, and returns the names of those whose kind this version does not know: they stay behind,
// since a volume without a kind is refused.
func (d deriver) volumes(t *runpb.RevisionTemplate) (unknown map[string]bool) {
	unknown = map[string]bool{}
	for _, from := range d.rev.GetVolumes() {
		v := &runpb.Volume{}
		d.fields(v, from)
		switch kind := v.GetVolumeType().(type) {
		case nil:
			unknown[from.GetName()] = true
			continue
		case *runpb.Volume_Nfs:
			kind.Nfs.ReadOnly = true
		case *runpb.Volume_Gcs:
			kind.Gcs.ReadOnly = true
		}
		t.Volumes = append(t.Volumes, v)
	}
	return unknown
}

// mainContainer is the index of the container that takes requests: the one with a port, else the first.
func mainContainer(all []*runpb.Container) int {
	return max(0, slices.IndexFunc(all, func(c *runpb.Container) bool { return len(c.GetPorts()) > 0 }))
}

// nameMain gives the main container a name when it has sidecars and none, since depends_on needs names.
func nameMain(all []*runpb.Container, main int) {
	if len(all) == 1 || all[main].GetName() != "" {
		return
	}
	name := "app"
	for n := 2; slices.ContainsFunc(all, func(c *runpb.Container) bool { return c.GetName() == name }); n++ {
		name = fmt.Sprintf("app-%d", n)
	}
	all[main].Name = name
}

// withLabels adds the lease's labels to those of a service that a twin may carry.
func withLabels(service, lease map[string]string) map[string]string {
	labels := maps.Clone(lease)
	for _, k := range slices.Sorted(maps.Keys(service)) {
		if len(labels) < maxLabels && inheritable(k) {
			labels[k] = service[k]
		}
	}
	return labels
}

// inheritable reports whether a twin may have a label of its service. Those of namespaces are the platform's, and refused
// (run.googleapis.com/...); those of tools would make Terraform, Cloud Build or Firebase take the twin for theirs.
func inheritable(key string) bool {
	if strings.ContainsAny(key, "/.") || provision.IsLeaseLabel(key) {
		return false
	}
	for _, tool := range []string{"goog-", "gcb-", "firebase-", "deployment-", "managed-by", "commit-sha"} {
		if strings.HasPrefix(key, tool) {
			return false
		}
	}
	return true
}

func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
