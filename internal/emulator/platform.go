package emulator

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// platform is what surrounds a service on the platform and can be in its way: the organisation's policies, resources
// that are gone, Binary Authorization. Its zero value is in nobody's.
type platform struct {
	policies   map[string][]string // values that a constraint allows, by its name
	missing    []string            // names of resources
	unattested func(image string) bool
}

func newPlatform(o Options) platform {
	return platform{o.Policies, o.Missing, o.Unattested}
}

// allowedIngress is the constraint on the ingress of services
// (https://docs.cloud.google.com/run/docs/securing/ingress#setting_up_organization_policies).
const allowedIngress = "run.allowedIngress"

// checkIngress refuses an ingress that the organisation does not allow. The method is the API's, for the message, whose
// text users have published for the default value.
func (p platform) checkIngress(method, project string, s *runpb.Service) error {
	value := ingressValue(s.GetIngress())
	allowed, limited := p.policies[allowedIngress]
	if !limited || slices.ContainsFunc(allowed, func(a string) bool { return strings.TrimPrefix(a, "is:") == value }) {
		return nil
	}
	if s.GetIngress() == runpb.IngressTraffic_INGRESS_TRAFFIC_UNSPECIFIED {
		value = "the default value all"
	}
	message := fmt.Sprintf("Constraint constraints/%s violated for attempting %s with annotation \"run.googleapis.com/ingress\" set to %s.",
		allowedIngress, method, value)
	st := grpcstatus.New(codes.FailedPrecondition, message)
	full, err := st.WithDetails(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
		Type: "constraints/" + allowedIngress, Subject: "orgpolicy:projects/" + project, Description: message,
	}}})
	if err != nil {
		return st.Err() // the message is worth more than an encoding error
	}
	return full.Err()
}

// ingressValue is how the constraint and gcloud name an ingress setting.
func ingressValue(i runpb.IngressTraffic) string {
	switch i {
	case runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY:
		return "internal"
	case runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER:
		return "internal-and-cloud-load-balancing"
	case runpb.IngressTraffic_INGRESS_TRAFFIC_NONE:
		return "none"
	default:
		return "all"
	}
}

// checkDeploy tells why a revision cannot be deployed because of what it refers to; nil when nothing is in the way. The
// number is the project's.
func (p platform) checkDeploy(number string, binauthz *runpb.BinaryAuthorization, t *runpb.RevisionTemplate) error {
	vpc := t.GetVpcAccess()
	if c := vpc.GetConnector(); c != "" && slices.Contains(p.missing, c) {
		return obstacle(runpb.Condition_VPC_NETWORK_NOT_FOUND,
			"VPC connector %s does not exist, or Cloud Run does not have permission to use it.", c)
	}
	for _, n := range vpc.GetNetworkInterfaces() {
		for kind, name := range map[string]string{"network": n.GetNetwork(), "subnetwork": n.GetSubnetwork()} {
			if name != "" && slices.Contains(p.missing, name) {
				return obstacle(runpb.Condition_VPC_NETWORK_NOT_FOUND,
					"VPC %s %s does not exist, or Cloud Run does not have permission to use it.", kind, name)
			}
		}
	}
	if key := t.GetEncryptionKey(); key != "" && slices.Contains(p.missing, key) {
		return obstacle(runpb.Condition_ENCRYPTION_KEY_PERMISSION_DENIED,
			"Google Cloud Run Service Agent service-%s@serverless-robot-prod.iam.gserviceaccount.com must have permission to use the "+
				"encryption key %s, and the key must be enabled.", number, key)
	}
	return p.checkAttested(binauthz, t)
}

// checkAttested is Binary Authorization, which whoever breaks the glass gets around.
func (p platform) checkAttested(binauthz *runpb.BinaryAuthorization, t *runpb.RevisionTemplate) error {
	enforced := binauthz.GetUseDefault() || binauthz.GetPolicy() != ""
	if p.unattested == nil || !enforced || binauthz.GetBreakglassJustification() != "" {
		return nil
	}
	for _, c := range t.GetContainers() {
		if p.unattested(c.GetImage()) {
			return &serving.DeployError{
				Condition: condImage, Common: runpb.Condition_CONTAINER_IMAGE_UNAUTHORIZED,
				Message: fmt.Sprintf("Container image '%[1]s' is not authorized by policy. Image %[1]s denied by attestor: "+
					"No attestations found that were valid and signed by a key trusted by the attestor", c.GetImage()),
			}
		}
	}
	return nil
}

func obstacle(reason runpb.Condition_CommonReason, format string, args ...any) error {
	return &serving.DeployError{Condition: condResources, Common: reason, Message: fmt.Sprintf(format, args...)}
}

// The conditions of a revision that an obstacle fails.
const (
	condImage     = "ContainerReady"
	condResources = "ResourcesAvailable"
)

// secret is the secrets as the service account of a revision may read them.
func (a *admin) secret(read func(ctx context.Context, name, version string) ([]byte, error),
) func(context.Context, serving.Revision, string, string) ([]byte, error) {
	if read == nil {
		return nil
	}
	return func(ctx context.Context, rev serving.Revision, name, version string) ([]byte, error) {
		project, short := rev.Project, name
		if f, ok := fields(name, "projects/*/secrets/*"); ok {
			project, short = a.store.canonical(location{project: f[0]}).project, f[1]
		}
		resource := "projects/" + project + "/secrets/" + short + "/versions/" + version
		who := caller{email: rev.Template.GetServiceAccount()}
		if !a.permitted(who, accessSecret, resource, secretScope(project, short)) {
			return nil, fs.ErrPermission
		}
		return read(ctx, name, version)
	}
}

const accessSecret = "secretmanager.versions.access"
