package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"
)

// edit changes the service that a test starts from.
type edit func(s *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container)

// base is the least that Cloud Run takes.
func base() *runpb.Service {
	return &runpb.Service{Template: &runpb.RevisionTemplate{
		Containers: []*runpb.Container{{Image: "us-docker.pkg.dev/cloudrun/container/hello"}},
	}}
}

func edited(e edit) *runpb.Service {
	s := base()
	if e != nil {
		e(s, s.Template, s.Template.Containers[0])
	}
	return s
}

// fields are the fields that an InvalidArgument error names, without the prefix
// that says which request it was.
func fields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument {
		t.Fatalf("code %v of %v, want InvalidArgument", s.Code(), err)
	}
	var all []string
	for _, d := range s.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if !strings.Contains(s.Message(), v.GetField()+": "+v.GetDescription()) {
				t.Errorf("message %q does not have violation %v", s.Message(), v)
			}
			all = append(all, strings.TrimPrefix(v.GetField(), "Violation in CreateServiceRequest."))
		}
	}
	if len(all) == 0 {
		t.Fatalf("%v has no BadRequest detail", err)
	}
	return all
}

type ruleTest struct {
	name  string
	edit  edit
	field string // the one field refused; empty = accepted
	text  string // part of the message
}

func check(t *testing.T, tests []ruleTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			given := edited(test.edit)
			before := proto.CloneOf(given)
			err := Create("hello", given)
			if diff := cmp.Diff(before, given, protocmp.Transform()); diff != "" {
				t.Errorf("Create changed its argument:\n%s", diff)
			}
			got := fields(t, err)
			if test.field == "" {
				if len(got) > 0 {
					t.Fatalf("refused: %v", err)
				}
				acceptedAfterDefaults(t, given)
				return
			}
			if !slices.Equal(got, []string{test.field}) {
				t.Fatalf("fields %q, want %q (%v)", got, test.field, err)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("message %q, want %q in it", err, test.text)
			}
		})
	}
}

func acceptedAfterDefaults(t *testing.T, s *runpb.Service) {
	t.Helper()
	s.Name = "projects/p/locations/r/services/hello"
	Defaults(s, "1-compute@developer.gserviceaccount.com")
	if err := Create("hello", s); err != nil {
		t.Errorf("refused after Defaults: %v", err)
	}
	once := proto.CloneOf(s)
	Defaults(s, "1-compute@developer.gserviceaccount.com")
	if diff := cmp.Diff(once, s, protocmp.Transform()); diff != "" {
		t.Errorf("Defaults twice is not Defaults once:\n%s", diff)
	}
}

func TestServiceID(t *testing.T) {
	for id, good := range map[string]bool{
		"a": true, "hello": true, "a-1": true, strings.Repeat("a", 49): true,
		"": false, "1a": false, "-a": false, "a-": false, "Hello": false, "a_b": false, "a.b": false, "é": false,
		"a\n": false, strings.Repeat("a", 50): false,
	} {
		got := fields(t, ServiceID(id))
		if good != (got == nil) {
			t.Errorf("ServiceID(%q) = %v", id, got)
		}
		if !good && !slices.Equal(got, []string{"service_id"}) {
			t.Errorf("ServiceID(%q) names %q", id, got)
		}
		if !good && !slices.Contains(fields(t, Create(id, base())), "service_id") {
			t.Errorf("Create(%q) accepted", id)
		}
	}
}

