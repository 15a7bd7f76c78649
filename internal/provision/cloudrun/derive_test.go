package cloudrun

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	testKey    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq0zl0pQ0eZ0sQ0zD8kqT9kq0aV0zYw0k6n1s3o5r7t me"
	testDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	injected   = "reg/demo/app@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
)

// Every field of every message that a service is made of must have been decided about. A failure here after an upgrade of
// the library is the point: read what the new field does, then add it to fields.go.
func TestEveryFieldIsDecided(t *testing.T) {
	rules := fieldRules()
	seen := map[string]bool{}
	var walk func(d protoreflect.MessageDescriptor)
	walk = func(d protoreflect.MessageDescriptor) {
		name := shortName(d)
		if seen[name] || !ours(d) {
			return
		}
		seen[name] = true
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			r, ok := rules[name][string(f.Name())]
			if !ok || r.why == "" {
				t.Errorf("%s.%s: nobody decided what becomes of it", name, f.Name())
			}
			if f.Message() != nil && !f.IsMap() && needed(r, name, f) {
				walk(f.Message())
			}
		}
		for f := range rules[name] {
			if !isLimit(f) && d.Fields().ByName(protoreflect.Name(f)) == nil {
				t.Errorf("%s.%s: there is no such field", name, f)
			}
		}
	}
	walk((&runpb.Service{}).ProtoReflect().Descriptor())
	for name := range rules {
		if !seen[name] {
			t.Errorf("%s: no such message in a service", name)
		}
	}
}

// needed: what is inside a field matters only if it is copied, or derived field by field.
func needed(r rule, message string, f protoreflect.FieldDescriptor) bool {
	switch message + "." + string(f.Name()) {
	case "Container.ports": // made anew
		return false
	case "RevisionTemplate.node_selector": // copied with --gpu
		return true
	}
	return r.decision != provision.Drop
}

// isLimit: the rules are about each limit, the schema about all.
func isLimit(field string) bool { return strings.HasPrefix(field, "limits.") }

// full is a message with every field set to something that is not its default, unknown fields included.
func full(t *testing.T, m proto.Message) {
	t.Helper()
	fill(m.ProtoReflect(), 0)
}

func fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsMap():
			if f.MapValue().Kind() == protoreflect.StringKind {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString("k"+fmt.Sprint(f.Number())).MapKey(), protoreflect.ValueOfString("v"))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			if f.Message() == nil {
				list.Append(scalar(f))
				continue
			}
			e := list.NewElement()
			fill(e.Message(), depth+1)
			list.Append(e)
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, scalar(f))
		}
	}
	m.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.Number()) + 1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.Number()) + 1)
	}
	return protoreflect.ValueOfString(fmt.Sprintf("%s-%d", f.Name(), f.Number()))
}

// What the rules say is what Derive does, for every field there is, with everything set that can be.
func TestDeriveFollowsTheRules(t *testing.T) {
	target, rev := &runpb.Service{}, &runpb.Revision{}
	full(t, target)
	full(t, rev)
	target.Name = "projects/p/locations/r/services/app"
	twin, _, err := Derive(target, rev, spec())
	if err != nil {
		t.Fatal(err)
	}
	template := twin.GetTemplate()
	checkRules(t, target, twin)
	checkRules(t, rev, template)
	checkRules(t, rev.GetContainers()[0], template.GetContainers()[0])
	checkRules(t, rev.GetContainers()[0].GetResources(), template.GetContainers()[0].GetResources())
	checkRules(t, rev.GetVpcAccess(), template.GetVpcAccess())
	checkRules(t, target.GetBinaryAuthorization(), twin.GetBinaryAuthorization())
	noUnknown(t, twin.ProtoReflect())
}

// checkRules compares fields by name: the copied are equal, the dropped absent.
func checkRules(t *testing.T, from, twin proto.Message) {
	t.Helper()
	src, dst := from.ProtoReflect(), twin.ProtoReflect()
	name := shortName(dst.Descriptor())
	for f, r := range fieldRules()[name] {
		if isLimit(f) {
			continue
		}
		to := dst.Descriptor().Fields().ByName(protoreflect.Name(f))
		was := src.Descriptor().Fields().ByName(protoreflect.Name(f))
		switch {
		case r.decision == provision.Drop && dst.Has(to):
			t.Errorf("%s.%s is there: %v", name, f, dst.Get(to))
		case r.decision == provision.Copy && src.Has(was) && !dst.Has(to):
			t.Errorf("%s.%s is lost", name, f)
		case r.decision == provision.Copy && to.Message() == nil && !src.Get(was).Equal(dst.Get(to)) && f != "service_account":
			t.Errorf("%s.%s is %v, was %v", name, f, dst.Get(to), src.Get(was))
		}
	}
}

