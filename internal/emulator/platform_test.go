package emulator_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

const (
	goneConnector = parent + "/connectors/gone"
	goneKey       = parent + "/keyRings/k/cryptoKeys/gone"
	reader        = "reader@cloudssh-demo.iam.gserviceaccount.com"
)

// surrounded is an emulator in which some of what services refer to is gone or out of reach.
func surrounded(t *testing.T) *emulator.Server {
	t.Helper()
	s := start(t, func(o *emulator.Options) {
		o.Missing = []string{goneConnector, goneKey, "gone-network", "gone-subnetwork"}
		o.Unattested = func(image string) bool { return strings.HasSuffix(image, "/demo/web") }
		o.Secret = func(_ context.Context, name, _ string) ([]byte, error) {
			if name == "key" {
				return []byte("secret"), nil
			}
			return nil, fs.ErrNotExist
		}
	})
	s.Grant(reader, "roles/secretmanager.secretAccessor")
	arm := imageFor(t, "arm64")
	if _, err := s.Push(t.Context(), "demo/arm", arm); err != nil {
		t.Fatal(err)
	}
	pushIndex(t, s, "demo/arms", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	}))
	return s
}

func imageFor(t *testing.T, architecture string) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: architecture, Config: v1.Config{Entrypoint: []string{"/web"}}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func pushIndex(t *testing.T, s *emulator.Server, repo string, index v1.ImageIndex) {
	t.Helper()
	tag, err := name.NewTag(s.RegistryAddr+"/"+repo+":latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// An obstacle is what keeps a service from being deployed, once it was accepted.
type obstacle struct {
	image, account string // empty: a good one
	edit           func(s *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container)
	reason         runpb.Condition_CommonReason
	condition      string // that fails beside Ready
	text           string // part of the message
}

func secretVariable(c *runpb.Container, secret string) {
	c.Env = []*runpb.EnvVar{{Name: "KEY", Values: &runpb.EnvVar_ValueSource{
		ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: secret}},
	}}}
}

func obstacles() map[string]obstacle {
	type (
		svc  = *runpb.Service
		tmpl = *runpb.RevisionTemplate
		box  = *runpb.Container
	)
	const (
		denied = "containers[0].env[0].value_from.secret_key_ref.name: Permission denied on secret: projects/"
		role   = "'Secret Manager Secret Accessor' role (roles/secretmanager.secretAccessor)"
		images = "ContainerReady"
		rest   = "ResourcesAvailable"
	)
	network := func(n *runpb.VpcAccess_NetworkInterface) func(svc, tmpl, box) {
		return func(_ svc, t tmpl, _ box) {
			t.VpcAccess = &runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{n}}
		}
	}
	secretFile := func(_ svc, t tmpl, c box) {
		t.Volumes = []*runpb.Volume{{Name: "v", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{Secret: "key"}}}}
		c.VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: "/v"}}
	}
	return map[string]obstacle{
		"connector":  {"", "", func(_ svc, t tmpl, _ box) { t.VpcAccess = &runpb.VpcAccess{Connector: goneConnector} }, runpb.Condition_VPC_NETWORK_NOT_FOUND, rest, "VPC connector " + goneConnector + " does not exist, or Cloud Run does not have permission to use it."},
		"network":    {"", "", network(&runpb.VpcAccess_NetworkInterface{Network: "gone-network"}), runpb.Condition_VPC_NETWORK_NOT_FOUND, rest, "VPC network gone-network does not exist"},
		"subnetwork": {"", "", network(&runpb.VpcAccess_NetworkInterface{Subnetwork: "gone-subnetwork"}), runpb.Condition_VPC_NETWORK_NOT_FOUND, rest, "VPC subnetwork gone-subnetwork does not exist"},
		"key":        {"", "", func(_ svc, t tmpl, _ box) { t.EncryptionKey = goneKey }, runpb.Condition_ENCRYPTION_KEY_PERMISSION_DENIED, rest, "@serverless-robot-prod.iam.gserviceaccount.com must have permission to use the encryption key " + goneKey},
		"attestation": {"", "", func(s svc, _ tmpl, _ box) {
			s.BinaryAuthorization = &runpb.BinaryAuthorization{BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}}
		}, runpb.Condition_CONTAINER_IMAGE_UNAUTHORIZED, images, "is not authorized by policy"},
		"image":            {"demo/none", "", nil, runpb.Condition_CONTAINER_MISSING, images, "/demo/none' not found."},
		"image for arm64":  {"demo/arm", "", nil, runpb.Condition_CONTAINER_MISSING, images, "Container manifest must support amd64/linux."},
		"images for arm64": {"demo/arms", "", nil, runpb.Condition_CONTAINER_MISSING, images, "Container manifest must support amd64/linux."},
		"no such secret":   {"", reader, func(_ svc, _ tmpl, c box) { secretVariable(c, "none") }, runpb.Condition_SECRETS_ACCESS_CHECK_FAILED, rest, "secrets/none/versions/latest was not found"},
		"secret":           {"", "", func(_ svc, _ tmpl, c box) { secretVariable(c, "key") }, runpb.Condition_SECRETS_ACCESS_CHECK_FAILED, rest, denied},
		"secret's role":    {"", "", func(_ svc, _ tmpl, c box) { secretVariable(c, "key") }, runpb.Condition_SECRETS_ACCESS_CHECK_FAILED, rest, role},
		"secret elsewhere": {"", reader, func(_ svc, _ tmpl, c box) { secretVariable(c, "projects/other/secrets/key") }, runpb.Condition_SECRETS_ACCESS_CHECK_FAILED, rest, "projects/other/secrets/key/versions/latest for Revision service account " + reader},
		"secret in a file": {"", "", secretFile, runpb.Condition_SECRETS_ACCESS_CHECK_FAILED, rest, "Permission denied on secret: "},
	}
}

