package emulator

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

// fullContainers are two containers that use all that v1 has words for.
func fullContainers() []*runpb.Container {
	secret := func(name string) *runpb.EnvVar_ValueSource {
		return &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: name, Version: "3"}}}
	}
	return []*runpb.Container{{
		Name: "app", Image: "gcr.io/p/app", Command: []string{"/app"}, Args: []string{"-v", ""}, WorkingDir: "/srv",
		Env: []*runpb.EnvVar{
			{Name: "A", Values: &runpb.EnvVar_Value{Value: "1"}},
			{Name: "OWN", Values: secret("own")},
			{Name: "OTHER", Values: secret("projects/other/secrets/own")},
		},
		Resources:    &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "2", "memory": "1Gi"}, StartupCpuBoost: true},
		Ports:        []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 9000}},
		StartupProbe: &runpb.Probe{PeriodSeconds: 2, FailureThreshold: 9, ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 9000}}},
		LivenessProbe: &runpb.Probe{InitialDelaySeconds: 1, TimeoutSeconds: 2, ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{
			Path: "/live", Port: 9001, HttpHeaders: []*runpb.HTTPHeader{{Name: "X", Value: "y"}},
		}}},
		DependsOn: []string{"side"}, BaseImageUri: "base",
		VolumeMounts: []*runpb.VolumeMount{{Name: "memory", MountPath: "/m", SubPath: "s"}, {Name: "keys", MountPath: "/k"}, {Name: "cloudsql", MountPath: "/cloudsql"}},
	}, {
		Name: "side", Image: "gcr.io/p/side", Resources: &runpb.ResourceRequirements{StartupCpuBoost: true},
		ReadinessProbe: &runpb.Probe{ProbeType: &runpb.Probe_Grpc{Grpc: &runpb.GRPCAction{Port: 5, Service: "s"}}},
		VolumeMounts:   []*runpb.VolumeMount{{Name: "bucket", MountPath: "/b"}, {Name: "files", MountPath: "/f"}},
	}}
}

func fullVolumes() []*runpb.Volume {
	return []*runpb.Volume{
		{Name: "memory", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "64Mi"}}},
		{Name: "keys", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
			Secret: "projects/other/secrets/keys", DefaultMode: 0o400, Items: []*runpb.VersionToPath{{Version: "latest", Path: "k", Mode: 0o440}},
		}}},
		{Name: "bucket", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "b", ReadOnly: true, MountOptions: []string{"uid=1", "gid=2"}}}},
		{Name: "files", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "10.0.0.1", Path: "/x", ReadOnly: true}}},
		{Name: "cloudsql", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"p:r:a", "p:r:b"}}}},
	}
}

func fullService() *runpb.Service {
	latest, byName := runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
	return &runpb.Service{
		Description: "what it is", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"example.com/a": "b"},
		Client: "gcloud", ClientVersion: "528", Ingress: runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER, LaunchStage: api.LaunchStage_BETA,
		BinaryAuthorization: &runpb.BinaryAuthorization{
			BinauthzMethod: &runpb.BinaryAuthorization_UseDefault{UseDefault: true}, BreakglassJustification: "fire",
		},
		Template: &runpb.RevisionTemplate{
			Revision: "app-blue", Labels: map[string]string{"client.knative.dev/nonce": "x", "l": "m"}, Annotations: map[string]string{"example.com/c": "d"},
			Scaling: &runpb.RevisionScaling{MinInstanceCount: 1, MaxInstanceCount: 4},
			VpcAccess: &runpb.VpcAccess{Egress: runpb.VpcAccess_ALL_TRAFFIC, NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{
				{Network: "n", Subnetwork: "s", Tags: []string{"t", "u"}},
			}},
			Timeout: durationpb.New(90 * time.Second), ServiceAccount: "sa@p.iam.gserviceaccount.com", Containers: fullContainers(), Volumes: fullVolumes(),
			ExecutionEnvironment: runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2, EncryptionKey: "projects/p/locations/r/keyRings/k/cryptoKeys/c",
			MaxInstanceRequestConcurrency: 7, ServiceMesh: &runpb.ServiceMesh{Mesh: "mesh"},
			EncryptionKeyRevocationAction: runpb.EncryptionKeyRevocationAction_SHUTDOWN, EncryptionKeyShutdownDuration: durationpb.New(2 * time.Hour),
			SessionAffinity: true, HealthCheckDisabled: true, NodeSelector: &runpb.NodeSelector{Accelerator: "nvidia-l4"},
			GpuZonalRedundancyDisabled: new(true),
		},
		Traffic: []*runpb.TrafficTarget{{Type: latest, Percent: 60}, {Type: byName, Revision: "app-green", Percent: 40, Tag: "green"}},
		Scaling: &runpb.ServiceScaling{
			MinInstanceCount: 2, MaxInstanceCount: 9, ScalingMode: runpb.ServiceScaling_MANUAL, ManualInstanceCount: new(int32(0)),
		},
		InvokerIamDisabled: true, DefaultUriDisabled: true, IapEnabled: true, CustomAudiences: []string{"https://a", "b"},
	}
}

// throughJSON sends a resource over the wire and reads it again.
func throughJSON[T any](t *testing.T, k *T) *T {
	t.Helper()
	raw, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	back := new(T)
	if err := json.Unmarshal(raw, back); err != nil {
		t.Fatal(err)
	}
	return back
}