func noUnknown(t *testing.T, m protoreflect.Message) {
	t.Helper()
	if len(m.GetUnknown()) > 0 {
		t.Errorf("%s carries fields that this version does not know", m.Descriptor().Name())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}

func spec() Spec {
	return Spec{
		Project: "p", Region: "r", Name: "app-ssh", Made: time.Unix(1790000000, 0), Version: "v1.2.3",
		Lease: provision.Lease{
			OwnerHash: "abcd", Account: "ann@example.com", Reason: "why not", Expires: time.Unix(1790003600, 0), Maker: "m", Spec: "s",
		},
		Images: map[int]string{0: injected}, Key: testKey, IdleTimeout: 30 * time.Minute,
		App: inject.App{Entrypoint: []string{"/hello"}, Dir: "/", User: "65532"},
	}
}

// app is an ordinary service.
func app() (*runpb.Service, *runpb.Revision) {
	return &runpb.Service{Name: "projects/p/locations/r/services/app"},
		&runpb.Revision{
			Name:       "projects/p/locations/r/services/app/revisions/app-00001",
			Containers: []*runpb.Container{{Name: "web", Image: "reg/demo/app:v1"}},
		}
}

// main is the twin's container that takes requests.
func mainOf(s *runpb.Service) *runpb.Container {
	all := s.GetTemplate().GetContainers()
	return all[slices.IndexFunc(all, func(c *runpb.Container) bool { return len(c.GetPorts()) > 0 })]
}

// One row per field of the platform's facts: what is set in the service or revision, and what the twin must have.
func TestDeriveFields(t *testing.T) {
	type row struct {
		name string
		set  func(*runpb.Service, *runpb.Revision)
		spec func(*Spec)
		get  func(*runpb.Service) any
		want any
	}
	first := func(r *runpb.Revision) *runpb.Container { return r.GetContainers()[0] }
	limits := func(l map[string]string) func(*runpb.Service, *runpb.Revision) {
		return func(_ *runpb.Service, r *runpb.Revision) { first(r).Resources = &runpb.ResourceRequirements{Limits: l} }
	}
	volume := func(v *runpb.Volume) func(*runpb.Service, *runpb.Revision) {
		return func(_ *runpb.Service, r *runpb.Revision) {
			v.Name = "v"
			r.Volumes = []*runpb.Volume{v}
			first(r).VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "s"}}
		}
	}
	getVolume := func(s *runpb.Service) any { return s.GetTemplate().GetVolumes()[0] }
	getLimits := func(s *runpb.Service) any { return mainOf(s).GetResources().GetLimits() }
	none := map[string]string{"cpu": "1"}

	rows := []row{
		// Service
		{
			"description", func(s *runpb.Service, _ *runpb.Revision) { s.Description = "mine" }, nil,
			func(s *runpb.Service) any { return s.GetDescription() },
			"cloudssh twin of app, started by ann@example.com at 2026-09-21T14:13:20Z: why not",
		},
		{
			"description fits", nil, func(s *Spec) { s.Lease.Reason = strings.Repeat("ü", 600) },
			func(s *runpb.Service) any { return len([]rune(s.GetDescription())) }, 512,
		},
		{"labels", func(s *runpb.Service, _ *runpb.Revision) {
			s.Labels = map[string]string{
				"team": "x", "run.googleapis.com/a": "1", "goog-managed-by": "tf", "goog-terraform-provisioned": "true",
				"cloudssh": "no", "cloudssh-owner": "no", "gcb-trigger-id": "1", "managed-by": "argo",
			}
		}, nil, func(s *runpb.Service) any { return s.GetLabels() }, map[string]string{
			"team": "x", "cloudssh": "twin", "cloudssh-source": "app", "cloudssh-owner": "abcd", "cloudssh-expires": "1790003600",
		}},
		{"labels are 64 at most", func(s *runpb.Service, _ *runpb.Revision) {
			s.Labels = map[string]string{}
			for i := range 64 {
				s.Labels[fmt.Sprintf("l%d", i)] = "x"
			}
		}, nil, func(s *runpb.Service) any { return len(s.GetLabels()) }, 64},
		{"annotations", func(s *runpb.Service, _ *runpb.Revision) {
			s.Annotations = map[string]string{"run.googleapis.com/x": "1", "argocd/y": "2"}
		}, nil, func(s *runpb.Service) any { return s.GetAnnotations() }, map[string]string{
			"cloudssh.dev/account": "ann@example.com", "cloudssh.dev/reason": "why not", "cloudssh.dev/maker": "m", "cloudssh.dev/spec": "s",
		}},
		{
			"client", func(s *runpb.Service, _ *runpb.Revision) { s.Client, s.ClientVersion = "gcloud", "1" }, nil,
			func(s *runpb.Service) any { return s.GetClient() + " " + s.GetClientVersion() }, "cloudssh v1.2.3",
		},
		{
			"ingress", func(s *runpb.Service, _ *runpb.Revision) {
				s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY
			}, nil,
			func(s *runpb.Service) any { return s.GetIngress() }, runpb.IngressTraffic_INGRESS_TRAFFIC_ALL,
		},
		{
			"launch_stage", func(s *runpb.Service, _ *runpb.Revision) { s.LaunchStage = api.LaunchStage_BETA }, nil,
			func(s *runpb.Service) any { return s.GetLaunchStage() }, api.LaunchStage_BETA,
		},
		{
			"binary_authorization", func(s *runpb.Service, _ *runpb.Revision) {
				s.BinaryAuthorization = &runpb.BinaryAuthorization{
					BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}, BreakglassJustification: "fire",
				}
			}, nil, func(s *runpb.Service) any { return s.GetBinaryAuthorization() },
			&runpb.BinaryAuthorization{BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}},
		},
		{"traffic", func(s *runpb.Service, _ *runpb.Revision) {
			s.Traffic = []*runpb.TrafficTarget{{Revision: "app-00001", Percent: 100}}
		}, nil, func(s *runpb.Service) any { return len(s.GetTraffic()) }, 0},
		{
			"scaling", func(s *runpb.Service, _ *runpb.Revision) {
				s.Scaling = &runpb.ServiceScaling{
					ScalingMode: runpb.ServiceScaling_MANUAL, ManualInstanceCount: proto.Int32(3), MinInstanceCount: 2, MaxInstanceCount: 9,
				}
			}, nil, func(s *runpb.Service) any { return s.GetScaling() },
			&runpb.ServiceScaling{ScalingMode: runpb.ServiceScaling_AUTOMATIC, MaxInstanceCount: 1},
		},
		{
			"invoker_iam_disabled", func(s *runpb.Service, _ *runpb.Revision) { s.InvokerIamDisabled = true }, nil,
			func(s *runpb.Service) any { return s.GetInvokerIamDisabled() }, false,
		},
		{
			"default_uri_disabled", func(s *runpb.Service, _ *runpb.Revision) { s.DefaultUriDisabled = true }, nil,
			func(s *runpb.Service) any { return s.GetDefaultUriDisabled() }, false,
		},
		{
			"iap_enabled", func(s *runpb.Service, _ *runpb.Revision) { s.IapEnabled = true }, nil,
			func(s *runpb.Service) any { return s.GetIapEnabled() }, false,
		},
		{"multi_region_settings", func(s *runpb.Service, _ *runpb.Revision) {
			s.MultiRegionSettings = &runpb.Service_MultiRegionSettings{Regions: []string{"a", "b"}}
		}, nil, func(s *runpb.Service) any { return s.GetMultiRegionSettings() == nil }, true},
		{
			"custom_audiences", func(s *runpb.Service, _ *runpb.Revision) { s.CustomAudiences = []string{"x"} }, nil,
			func(s *runpb.Service) any { return len(s.GetCustomAudiences()) }, 0,
		},
		{
			"build_config", func(s *runpb.Service, _ *runpb.Revision) { s.BuildConfig = &runpb.BuildConfig{Name: "b"} }, nil,
			func(s *runpb.Service) any { return s.GetBuildConfig() == nil }, true,
		},
		{
			"name and output", func(s *runpb.Service, _ *runpb.Revision) {
				s.Uid, s.Etag, s.Uri, s.Reconciling = "u", "e", "https://x", true
			}, nil,
			func(s *runpb.Service) any {
				return s.GetName() + s.GetUid() + s.GetEtag() + s.GetUri() + fmt.Sprint(s.GetReconciling())
			}, "false",
		},

		// RevisionTemplate
		{"template.revision", nil, nil, func(s *runpb.Service) any { return s.GetTemplate().GetRevision() }, ""},
		{"template.labels", func(_ *runpb.Service, r *runpb.Revision) {
			r.Labels = map[string]string{"cost": "1", "serving.knative.dev/x": "1", "goog-x": "1"}
		}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetLabels() }, map[string]string{
			"cost": "1", "cloudssh": "twin", "cloudssh-source": "app", "cloudssh-owner": "abcd", "cloudssh-expires": "1790003600",
		}},
		{
			"template.annotations", func(_ *runpb.Service, r *runpb.Revision) { r.Annotations = map[string]string{"a": "b"} }, nil,
			func(s *runpb.Service) any { return len(s.GetTemplate().GetAnnotations()) }, 0,
		},
		{"template.scaling", func(_ *runpb.Service, r *runpb.Revision) {
			r.Scaling = &runpb.RevisionScaling{MinInstanceCount: 5, MaxInstanceCount: 50}
		}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetScaling() }, &runpb.RevisionScaling{MaxInstanceCount: 1}},
		{
			"vpc connector, short", func(_ *runpb.Service, r *runpb.Revision) {
				r.VpcAccess = &runpb.VpcAccess{Connector: "c1", Egress: runpb.VpcAccess_ALL_TRAFFIC}
			}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetVpcAccess() },
			&runpb.VpcAccess{Connector: "projects/p/locations/r/connectors/c1", Egress: runpb.VpcAccess_ALL_TRAFFIC},
		},
		{
			"vpc connector, full and alone", func(_ *runpb.Service, r *runpb.Revision) {
				r.VpcAccess = &runpb.VpcAccess{Connector: "projects/host/locations/r/connectors/c1"}
			}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetVpcAccess() },
			&runpb.VpcAccess{Connector: "projects/host/locations/r/connectors/c1"},
		},
		{
			"direct vpc", func(_ *runpb.Service, r *runpb.Revision) {
				r.VpcAccess = &runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{Network: "n", Subnetwork: "s", Tags: []string{"t"}}}}
			}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetVpcAccess() },
			&runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{Network: "n", Subnetwork: "s", Tags: []string{"t"}}}},
		},
		{
			"timeout", func(_ *runpb.Service, r *runpb.Revision) { r.Timeout = durationpb.New(time.Minute) }, nil,
			func(s *runpb.Service) any { return s.GetTemplate().GetTimeout().AsDuration() }, time.Hour,
		},
		{
			"service_account", func(_ *runpb.Service, r *runpb.Revision) { r.ServiceAccount = "a@x" }, nil,
			func(s *runpb.Service) any { return s.GetTemplate().GetServiceAccount() }, "a@x",
		},
		{
			"service_account asked for", func(_ *runpb.Service, r *runpb.Revision) { r.ServiceAccount = "a@x" },
			func(s *Spec) { s.Overrides.ServiceAccount = "b@x.y" }, func(s *runpb.Service) any { return s.GetTemplate().GetServiceAccount() }, "b@x.y",
		},
		{"execution_environment", func(_ *runpb.Service, r *runpb.Revision) {
			r.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
		}, nil, func(s *runpb.Service) any { return s.GetTemplate().GetExecutionEnvironment() }, runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1},
		{"encryption", func(_ *runpb.Service, r *runpb.Revision) {
			r.EncryptionKey, r.EncryptionKeyRevocationAction = "key", runpb.EncryptionKeyRevocationAction_SHUTDOWN
			r.EncryptionKeyShutdownDuration = durationpb.New(2 * time.Hour)
		}, nil, func(s *runpb.Service) any {
			x := s.GetTemplate()
			return fmt.Sprintln(x.GetEncryptionKey(), x.GetEncryptionKeyRevocationAction(), x.GetEncryptionKeyShutdownDuration().AsDuration())
		}, "key SHUTDOWN 2h0m0s\n"},
		{
			"concurrency", func(_ *runpb.Service, r *runpb.Revision) { r.MaxInstanceRequestConcurrency = 1 }, nil,
			func(s *runpb.Service) any { return s.GetTemplate().GetMaxInstanceRequestConcurrency() }, int32(80),
		},
		{
			"service_mesh", func(_ *runpb.Service, r *runpb.Revision) { r.ServiceMesh = &runpb.ServiceMesh{Mesh: "m"} }, nil,
			func(s *runpb.Service) any { return s.GetTemplate().GetServiceMesh() == nil }, true,
		},
		{"health_check_disabled", nil, nil, func(s *runpb.Service) any { return s.GetTemplate().GetHealthCheckDisabled() }, false},
		{"gpu", func(_ *runpb.Service, r *runpb.Revision) {
			r.NodeSelector, r.GpuZonalRedundancyDisabled = &runpb.NodeSelector{Accelerator: "nvidia-l4"}, proto.Bool(true)
			first(r).Resources = &runpb.ResourceRequirements{Limits: map[string]string{"nvidia.com/gpu": "1", "cpu": "4", "memory": "16Gi"}}
		}, nil, func(s *runpb.Service) any {
			x := s.GetTemplate()
			return fmt.Sprint(x.GetNodeSelector() == nil, x.GpuZonalRedundancyDisabled == nil, mainOf(s).GetResources().GetLimits())
		}, "true true map[cpu:4 memory:16Gi]"},

		// Container
		{
			"name", func(_ *runpb.Service, r *runpb.Revision) { first(r).Name = "" }, nil,
			func(s *runpb.Service) any { return mainOf(s).GetName() }, "",
		},
		{"image", nil, nil, func(s *runpb.Service) any { return mainOf(s).GetImage() }, injected},
		{
			"source_code", func(_ *runpb.Service, r *runpb.Revision) {
				first(r).SourceCode = &runpb.SourceCode{SourceType: &runpb.SourceCode_CloudStorageSource_{
					CloudStorageSource: &runpb.SourceCode_CloudStorageSource{Bucket: "b", Object: "o", Generation: 3},
				}}
			}, nil, func(s *runpb.Service) any { return mainOf(s).GetSourceCode().GetCloudStorageSource() },
			&runpb.SourceCode_CloudStorageSource{Bucket: "b", Object: "o", Generation: 3},
		},
		{
			"command", func(_ *runpb.Service, r *runpb.Revision) {
				first(r).Command, first(r).Args = []string{"/x"}, []string{"y"}
			}, nil,
			func(s *runpb.Service) any { return fmt.Sprint(mainOf(s).GetCommand(), mainOf(s).GetArgs()) }, "[/.cloudssh/cloudssh-agent] []",
		},
		{
			"env", func(_ *runpb.Service, r *runpb.Revision) {
				first(r).Env = []*runpb.EnvVar{
					literal("B", "2"), literal("PORT", "1"), literal("K_SERVICE", "x"), literal("EMPTY", ""), literal("CLOUDSSH_AGENT", "x"),
					{Name: "S", Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
						SecretKeyRef: &runpb.SecretKeySelector{Secret: "s", Version: "latest"},
					}}},
				}
			}, func(s *Spec) { s.Overrides.SetEnv = map[string]string{"B": "3", "A": "1"} }, func(s *runpb.Service) any { return names(mainOf(s).GetEnv()) },
			[]string{"B=3", "EMPTY=", "S=secret:s/latest", "A=1", "CLOUDSSH_AGENT"},
		},
		{"cpu_idle", limits(nil), nil, func(s *runpb.Service) any { return mainOf(s).GetResources().GetCpuIdle() }, false},
		{"startup_cpu_boost", func(_ *runpb.Service, r *runpb.Revision) {
			first(r).Resources = &runpb.ResourceRequirements{CpuIdle: true, StartupCpuBoost: true}
		}, nil, func(s *runpb.Service) any { return mainOf(s).GetResources() }, &runpb.ResourceRequirements{Limits: none, StartupCpuBoost: true}},
		{"no limits", nil, nil, getLimits, none},
		{"cpu 500m", limits(map[string]string{"cpu": "500m", "memory": "1Gi"}), nil, getLimits, map[string]string{"cpu": "1", "memory": "1Gi"}},
		{"cpu 0.08", limits(map[string]string{"cpu": "0.08", "memory": "128Mi"}), nil, getLimits, map[string]string{"cpu": "1", "memory": "512Mi"}},
		{"cpu 1000m", limits(map[string]string{"cpu": "1000m", "memory": "512Mi"}), nil, getLimits, map[string]string{"cpu": "1000m", "memory": "512Mi"}},
		{"cpu 4", limits(map[string]string{"cpu": "4", "memory": "8Gi"}), nil, getLimits, map[string]string{"cpu": "4", "memory": "8Gi"}},
		{"cpu unreadable", limits(map[string]string{"cpu": "lots"}), nil, getLimits, map[string]string{"cpu": "lots"}},
		{
			"cpu asked for", limits(map[string]string{"cpu": "4"}), func(s *Spec) { s.Overrides.CPU, s.Overrides.Memory = "2", "4Gi" }, getLimits,
			map[string]string{"cpu": "2", "memory": "4Gi"},
		},
		{"port by default", nil, nil, func(s *runpb.Service) any { return mainOf(s).GetPorts()[0] }, &runpb.ContainerPort{Name: "http1", ContainerPort: 8080}},
		{
			"port h2c", func(_ *runpb.Service, r *runpb.Revision) {
				first(r).Ports = []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 9000}}
			}, nil,
			func(s *runpb.Service) any { return mainOf(s).GetPorts()[0] }, &runpb.ContainerPort{Name: "http1", ContainerPort: 9000},
		},
		{
			"volume_mounts", volume(&runpb.Volume{VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{}}}), nil,
			func(s *runpb.Service) any { return mainOf(s).GetVolumeMounts()[0] }, &runpb.VolumeMount{Name: "v", MountPath: "/v", SubPath: "s"},
		},
		{
			"working_dir", func(_ *runpb.Service, r *runpb.Revision) { first(r).WorkingDir = "/w" }, nil,
			func(s *runpb.Service) any { return mainOf(s).GetWorkingDir() }, "/w",
		},
		{"liveness_probe, readiness_probe", func(_ *runpb.Service, r *runpb.Revision) {
			first(r).LivenessProbe, first(r).ReadinessProbe = httpProbe(), httpProbe()
		}, nil, func(s *runpb.Service) any {
			return mainOf(s).GetLivenessProbe() == nil && mainOf(s).GetReadinessProbe() == nil
		}, true},
		{"startup_probe", func(_ *runpb.Service, r *runpb.Revision) {
			first(r).StartupProbe, first(r).Ports = httpProbe(), []*runpb.ContainerPort{{ContainerPort: 9000}}
		}, nil, func(s *runpb.Service) any { return mainOf(s).GetStartupProbe() }, &runpb.Probe{
			TimeoutSeconds: 240, PeriodSeconds: 240, FailureThreshold: 1,
			ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 9000}},
		}},
		{"base_image_uri, build_info", func(_ *runpb.Service, r *runpb.Revision) {
			first(r).BaseImageUri, first(r).BuildInfo = "b", &runpb.BuildInfo{FunctionTarget: "f"}
		}, nil, func(s *runpb.Service) any {
			return mainOf(s).GetBaseImageUri() == "" && mainOf(s).GetBuildInfo() == nil
		}, true},

		// Volume
		{"secret", volume(&runpb.Volume{VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
			Secret: "s", DefaultMode: 0o400, Items: []*runpb.VersionToPath{{Path: "p", Version: "1", Mode: 0o440}},
		}}}), nil, getVolume, &runpb.Volume{Name: "v", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
			Secret: "s", DefaultMode: 0o400, Items: []*runpb.VersionToPath{{Path: "p", Version: "1", Mode: 0o440}},
		}}}},
		{
			"cloud_sql_instance", volume(&runpb.Volume{VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"i"}}}}), nil,
			getVolume, &runpb.Volume{Name: "v", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"i"}}}},
		},
		{"empty_dir", volume(&runpb.Volume{VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
			Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "1Gi",
		}}}), nil, getVolume, &runpb.Volume{Name: "v", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
			Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "1Gi",
		}}}},
		{
			"nfs", volume(&runpb.Volume{VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "s", Path: "/p"}}}), nil,
			getVolume, &runpb.Volume{Name: "v", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "s", Path: "/p", ReadOnly: true}}},
		},
		{
			"gcs", volume(&runpb.Volume{VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "b", MountOptions: []string{"o"}}}}), nil,
			getVolume, &runpb.Volume{Name: "v", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "b", MountOptions: []string{"o"}, ReadOnly: true}}},
		},
		{
			"volume of an unknown kind", volume(&runpb.Volume{}), nil,
			func(s *runpb.Service) any {
				return len(s.GetTemplate().GetVolumes()) + len(mainOf(s).GetVolumeMounts())
			}, 0,
		},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			target, rev := app()
			if r.set != nil {
				r.set(target, rev)
			}
			s := spec()
			if r.spec != nil {
				r.spec(&s)
			}
			before, revBefore := proto.Clone(target), proto.Clone(rev)
			twin, _, err := Derive(target, rev, s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.want, r.get(twin), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if !proto.Equal(before, target) || !proto.Equal(revBefore, rev) {
				t.Error("the service was changed")
			}
		})
	}
}