func TestService(t *testing.T) {
	check(t, []ruleTest{
		{name: "least"},
		{"no template", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) { s.Template = nil }, "service.template", "should be set."},
		{"output only ignored", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Name, s.Uid, s.Uri, s.Etag = "projects/x/locations/y/services/other", "u", "https://x", `"1"`
			s.BuildConfig = &runpb.BuildConfig{FunctionTarget: "f"}
		}, "", ""},
		{"description", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Description = strings.Repeat("é", 512)
		}, "", ""},
		{"description long", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Description = strings.Repeat("é", 513)
		}, "service.description", "512"},
		{"ingress", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY
		}, "", ""},
		{"ingress unknown", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) { s.Ingress = 99 }, "service.ingress", "99"},
		{"breakglass", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.BinaryAuthorization = &runpb.BinaryAuthorization{BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}, BreakglassJustification: "fire"}
		}, "", ""},
		{"breakglass alone", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.BinaryAuthorization = &runpb.BinaryAuthorization{BreakglassJustification: "fire"}
		}, "service.binary_authorization.breakglass_justification", "use_default"},
		{"service scaling", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{MinInstanceCount: 1, MaxInstanceCount: 1}
		}, "", ""},
		{"service scaling crossed", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{MinInstanceCount: 2, MaxInstanceCount: 1}
		}, "scaling.min_instance_count", "(2)"},
		{"service scaling negative", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{MinInstanceCount: -1}
		}, "service.scaling.min_instance_count", ""},
		{"scaling mode unknown", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{ScalingMode: 7}
		}, "service.scaling.scaling_mode", ""},
		{"manual", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{ScalingMode: runpb.ServiceScaling_MANUAL, ManualInstanceCount: proto.Int32(0)}
		}, "", ""},
		{"manual negative", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Scaling = &runpb.ServiceScaling{ManualInstanceCount: proto.Int32(-1)}
		}, "service.scaling.manual_instance_count", ""},
		{"multi region", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.MultiRegionSettings = &runpb.Service_MultiRegionSettings{Regions: []string{"us-east1", "us-west1"}}
		}, "", ""},
		{"multi region twice", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.MultiRegionSettings = &runpb.Service_MultiRegionSettings{Regions: []string{"us-east1", "us-east1"}}
		}, "service.multi_region_settings.regions", "us-east1"},
		{"multi region none", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.MultiRegionSettings = &runpb.Service_MultiRegionSettings{}
		}, "service.multi_region_settings.regions", "at least one"},
		{"audience", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.CustomAudiences = []string{"https://a.example"}
		}, "", ""},
		{"audience empty", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.CustomAudiences = []string{""}
		}, "service.custom_audiences", ""},
		{"launch stage", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.LaunchStage = api.LaunchStage_GA
		}, "", ""},
		{"launch stage unsupported", func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.LaunchStage = api.LaunchStage_EARLY_ACCESS
		}, "service.launch_stage", ""},
		{"preview in beta", func(s *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) {
			s.LaunchStage, r.ServiceMesh = api.LaunchStage_BETA, &runpb.ServiceMesh{Mesh: "m"}
		}, "", ""},
		{"preview in ga", func(_ *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) {
			r.ServiceMesh = &runpb.ServiceMesh{Mesh: "m"}
		}, "launch_stage", "not supported in the declared launch stage"},
	})
}

func TestLabelsAndAnnotations(t *testing.T) {
	label := func(k, v string) edit {
		return func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Labels = map[string]string{k: v}
		}
	}
	many := func(n int) edit {
		return func(_ *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) {
			r.Labels = map[string]string{}
			for i := range n {
				r.Labels[fmt.Sprintf("k%d", i)] = ""
			}
		}
	}
	note := func(k, v string) edit {
		return func(s *runpb.Service, _ *runpb.RevisionTemplate, _ *runpb.Container) {
			s.Annotations = map[string]string{k: v}
		}
	}
	check(t, []ruleTest{
		{"label", label("cloudssh-owner", "0_a-9"), "", ""},
		{"label international", label("größe", "schön"), "", ""},
		{"label longest", label(strings.Repeat("a", 63), strings.Repeat("9", 63)), "", ""},
		{"label key long", label(strings.Repeat("a", 64), ""), "service.labels", "63"},
		{"label key upper", label("Owner", ""), "service.labels", "Owner"},
		{"label key digit", label("1a", ""), "service.labels", "1a"},
		{"label key empty", label("", "a"), "service.labels", ""},
		{"label value upper", label("a", "B"), "service.labels", "value 'B'"},
		{"label value long", label("a", strings.Repeat("b", 64)), "service.labels", "63"},
		{"label value mail", label("a", "me@example.com"), "service.labels", "me@example.com"},
		{"labels 64", many(64), "", ""},
		{"labels 65", many(65), "service.template.labels", "at most 64"},
		{"label reserved", label("run.googleapis.com/x", "a"), "service.labels", "'run.googleapis.com'"},
		{"annotation", note("cloudssh.dev/account", "me@example.com"), "", ""},
		{"annotation reserved cloud", note("cloud.googleapis.com/location", "x"), "service.annotations", "reserved"},
		{"annotation reserved knative", note("serving.knative.dev/creator", "x"), "service.annotations", "reserved"},
		{"annotation reserved autoscaling", note("autoscaling.knative.dev/maxScale", "x"), "service.annotations", "reserved"},
		{"annotation reserved below", note("a.run.googleapis.com/x", "x"), "service.annotations", "reserved"},
		{"annotation alike", note("notrun.googleapis.com.example/x", "x"), "", ""},
		{"annotation key", note("a b", "x"), "service.annotations", "a b"},
		{"annotation prefix", note("A/b", "x"), "service.annotations", "A/b"},
		{"annotation size", note("a", strings.Repeat("x", 256<<10-1)), "", ""},
		{"annotation too big", note("a", strings.Repeat("x", 256<<10)), "service.annotations", "bytes"},
		{"template annotation reserved", func(_ *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) {
			r.Annotations = map[string]string{"run.googleapis.com/cpu-throttling": "false"}
		}, "service.template.annotations", "cpu-throttling"},
	})
}