// TestObstacles: what keeps a revision from becoming ready is told in the platform's words, with its reason.
func TestObstacles(t *testing.T) {
	t.Parallel()
	s := surrounded(t)
	c := services(t, s)
	for name, test := range obstacles() {
		t.Run(name, func(t *testing.T) {
			repo := "demo/web"
			if test.image != "" {
				repo = test.image
			}
			spec := service(s, repo)
			spec.Template.ServiceAccount = test.account
			if test.edit != nil {
				test.edit(spec, spec.Template, spec.Template.Containers[0])
			}
			id := strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(name, "'", "")), " ", "-")
			op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: spec})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := op.Wait(t.Context()); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want FailedPrecondition with %q", err, test.text)
			}
			made, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/" + id})
			if err != nil {
				t.Fatal(err)
			}
			if got := made.GetTerminalCondition(); got.GetReason() != test.reason && got.GetRevisionReason() == 0 {
				t.Errorf("terminal condition %v, want reason %v", got, test.reason)
			}
			rev, err := revisions(t, s).GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: made.GetLatestCreatedRevision()})
			if err != nil {
				t.Fatal(err)
			}
			failed := map[string]runpb.Condition_CommonReason{}
			for _, c := range rev.GetConditions() {
				if c.GetState() == runpb.Condition_CONDITION_FAILED {
					failed[c.GetType()] = c.GetReason()
				}
			}
			if diff := cmp.Diff(map[string]runpb.Condition_CommonReason{test.condition: test.reason, "Ready": test.reason}, failed); diff != "" {
				t.Errorf("failed conditions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoObstacle: who may read the secret gets it, and breaking the glass gets around Binary Authorization.
func TestNoObstacle(t *testing.T) {
	t.Parallel()
	s := surrounded(t)
	spec := service(s, "demo/web")
	spec.InvokerIamDisabled = true
	spec.BinaryAuthorization = &runpb.BinaryAuthorization{
		BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}, BreakglassJustification: "fire",
	}
	spec.Template.ServiceAccount = reader
	secretVariable(spec.Template.Containers[0], "key")
	made := create(t, services(t, s), "good", spec)
	if _, body := get(t, s, made.GetUri()); !strings.Contains(body, "KEY=secret\n") {
		t.Errorf("the container's environment is\n%s", body)
	}
}

// TestIngressPolicy: the organisation decides which ingress settings there may be, at every creation and update.
func TestIngressPolicy(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) {
		o.Policies = map[string][]string{"run.allowedIngress": {"internal", "is:internal-and-cloud-load-balancing"}}
	})
	c := services(t, s)
	for ingress, want := range map[runpb.IngressTraffic]string{
		runpb.IngressTraffic_INGRESS_TRAFFIC_ALL:                    "set to all.",
		runpb.IngressTraffic_INGRESS_TRAFFIC_UNSPECIFIED:            "set to the default value all.",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY:          "",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER: "",
	} {
		spec := service(s, "demo/web")
		spec.Ingress = ingress
		_, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "inside", Service: spec, ValidateOnly: true})
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", ingress, err)
			}
			continue
		}
		wantConstraint(t, err, "attempting CreateService", want)
	}
	spec := service(s, "demo/web")
	spec.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY
	made := create(t, c, "inside", spec)
	made.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_ALL
	_, err := c.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: made})
	wantConstraint(t, err, "attempting UpdateService", "set to all.")
}