func httpProbe() *runpb.Probe {
	return &runpb.Probe{PeriodSeconds: 5, ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{
		Path: "/ok", Port: 1, HttpHeaders: []*runpb.HTTPHeader{{Name: "h", Value: "v"}},
	}}}
}

// names shows variables in a line each, the agent's configuration without its value.
func names(env []*runpb.EnvVar) []string {
	var all []string
	for _, e := range env {
		switch ref := e.GetValueSource().GetSecretKeyRef(); {
		case e.GetName() == agentEnv:
			all = append(all, agentEnv)
		case ref != nil:
			all = append(all, e.GetName()+"=secret:"+ref.GetSecret()+"/"+ref.GetVersion())
		default:
			all = append(all, e.GetName()+"="+e.GetValue())
		}
	}
	return all
}

func TestDeriveSidecars(t *testing.T) {
	target, rev := app()
	rev.Containers = []*runpb.Container{
		{
			Name: "proxy", Image: "reg/proxy:v1", Command: []string{"/p"}, Args: []string{"a"}, StartupProbe: httpProbe(), LivenessProbe: httpProbe(),
			Resources: &runpb.ResourceRequirements{CpuIdle: true, Limits: map[string]string{"cpu": "200m"}},
		},
		{Image: "reg/demo/app:v1", DependsOn: []string{"proxy"}, Ports: []*runpb.ContainerPort{{ContainerPort: 3000}}},
		{Name: "app", Image: "reg/other:v1"},
	}
	s := spec()
	s.Images = map[int]string{0: "reg/proxy@" + testDigest, 1: injected}
	twin, _, err := Derive(target, rev, s)
	if err != nil {
		t.Fatal(err)
	}
	got := twin.GetTemplate().GetContainers()
	want := &runpb.Container{
		Name: "proxy", Image: "reg/proxy@" + testDigest, Command: []string{"/p"}, Args: []string{"a"}, StartupProbe: httpProbe(),
		Resources: &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "200m"}},
	}
	if diff := cmp.Diff(want, got[0], protocmp.Transform()); diff != "" {
		t.Errorf("sidecar:\n%s", diff)
	}
	if got[1].GetName() != "app-2" || got[1].GetImage() != injected || !slices.Equal(got[1].GetDependsOn(), []string{"proxy"}) {
		t.Errorf("main container %v", got[1])
	}
	if got[2].GetImage() != "reg/other:v1" || len(got[2].GetPorts()) > 0 {
		t.Errorf("second sidecar %v", got[2])
	}
}

