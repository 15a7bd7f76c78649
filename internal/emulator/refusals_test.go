package emulator_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/googleapi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A refusal is a service that Cloud Run does not take, and the field that it names.
type refusal struct {
	id    string // empty = a good one
	edit  func(s *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container)
	field string
}

func refusals() map[string]refusal {
	type (
		svc  = *runpb.Service
		tmpl = *runpb.RevisionTemplate
		box  = *runpb.Container
	)
	const at = "template.containers[0]"
	sidecar := func(t tmpl) box {
		side := &runpb.Container{Name: "side", Image: t.Containers[0].Image, StartupProbe: &runpb.Probe{ProbeType: &runpb.Probe_TcpSocket{
			TcpSocket: &runpb.TCPSocketAction{Port: 9000},
		}}}
		t.Containers = append(t.Containers, side)
		return side
	}
	env := func(c box, name, value string) {
		c.Env = append(c.Env, &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}})
	}
	mount := func(t tmpl, c box, path string) {
		t.Volumes = []*runpb.Volume{{Name: "v", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{}}}}
		c.VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: path}}
	}
	return map[string]refusal{
		"name length":      {strings.Repeat("a", 50), nil, "service_id"},
		"name characters":  {"Hello", nil, "service_id"},
		"description":      {"", func(s svc, _ tmpl, _ box) { s.Description = strings.Repeat("x", 513) }, "service.description"},
		"label":            {"", func(s svc, _ tmpl, _ box) { s.Labels = map[string]string{"serving.knative.dev/x": ""} }, "service.labels"},
		"annotation":       {"", func(s svc, _ tmpl, _ box) { s.Annotations = map[string]string{"run.googleapis.com/x": ""} }, "service.annotations"},
		"revision":         {"", func(_ svc, t tmpl, _ box) { t.Revision = "other-v1" }, "template.revision"},
		"timeout":          {"", func(_ svc, t tmpl, _ box) { t.Timeout = durationpb.New(3601 * time.Second) }, "service.template.timeout"},
		"concurrency":      {"", func(_ svc, t tmpl, _ box) { t.MaxInstanceRequestConcurrency = 1001 }, "service.template.max_instance_request_concurrency"},
		"connector":        {"", func(_ svc, t tmpl, _ box) { t.VpcAccess = &runpb.VpcAccess{Connector: "c"} }, "service.template.vpc_access.connector"},
		"no VPC":           {"", func(_ svc, t tmpl, _ box) { t.VpcAccess = &runpb.VpcAccess{} }, "service.template.vpc_access.connector"},
		"two ports":        {"", func(_ svc, _ tmpl, c box) { c.Ports = make([]*runpb.ContainerPort, 2) }, "service." + at + ".ports"},
		"port of sidecars": {"", func(_ svc, t tmpl, _ box) { sidecar(t) }, "template.containers"},
		"eleven": {"", func(_ svc, t tmpl, c box) {
			c.Ports = []*runpb.ContainerPort{{ContainerPort: 8080}}
			for len(t.Containers) < 11 {
				sidecar(t).Name = ""
			}
		}, "service.template.containers"},
		"cycle": {"", func(_ svc, t tmpl, c box) {
			c.Ports, c.Name = []*runpb.ContainerPort{{ContainerPort: 8080}}, "app"
			side := sidecar(t)
			c.StartupProbe, c.DependsOn, side.DependsOn = side.StartupProbe, []string{"side"}, []string{"app"}
		}, "template.containers"},
		"args":      {"", func(_ svc, _ tmpl, c box) { c.Args = slices.Repeat([]string{"x"}, 1001) }, "service." + at + ".args"},
		"PORT":      {"", func(_ svc, _ tmpl, c box) { env(c, "PORT", "80") }, at + ".env"},
		"env name":  {"", func(_ svc, _ tmpl, c box) { env(c, strings.Repeat("n", 32769), "") }, "service." + at + ".env[0].name"},
		"env value": {"", func(_ svc, _ tmpl, c box) { env(c, "n", strings.Repeat("v", 32769)) }, "service." + at + ".env[0].value"},
		"no volume": {"", func(_ svc, _ tmpl, c box) {
			c.VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: "/v"}}
		}, at + ".volume_mounts[0].name"},
		"mount in /proc": {"", func(_ svc, t tmpl, c box) { mount(t, c, "/proc/v") }, at + ".volume_mounts[0].mount_path"},
		"Cloud SQL mount": {"", func(_ svc, t tmpl, c box) {
			mount(t, c, "/sql")
			t.Volumes[0].VolumeType = &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"p:r:db"}}}
		}, at + ".volume_mounts[0].mount_path"},
		"CPU and concurrency": {"", func(_ svc, t tmpl, c box) {
			c.Resources = &runpb.ResourceRequirements{CpuIdle: true, Limits: map[string]string{"cpu": "0.5"}}
			t.MaxInstanceRequestConcurrency = 2
		}, "template.containers.resources.limits.cpu"},
		"CPU always": {"", func(_ svc, _ tmpl, c box) {
			c.Resources = &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "0.5"}}
		}, "template.containers.resources.limits.cpu"},
		"startup probe": {"", func(_ svc, t tmpl, c box) {
			c.StartupProbe = &runpb.Probe{InitialDelaySeconds: 241, ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{}}}
		}, "service." + at + ".startup_probe.initial_delay_seconds"},
		"traffic": {"", func(s svc, _ tmpl, _ box) {
			s.Traffic = []*runpb.TrafficTarget{{
				Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION, Revision: "hello-v9", Percent: 100,
			}}
		}, "traffic[0].revision"},
	}
}

// TestRefusals sends to either dialect of the API what package rules refuses, to see that code and field arrive.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	for kind, connect := range dialects() {
		c := connect(t, s)
		for name, test := range refusals() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				spec := service(s, "demo/web")
				if test.edit != nil {
					test.edit(spec, spec.Template, spec.Template.Containers[0])
				}
				id := test.id
				if id == "" {
					id = "hello"
				}
				_, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: spec})
				if !refused(err, codes.InvalidArgument) {
					t.Fatalf("%v, want InvalidArgument", err)
				}
				if got := violated(err); !slices.Equal(got, []string{test.field}) {
					t.Errorf("fields %q, want %q", got, test.field)
				}
			})
		}
	}
}

// violated are the fields of an error's BadRequest detail, without the kind of the violation.
func violated(err error) []string {
	bad := new(errdetails.BadRequest)
	var rest *googleapi.Error
	if errors.As(err, &rest) {
		for _, d := range rest.Details {
			if raw, err := json.Marshal(d); err == nil {
				_ = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, bad) // else it is another detail
			}
		}
	}
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			bad = b
		}
	}
	var fields []string
	for _, v := range bad.GetFieldViolations() {
		fields = append(fields, strings.TrimPrefix(v.GetField(), "Violation in CreateServiceRequest."))
	}
	return fields
}
