package rules

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"
)

const account = "123456789012-compute@developer.gserviceaccount.com"

func TestDefaultsOfTheLeastService(t *testing.T) {
	got := base()
	got.Name = "projects/p/locations/us-central1/services/hello"
	Defaults(got, account)
	want := &runpb.Service{
		Name:        got.Name,
		Ingress:     runpb.IngressTraffic_INGRESS_TRAFFIC_ALL,
		LaunchStage: api.LaunchStage_GA,
		Traffic: []*runpb.TrafficTarget{{
			Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, Percent: 100,
		}},
		Template: &runpb.RevisionTemplate{
			ServiceAccount:                account,
			Timeout:                       durationpb.New(300 * time.Second),
			Scaling:                       &runpb.RevisionScaling{MaxInstanceCount: 100},
			MaxInstanceRequestConcurrency: 80,
			Containers: []*runpb.Container{{
				Name:      "hello-1",
				Image:     "us-docker.pkg.dev/cloudrun/container/hello",
				Ports:     []*runpb.ContainerPort{{Name: "http1", ContainerPort: 8080}},
				Resources: &runpb.ResourceRequirements{CpuIdle: true, Limits: map[string]string{"cpu": "1000m", "memory": "512Mi"}},
				StartupProbe: &runpb.Probe{
					TimeoutSeconds: 240, PeriodSeconds: 240, FailureThreshold: 1,
					ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 8080}},
				},
			}},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefaultsKeepWhatIsThere(t *testing.T) {
	s := edited(func(s *runpb.Service, r *runpb.RevisionTemplate, c *runpb.Container) {
		s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY
		r.Timeout, r.ServiceAccount = durationpb.New(time.Hour), "app@p.iam.gserviceaccount.com"
		r.Scaling = &runpb.RevisionScaling{MinInstanceCount: 200}
		r.VpcAccess = &runpb.VpcAccess{Connector: "projects/p/locations/r/connectors/c"}
		c.Name, c.Resources = "web", limits("0.5", "", true)
		c.Ports = []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 9000}}
		c.StartupProbe = &runpb.Probe{ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{}}}
	})
	Defaults(s, account)
	r, c := s.GetTemplate(), s.GetTemplate().GetContainers()[0]
	if s.Ingress != runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY || r.Timeout.AsDuration() != time.Hour ||
		r.ServiceAccount != "app@p.iam.gserviceaccount.com" || c.Name != "web" || c.Ports[0].Name != "h2c" || c.Resources.Limits["cpu"] != "0.5" {
		t.Errorf("overwritten: %v", s)
	}
	if r.MaxInstanceRequestConcurrency != 1 {
		t.Errorf("concurrency %d with half a CPU, want 1", r.MaxInstanceRequestConcurrency)
	}
	if r.Scaling.MaxInstanceCount != 200 {
		t.Errorf("maximum %d below the minimum of 200", r.Scaling.MaxInstanceCount)
	}
	if r.VpcAccess.Egress != runpb.VpcAccess_PRIVATE_RANGES_ONLY {
		t.Errorf("egress %v", r.VpcAccess.Egress)
	}
	want := &runpb.Probe{
		TimeoutSeconds: 1, PeriodSeconds: 10, FailureThreshold: 3,
		ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{Path: "/", Port: 9000}},
	}
	if diff := cmp.Diff(want, c.StartupProbe, protocmp.Transform()); diff != "" {
		t.Errorf("probe (-want +got):\n%s", diff)
	}
}

func TestDefaultsOfSidecars(t *testing.T) {
	s := edited(withSidecar(func(app, side *runpb.Container) {
		app.Name, side.Name, side.StartupProbe = "hello-2", "", nil
	}))
	s.Name = "projects/p/locations/r/services/hello"
	Defaults(s, account)
	side := s.GetTemplate().GetContainers()[1]
	if side.Name != "hello-3" {
		t.Errorf("sidecar named %q although hello-2 is taken, want hello-3", side.Name)
	}
	if side.Ports != nil || side.StartupProbe != nil {
		t.Errorf("sidecar got port %v or probe %v", side.Ports, side.StartupProbe)
	}
	if s.GetTemplate().GetContainers()[0].StartupProbe == nil {
		t.Error("ingress container got no startup probe")
	}
}