func TestTraffic(t *testing.T) {
	const (
		latest = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
		named  = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
	)
	split := func(targets ...*runpb.TrafficTarget) edit {
		return func(s *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) {
			r.Revision, s.Traffic = "hello-v1", targets
		}
	}
	check(t, []ruleTest{
		{"latest", split(&runpb.TrafficTarget{Type: latest, Percent: 100}), "", ""},
		{"own revision", split(&runpb.TrafficTarget{Type: named, Revision: "hello-v1", Percent: 100}), "", ""},
		{"sum", split(&runpb.TrafficTarget{Type: latest, Percent: 60}), "service.traffic", "sum is 60"},
		{"unknown revision", split(&runpb.TrafficTarget{Type: named, Revision: "hello-old", Percent: 100}), "traffic[0].revision", "hello-old"},
		{"unnamed revision", split(&runpb.TrafficTarget{Type: named, Percent: 100}), "service.traffic[0].revision", "should be set"},
		{"latest names one", split(&runpb.TrafficTarget{Type: latest, Revision: "hello-v1", Percent: 100}), "service.traffic[0].revision", "should be empty"},
		{"type unknown", split(&runpb.TrafficTarget{Type: 9, Percent: 100}), "service.traffic[0].type", ""},
		{"tag", split(&runpb.TrafficTarget{Type: latest, Percent: 100, Tag: "green"}), "", ""},
		{"tag syntax", split(&runpb.TrafficTarget{Type: latest, Percent: 100, Tag: "Green"}), "service.traffic[0].tag", "lowercase"},
		{"tag twice", split(&runpb.TrafficTarget{Type: latest, Percent: 100, Tag: "a"}, &runpb.TrafficTarget{Type: latest, Tag: "a"}), "traffic[1].tag", "'a'"},
		{"tag longest", split(&runpb.TrafficTarget{Type: latest, Percent: 100, Tag: strings.Repeat("a", 41)}), "", ""},
		{"tag long", split(&runpb.TrafficTarget{Type: latest, Percent: 100, Tag: strings.Repeat("a", 42)}), "traffic[0].tag", "46"},
	})
	got := fields(t, Create("hello", edited(split(&runpb.TrafficTarget{Type: latest, Percent: 110}, &runpb.TrafficTarget{Type: latest, Percent: -10}))))
	if want := []string{"service.traffic[0].percent", "service.traffic[1].percent"}; !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
}