// TestServicesKeepTheirMeaning: what gcloud reads and writes back is the same service.
func TestServicesKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	filled := proto.CloneOf(fullService())
	filled.Name = "projects/p/locations/us-central1/services/app"
	rules.Defaults(filled, "sa@p.iam.gserviceaccount.com")
	plain := &runpb.Service{
		Name:     "projects/p/locations/us-central1/services/app",
		Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: "x"}}},
	}
	rules.Defaults(plain, "sa@p.iam.gserviceaccount.com")
	for name, s := range map[string]*runpb.Service{"full": filled, "plain": plain} {
		before := proto.CloneOf(s)
		k := throughJSON(t, knativeService(s))
		if !proto.Equal(before, s) {
			t.Errorf("%s: showing it changed it", name)
		}
		d := &specReader{}
		got := d.service(k)
		if err := d.err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Name = s.GetName()
		rules.Defaults(got, "sa@p.iam.gserviceaccount.com")
		if diff := cmp.Diff(s, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-was +came back):\n%s", name, diff)
		}
	}
}

// TestEveryFieldHasItsWord: a field that v2 gets is not forgotten here.
func TestEveryFieldHasItsWord(t *testing.T) {
	t.Parallel()
	unsaid := map[string]bool{ // keepUnsaid keeps these; the others are the platform's own
		"multi_region_settings": true, "build_config": true, "etag": true, "source_code": true, "build_info": true, "connector": true,
	}
	s := fullService()
	for _, m := range []proto.Message{s, s.GetTemplate(), s.GetScaling(), s.GetTemplate().GetScaling(), s.GetTemplate().GetVpcAccess(), s.GetBinaryAuthorization()} {
		r := m.ProtoReflect()
		for i := range r.Descriptor().Fields().Len() {
			fd := r.Descriptor().Fields().Get(i)
			if !r.Has(fd) && !outputOnly(fd) && !unsaid[string(fd.Name())] && fd.ContainingOneof() == nil {
				t.Errorf("the full service lacks %s", fd.FullName())
			}
		}
	}
	for _, c := range s.GetTemplate().GetContainers()[:1] {
		c.ReadinessProbe = &runpb.Probe{}
		r := c.ProtoReflect()
		for i := range r.Descriptor().Fields().Len() {
			if fd := r.Descriptor().Fields().Get(i); !r.Has(fd) && !unsaid[string(fd.Name())] {
				t.Errorf("the full container lacks %s", fd.FullName())
			}
		}
	}
}

// TestJobsKeepTheirMeaning: the same for jobs.
func TestJobsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	full := fullService()
	task := shared(&runpb.TaskTemplate{}, full.GetTemplate())
	task.Retries = &runpb.TaskTemplate_MaxRetries{MaxRetries: 0}
	for _, c := range task.GetContainers() {
		c.Ports, c.BaseImageUri, c.Resources.StartupCpuBoost, c.ReadinessProbe = nil, "", false, nil
	}
	task.Containers[1].VolumeMounts = append(task.Containers[1].VolumeMounts, &runpb.VolumeMount{Name: "cloudsql", MountPath: "/cloudsql"})
	j := shared(&runpb.Job{}, full)
	j.Name = "projects/p/locations/us-central1/jobs/nightly"
	j.Template = &runpb.ExecutionTemplate{
		Labels: map[string]string{"l": "m"}, Annotations: map[string]string{"example.com/c": "d"}, Parallelism: 3, TaskCount: 5, Template: task,
	}
	raw, err := json.Marshal(knativeJob(j))
	if err != nil {
		t.Fatal(err)
	}
	var given givenJob
	if err := json.Unmarshal(raw, &given); err != nil {
		t.Fatal(err)
	}
	k, retries := given.read()
	if !retries {
		t.Error("no retries is the same as nothing said about them")
	}
	d := &specReader{}
	got := d.job(k, retries)
	if err := d.err(); err != nil {
		t.Fatal(err)
	}
	got.Name = j.GetName()
	if diff := cmp.Diff(j, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-was +came back):\n%s", diff)
	}
	// The type that a body is read into has every field of the schema's.
	for _, pair := range [][2]reflect.Type{{reflect.TypeFor[knative.ExecutionTemplateSpec](), reflect.TypeOf(given.Spec.Template).Elem()}} {
		for i := range pair[0].NumField() {
			f := pair[0].Field(i)
			if _, ok := pair[1].FieldByName(f.Name); !ok && f.Tag.Get("json") != "-" {
				t.Errorf("%s is not read", f.Name)
			}
		}
	}
}

// FuzzV1 reads what anybody may send: it is refused or it makes sense, and can be shown.
func FuzzV1(f *testing.F) {
	s := fullService()
	s.Name = "projects/p/locations/us-central1/services/app"
	raw, err := json.Marshal(knativeService(s))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"spec":{"template":{"spec":{"containers":[null],"volumes":[{"name":"v"}]}},"traffic":[null]}}`))
	f.Add([]byte(`{"spec":{"template":{"spec":{"template":{"spec":{"containers":[{"env":[{"valueFrom":{}}]}]}}}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var k knative.Service
		if decodeV1(raw, &k) == nil {
			d := &specReader{}
			if read := d.service(&k); d.err() == nil {
				read.Name = s.GetName()
				throughJSON(t, knativeService(read))
			}
		}
		var given givenJob
		if decodeV1(raw, &given) == nil {
			d := &specReader{}
			if read := d.job(given.read()); d.err() == nil {
				read.Name = "projects/p/locations/us-central1/jobs/j"
				throughJSON(t, knativeJob(read))
			}
		}
	})
}
