package cloudrun_test

import (
	"context"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const connector = "projects/cloudssh-demo/locations/us-central1/connectors/gone"

// obstructed deploys a service, wants its twin to fail with this text and these hints, and nothing to be left of it.
func (p *platform) obstructed(t *testing.T, name string, change func(*runpb.Service), text string, hints ...string) {
	t.Helper()
	svc := &runpb.Service{Template: template(p.push(t, name, image(t, "/app")), "FIRST")}
	change(svc)
	p.make(t, name, svc)
	_, err := p.create(t, func(r *provision.Request) { r.Target.Name = name })
	wantError(t, err, text, hints...)
	p.wantNoTwin(t)
}

// What is in a twin's way on the platform is told in its words, with what helps.
func TestObstacles(t *testing.T) {
	p := newPlatform(t, emulator.Options{
		Missing: []string{connector},
		Secret:  func(context.Context, string, string) ([]byte, error) { return []byte("secret"), nil },
	})
	p.obstructed(t, "connector", func(s *runpb.Service) { s.Template.VpcAccess = &runpb.VpcAccess{Connector: connector} },
		"VPC connector "+connector+" does not exist",
		"gcloud compute networks vpc-access connectors list --region us-central1 --project cloudssh-demo")
	secret := &runpb.EnvVar{Name: "PASSWORD", Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
		SecretKeyRef: &runpb.SecretKeySelector{Secret: "db", Version: "latest"},
	}}}
	p.obstructed(t, "secret", func(s *runpb.Service) { s.Template.Containers[0].Env = []*runpb.EnvVar{secret} },
		"Permission denied on secret: ", "gcloud secrets add-iam-policy-binding db --project cloudssh-demo --member serviceAccount:",
		"--role roles/secretmanager.secretAccessor")
}

func TestIngressForbidden(t *testing.T) {
	p := newPlatform(t, emulator.Options{Policies: map[string][]string{"run.allowedIngress": {"internal"}}})
	p.obstructed(t, "app", func(s *runpb.Service) { s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY },
		"Constraint constraints/run.allowedIngress violated",
		"ask an administrator", "gcloud resource-manager org-policies allow run.allowedIngress all --project cloudssh-demo")
}