func TestTemplate(t *testing.T) {
	type tmpl = *runpb.RevisionTemplate
	on := func(f func(r tmpl)) edit {
		return func(_ *runpb.Service, r *runpb.RevisionTemplate, _ *runpb.Container) { f(r) }
	}
	timeout := func(d time.Duration) edit { return on(func(r tmpl) { r.Timeout = durationpb.New(d) }) }
	concurrency := func(n int32) edit { return on(func(r tmpl) { r.MaxInstanceRequestConcurrency = n }) }
	vpc := func(v *runpb.VpcAccess) edit { return on(func(r tmpl) { r.VpcAccess = v }) }
	revision := func(n string) edit { return on(func(r tmpl) { r.Revision = n }) }
	const connector = "projects/p/locations/us-central1/connectors/c"
	eth := &runpb.VpcAccess_NetworkInterface{Network: "default"}
	check(t, []ruleTest{
		{"revision", revision("hello-v1"), "", ""},
		{"revision prefix", revision("other-v1"), "template.revision", "prefixed by the name of the enclosing Service"},
		{"revision bare prefix", revision("hello"), "template.revision", "trailing -"},
		{"revision characters", revision("hello-V1"), "template.revision", "only lowercase"},
		{"revision end", revision("hello-"), "template.revision", "only lowercase"},
		{"revision 63", revision("hello-" + strings.Repeat("a", 57)), "", ""},
		{"revision 64", revision("hello-" + strings.Repeat("a", 58)), "template.revision", "less than 64"},
		{"timeout 1s", timeout(time.Second), "", ""},
		{"timeout 1h", timeout(time.Hour), "", ""},
		{"timeout 0", timeout(0), "service.template.timeout", "one second"},
		{"timeout over", timeout(3601 * time.Second), "service.template.timeout", "maximum allowed time is one hour."},
		{"concurrency 1000", concurrency(1000), "", ""},
		{"concurrency 1001", concurrency(1001), "service.template.max_instance_request_concurrency", "1000"},
		{"concurrency negative", concurrency(-1), "service.template.max_instance_request_concurrency", ""},
		{"scaling", on(func(r tmpl) { r.Scaling = &runpb.RevisionScaling{MinInstanceCount: 3, MaxInstanceCount: 3} }), "", ""},
		{"scaling no max", on(func(r tmpl) { r.Scaling = &runpb.RevisionScaling{MinInstanceCount: 300} }), "", ""},
		{"scaling crossed", on(func(r tmpl) { r.Scaling = &runpb.RevisionScaling{MinInstanceCount: 3, MaxInstanceCount: 2} }), "template.scaling.min_instance_count", "(3)"},
		{"scaling negative", on(func(r tmpl) { r.Scaling = &runpb.RevisionScaling{MaxInstanceCount: -2} }), "service.template.scaling.max_instance_count", ""},
		{"environment", on(func(r tmpl) { r.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2 }), "", ""},
		{"environment unknown", on(func(r tmpl) { r.ExecutionEnvironment = 5 }), "service.template.execution_environment", "5"},
		{"account", on(func(r tmpl) { r.ServiceAccount = "app@p.iam.gserviceaccount.com" }), "", ""},
		{"account syntax", on(func(r tmpl) { r.ServiceAccount = "app" }), "service.template.service_account", "email"},
		{"connector", vpc(&runpb.VpcAccess{Connector: connector}), "", ""},
		{"connector short", vpc(&runpb.VpcAccess{Connector: "c"}), "service.template.vpc_access.connector", "projects/{project}"},
		{"connector and network", vpc(&runpb.VpcAccess{Connector: connector, NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{eth}}), "service.template.vpc_access.connector", "one and only one of connector and network_interfaces must be set."},
		{"neither", vpc(&runpb.VpcAccess{Egress: runpb.VpcAccess_ALL_TRAFFIC}), "service.template.vpc_access.connector", "one and only one"},
		{"network", vpc(&runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{eth}}), "", ""},
		{"two networks", vpc(&runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{eth, eth}}), "service.template.vpc_access.network_interfaces", "0 or 1"},
		{"network unnamed", vpc(&runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{}}}), "service.template.vpc_access.network_interfaces[0]", "network"},
		{"egress unknown", vpc(&runpb.VpcAccess{Connector: connector, Egress: 8}), "service.template.vpc_access.egress", "8"},
		{"key", on(func(r tmpl) { r.EncryptionKey = "projects/p/locations/l/keyRings/r/cryptoKeys/k" }), "", ""},
		{"key short", on(func(r tmpl) { r.EncryptionKey = "k" }), "service.template.encryption_key", "cryptoKeys"},
		{"revocation", on(func(r tmpl) {
			r.EncryptionKeyRevocationAction = runpb.EncryptionKeyRevocationAction_SHUTDOWN
			r.EncryptionKeyShutdownDuration = durationpb.New(2 * time.Hour)
		}), "", ""},
		{"revocation unknown", on(func(r tmpl) { r.EncryptionKeyRevocationAction = 9 }), "service.template.encryption_key_revocation_action", ""},
		{"shutdown minutes", on(func(r tmpl) {
			r.EncryptionKeyRevocationAction = runpb.EncryptionKeyRevocationAction_SHUTDOWN
			r.EncryptionKeyShutdownDuration = durationpb.New(90 * time.Minute)
		}), "service.template.encryption_key_shutdown_duration", "hours"},
		{"shutdown without action", on(func(r tmpl) { r.EncryptionKeyShutdownDuration = durationpb.New(time.Hour) }), "service.template.encryption_key_shutdown_duration", "SHUTDOWN"},
	})
}