func wantConstraint(t *testing.T, err error, texts ...string) {
	t.Helper()
	st := status.Convert(err)
	for _, text := range append(texts, "Constraint constraints/run.allowedIngress violated ") {
		if st.Code() != codes.FailedPrecondition || !strings.Contains(st.Message(), text) {
			t.Errorf("%v, want FailedPrecondition with %q", err, text)
		}
	}
	for _, d := range st.Details() {
		if p, ok := d.(*errdetails.PreconditionFailure); ok && p.GetViolations()[0].GetType() == "constraints/run.allowedIngress" {
			return
		}
	}
	t.Errorf("details %v do not name the constraint", st.Details())
}

// TestPlatformSettingsAreKept: what has no effect here can be read back, from the service and from its revision.
func TestPlatformSettingsAreKept(t *testing.T) {
	t.Parallel()
	s := start(t)
	spec := service(s, "demo/web")
	spec.BinaryAuthorization = &runpb.BinaryAuthorization{BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}}
	want := spec.Template
	want.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	want.VpcAccess = &runpb.VpcAccess{
		Egress: runpb.VpcAccess_ALL_TRAFFIC, NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{Network: "n", Subnetwork: "s", Tags: []string{"t"}}},
	}
	want.EncryptionKey = parent + "/keyRings/k/cryptoKeys/c"
	want.EncryptionKeyRevocationAction = runpb.EncryptionKeyRevocationAction_SHUTDOWN
	want.EncryptionKeyShutdownDuration = durationpb.New(2 * time.Hour)
	want.NodeSelector = &runpb.NodeSelector{Accelerator: "nvidia-l4"}
	yes := true
	want.GpuZonalRedundancyDisabled = &yes
	want.Containers[0].Resources = &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}, StartupCpuBoost: true}
	made := create(t, services(t, s), "gpu", spec)
	if diff := cmp.Diff(spec.GetBinaryAuthorization(), made.GetBinaryAuthorization(), protocmp.Transform()); diff != "" {
		t.Errorf("binary authorization (-want +got):\n%s", diff)
	}
	rev, err := revisions(t, s).GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: made.GetLatestReadyRevision()})
	if err != nil {
		t.Fatal(err)
	}
	got := &runpb.RevisionTemplate{
		ExecutionEnvironment: rev.GetExecutionEnvironment(), VpcAccess: rev.GetVpcAccess(), EncryptionKey: rev.GetEncryptionKey(),
		EncryptionKeyRevocationAction: rev.GetEncryptionKeyRevocationAction(), EncryptionKeyShutdownDuration: rev.GetEncryptionKeyShutdownDuration(),
		NodeSelector: rev.GetNodeSelector(), GpuZonalRedundancyDisabled: rev.GpuZonalRedundancyDisabled, //nolint:protogetter // it is optional
		Containers: []*runpb.Container{{Image: want.Containers[0].Image, Resources: rev.GetContainers()[0].GetResources()}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the revision has (-want +got):\n%s", diff)
	}
}
