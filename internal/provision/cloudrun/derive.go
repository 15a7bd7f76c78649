package cloudrun

import (
	"cmp"
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
	// App is how the program of the container that is entered starts.
	App inject.App
	// Key opens the twin, in authorized_keys form.
	Key         string
	IdleTimeout time.Duration
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

// Derive makes a twin's spec from a service, one of its revisions and a Spec, and says what becomes of every field, in the
// order of their paths. It is pure: the result shares no memory with the arguments. The error says what cannot be in a
// twin; those about a value are FieldErrors.
func Derive(target *runpb.Service, rev *runpb.Revision, spec Spec) (*runpb.Service, []provision.Field, error) {
	d := &deriver{
		rules: fieldRules().asked(spec), rev: rev, spec: spec, source: cmp.Or(spec.Source, lastSegment(target.GetName())),
		left: map[string]string{},
	}
	if err := Validate(spec.Overrides); err != nil {
		return nil, nil, err
	}
	if err := d.choose(); err != nil {
		return nil, nil, err
	}
	template, err := d.template()
	if err != nil {
		return nil, nil, err
	}
	twin := &runpb.Service{}
	copier{d.rules}.fields(twin, target)
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
	if err := d.check(template); err != nil {
		return nil, nil, err
	}
	if err := d.acceptable(twin); err != nil {
		return nil, nil, err
	}
	return twin, d.plan(target, twin), nil
}

// deriver is one run of Derive.
type deriver struct {
	rules  tables
	rev    *runpb.Revision
	spec   Spec
	source string

	entered int   // the index of the container that the agent goes into
	kept    []int // the indices of the containers that the twin has
	port    int32 // that the agent serves on

	// With a sidecar: its name, that of the volume they share, and the port that tells that the agent is there.
	agentContainer, agentVolume string
	agentPort                   int32
	// left are volumes that the twin does not have, with the reason.
	left map[string]string
}

// choose decides which containers there are, which of them is entered, and the ports.
func (d *deriver) choose() error {
	all := d.rev.GetContainers()
	if len(all) == 0 {
		return fmt.Errorf("revision %s has no container", lastSegment(d.rev.GetName()))
	}
	var err error
	if d.entered, err = entered(all, d.spec.Container); err != nil {
		return err
	}
	for i := range all {
		if i == d.entered || !d.spec.NoSidecars {
			d.kept = append(d.kept, i)
		}
	}
	d.port = d.servingPort()
	if d.spec.Inject != provision.InjectSidecar {
		return nil
	}
	if len(d.kept) >= maxContainers {
		return provision.Hint(fmt.Errorf("the agent's container would be the %dth: %w", len(d.kept)+1, errTooManyContainers),
			"--inject layer", "--no-sidecars")
	}
	d.agentContainer = freeName(agentName, containerNames(all))
	d.agentVolume = freeName(agentName, volumeNames(d.rev.GetVolumes()))
	d.agentPort = freePort(all, d.port)
	return nil
}

func (d *deriver) description() string {
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

func (d *deriver) template() (*runpb.RevisionTemplate, error) {
	t := &runpb.RevisionTemplate{}
	copier{d.rules}.fields(t, d.rev)
	t.Scaling = &runpb.RevisionScaling{MinInstanceCount: 0, MaxInstanceCount: 1}
	t.Timeout = durationpb.New(d.timeout())
	t.MaxInstanceRequestConcurrency = concurrency
	t.HealthCheckDisabled = false
	if c := d.rev.GetVpcAccess().GetConnector(); c != "" {
		t.VpcAccess.Connector = d.connector(c)
	}
	d.overrideTemplate(t)
	d.volumes(t)
	for _, i := range d.kept {
		c, err := d.container(i)
		if err != nil {
			return nil, err
		}
		t.Containers = append(t.Containers, c)
	}
	d.untangle(t.Containers)
	at := slices.Index(d.kept, d.entered)
	if err := d.mountSecrets(t, t.Containers[at]); err != nil {
		return nil, err
	}
	d.dropUnmounted(t)
	if d.spec.Inject == provision.InjectSidecar {
		d.addSidecar(t, t.Containers[at])
	}
	nameMain(t.Containers, at)
	return t, nil
}

// timeout is how long a request may take, and so one connection lasts.
func (d *deriver) timeout() time.Duration { return cmp.Or(d.spec.Overrides.Timeout, connectionLife) }

// connector is a VPC connector's full name. The API may return the last part alone, and refuses that on creation
// (hashicorp/terraform-provider-google#17735).
func (d *deriver) connector(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return fmt.Sprintf("projects/%s/locations/%s/connectors/%s", d.spec.Project, d.spec.Region, name)
}

// nameMain gives the container that is entered a name when it has others beside it and none, since depends_on needs names.
func nameMain(all []*runpb.Container, main int) {
	if len(all) == 1 || all[main].GetName() != "" {
		return
	}
	all[main].Name = freeName("app", containerNames(all))
}

// freeName is name, or name-2 and so on: the first that is not taken.
func freeName(name string, taken []string) string {
	free := name
	for n := 2; slices.Contains(taken, free); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
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