func TestMessageForm(t *testing.T) {
	err := Create("hello", edited(func(_ *runpb.Service, _ *runpb.RevisionTemplate, c *runpb.Container) {
		c.Ports = []*runpb.ContainerPort{{ContainerPort: 1}, {ContainerPort: 2}}
	}))
	const want = "Violation in CreateServiceRequest.service.template.containers[0].ports: ports should contain 0 or 1 port."
	if got := status.Convert(err).Message(); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestUpdate(t *testing.T) {
	old := base()
	old.Name = "projects/p/locations/r/services/hello"
	old.Template.Revision = "hello-v1"
	old.Annotations = map[string]string{"run.googleapis.com/old": "kept"}
	Defaults(old, "sa@example.com")
	exists := func(name string) bool { return name == "hello-v1" || name == "hello-v0" }
	next := func(e edit) *runpb.Service {
		s := proto.CloneOf(old)
		if e != nil {
			e(s, s.Template, s.Template.Containers[0])
		}
		return s
	}
	type svc = *runpb.Service
	type tmpl = *runpb.RevisionTemplate
	for _, test := range []struct {
		name string
		edit edit
		want codes.Code
		text string
	}{
		{"unchanged", nil, codes.OK, ""},
		{"kept annotation", func(s svc, _ tmpl, _ *runpb.Container) { s.Labels = map[string]string{"a": "b"} }, codes.OK, ""},
		{"new reserved annotation", func(s svc, _ tmpl, _ *runpb.Container) { s.Annotations["run.googleapis.com/new"] = "x" }, codes.InvalidArgument, "Violation in UpdateServiceRequest.service.annotations: "},
		{"taken revision", func(_ svc, r tmpl, _ *runpb.Container) { r.SessionAffinity = true }, codes.AlreadyExists, "Revision named 'hello-v1' with different configuration already exists."},
		{"new revision", func(_ svc, r tmpl, _ *runpb.Container) { r.Revision = "hello-v2" }, codes.OK, ""},
		{"generated revision", func(_ svc, r tmpl, _ *runpb.Container) { r.Revision, r.SessionAffinity = "", true }, codes.OK, ""},
		{"foreign revision", func(_ svc, r tmpl, _ *runpb.Container) { r.Revision = "other-v2" }, codes.InvalidArgument, "template.revision: "},
		{"traffic to old", func(s svc, _ tmpl, _ *runpb.Container) { s.Traffic = toRevision("hello-v0") }, codes.OK, ""},
		{"traffic to none", func(s svc, _ tmpl, _ *runpb.Container) { s.Traffic = toRevision("hello-v9") }, codes.InvalidArgument, "traffic[0].revision: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Update(old, next(test.edit), exists)
			if status.Code(err) != test.want || !strings.Contains(status.Convert(err).Message(), test.text) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

func toRevision(name string) []*runpb.TrafficTarget {
	return []*runpb.TrafficTarget{{
		Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION, Revision: name, Percent: 100,
	}}
}

func TestPlainErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{AlreadyExists("hello"), codes.AlreadyExists, "Resource 'hello' already exists."},
		{NotFound("SERVICE", "hello", "us-central1", "p"), codes.NotFound, "Resource 'hello' of kind 'SERVICE' in region 'us-central1' in project 'p' does not exist."},
		{EtagMismatch("hello", "1", "2"), codes.Aborted, "Conflict for resource 'hello': version '1' was specified but current version is '2'."},
	} {
		if s := status.Convert(test.err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("got %v, want %v %q", test.err, test.code, test.text)
		}
	}
}