func TestDeriveAgentConfig(t *testing.T) {
	target, rev := app()
	rev.Containers[0].Ports = []*runpb.ContainerPort{{ContainerPort: 9000}}
	twin, _, err := Derive(target, rev, spec())
	if err != nil {
		t.Fatal(err)
	}
	env := mainOf(twin).GetEnv()
	var got map[string]any
	if err := json.Unmarshal([]byte(env[len(env)-1].GetValue()), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"version": 1.0, "authorized_keys": []any{testKey}, "expires": 1790003600.0, "idle_timeout": 1800.0, "grace": 600.0,
		"app": map[string]any{
			"entrypoint": []any{"/hello"}, "args": []any{}, "dir": "/", "user": "65532", "port": 9000.0,
		},
		"service": "app", "twin": "app-ssh", "reason": "why not", "owner": "ann@example.com",
		"request_timeout": 3600.0, "resource": "projects/p/locations/r/services/app-ssh",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeriveMinInstances(t *testing.T) {
	target, rev := app()
	kept := spec()
	kept.MinInstances = 1
	twin, _, err := Derive(target, rev, kept)
	if err != nil {
		t.Fatal(err)
	}
	if s := twin.GetScaling(); s.GetMinInstanceCount() != 1 || s.GetMaxInstanceCount() != 1 || twin.GetTemplate().GetScaling().GetMinInstanceCount() != 0 {
		t.Errorf("scaling %v", s)
	}
	env := mainOf(twin).GetEnv()
	if text := env[len(env)-1].GetValue(); !strings.Contains(text, `"min_instances":1`) {
		t.Errorf("the agent is told %s", text)
	}
	if got, want := shapeOf(twin), (provision.Shape{CPU: 1, Memory: 0.5, MinInstances: 1}); got != want {
		t.Errorf("shape %v, want %v", got, want)
	}
	twin.Template.Containers = append(twin.Template.Containers, &runpb.Container{},
		&runpb.Container{Resources: &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "500m", "memory": "2Gi"}}})
	if got, want := shapeOf(twin), (provision.Shape{CPU: 2.5, Memory: 3, MinInstances: 1}); got != want {
		t.Errorf("shape with sidecars %v, want %v", got, want)
	}
}

func TestDeriveRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spec func(*Spec)
		rev  func(*runpb.Revision)
		text string
	}{
		"PORT":          {func(s *Spec) { s.Overrides.SetEnv = map[string]string{"PORT": "1"} }, nil, "PORT"},
		"our variable":  {func(s *Spec) { s.Overrides.SetEnv = map[string]string{"CLOUDSSH_AGENT": "1"} }, nil, "CLOUDSSH_AGENT"},
		"long args":     {func(s *Spec) { s.App.Args = []string{strings.Repeat("x", 33000)} }, nil, "too long"},
		"no containers": {nil, func(r *runpb.Revision) { r.Containers = nil }, "no container"},
	} {
		t.Run(name, func(t *testing.T) {
			target, rev := app()
			s := spec()
			if tc.spec != nil {
				tc.spec(&s)
			}
			if tc.rev != nil {
				tc.rev(rev)
			}
			if _, _, err := Derive(target, rev, s); err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	target, rev := app()
	target.IapEnabled, target.Uid = true, "u"
	target.Scaling = &runpb.ServiceScaling{MaxInstanceCount: 9}
	rev.Scaling = &runpb.RevisionScaling{MaxInstanceCount: 9}
	rev.VpcAccess = &runpb.VpcAccess{Connector: "c"}
	rev.Containers[0].LivenessProbe = httpProbe()
	rev.Containers[0].WorkingDir = "/same"
	rev.Volumes = []*runpb.Volume{
		{Name: "data", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "s", Path: "/p"}}}, {Name: "odd"},
	}
	_, got, err := Derive(target, rev, spec())
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]provision.Decision{}
	for _, f := range got {
		if f.Reason == "" || f.Decision == "" {
			t.Errorf("%s: no reason", f.Path)
		}
		if f.Differs() {
			by[f.Path] = f.Decision
		}
	}
	for field, d := range map[string]provision.Decision{
		"iap_enabled": provision.Change, "scaling.max_instance_count": provision.Change, "template.scaling.max_instance_count": provision.Change, "template.vpc_access.connector": provision.Change,
		"template.containers.web.liveness_probe": provision.Drop, "template.containers.web.image": provision.Change,
		"template.volumes.data.nfs.read_only": provision.Change, "template.volumes.odd": provision.Drop, "template.timeout": provision.Change, "ingress": provision.Change,
	} {
		if by[field] != d {
			t.Errorf("%s: %q, want %q", field, by[field], d)
		}
	}
	for _, same := range []string{"template.containers.web.working_dir", "template.containers.web.name", "launch_stage", "template.volumes.data", "uid"} {
		if d, ok := by[same]; ok {
			t.Errorf("%s is %s, though nothing became of it", same, d)
		}
	}
}

func TestQuantities(t *testing.T) {
	for s, want := range map[string]int64{"1": 1000, "0.5": 500, "500m": 500, "2.25": 2250} {
		if n, ok := milliCPU(s); !ok || n != want {
			t.Errorf("cpu %s: %d", s, n)
		}
	}
	for s, want := range map[string]int64{"512Mi": 512 << 20, "1G": 1e9, "1.5Gi": 3 << 29, "134217728": 128 << 20, "1Ki": 1024, "1k": 1000} {
		if n, ok := bytesOf(s); !ok || n != want {
			t.Errorf("memory %s: %d", s, n)
		}
	}
	for _, s := range []string{"", "x", "1x", "m", "Mi", "NaN", "1e300"} {
		if n, ok := milliCPU(s); ok {
			t.Errorf("cpu %q is %d", s, n)
		}
		if n, ok := bytesOf(s); ok {
			t.Errorf("memory %q is %d", s, n)
		}
	}
}
