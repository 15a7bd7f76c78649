package cloudrun

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// facts is what the platform's facts (section 1) say should become of each field, typed from them and not from the tables
// of fields.go. A star means that all of what is inside has the decision.
const facts = `
drop   name uid generation create_time update_time delete_time expire_time creator last_modifier observed_generation
drop   terminal_condition conditions latest_ready_revision latest_created_revision traffic_statuses urls uri satisfies_pzs
drop   threat_detection_enabled reconciling etag
change description labels annotations client client_version ingress
copy   launch_stage
copy   binary_authorization.use_default binary_authorization.policy
drop   binary_authorization.breakglass_justification
drop   traffic
change scaling.min_instance_count scaling.max_instance_count scaling.scaling_mode
drop   scaling.manual_instance_count
change invoker_iam_disabled default_uri_disabled iap_enabled
drop   multi_region_settings custom_audiences build_config ssh_enabled functional_type

drop   template.revision template.annotations
change template.labels template.scaling.min_instance_count template.scaling.max_instance_count
drop   template.scaling.concurrency_utilization template.scaling.cpu_utilization
copy   template.vpc_access.egress template.vpc_access.network_interfaces
change template.vpc_access.connector template.timeout
copy   template.service_account template.execution_environment
copy   template.encryption_key template.encryption_key_revocation_action template.encryption_key_shutdown_duration
change template.max_instance_request_concurrency
drop   template.service_mesh
copy   template.session_affinity
change template.health_check_disabled
drop   template.node_selector template.gpu_zonal_redundancy_disabled
drop   template.client template.client_version
drop   template.sandboxes template.ambient_networking template.workload_identity_config

copy   template.containers.web.name
change template.containers.web.image
copy   template.containers.web.source_code.*
change template.containers.web.command template.containers.web.args
copy   template.containers.web.env.A template.containers.web.env.S
drop   template.containers.web.env.PORT
change template.containers.web.env.CLOUDSSH_AGENT
change template.containers.web.resources.limits.cpu template.containers.web.resources.limits.memory
drop   template.containers.web.resources.limits.nvidia.com/gpu
change template.containers.web.resources.cpu_idle
copy   template.containers.web.resources.startup_cpu_boost
change template.containers.web.ports
copy   template.containers.web.volume_mounts template.containers.web.working_dir template.containers.web.depends_on
drop   template.containers.web.liveness_probe template.containers.web.readiness_probe
change template.containers.web.startup_probe
drop   template.containers.web.base_image_uri template.containers.web.build_info template.containers.web.sandbox_launcher

copy   template.volumes.v.name template.volumes.v.secret.* template.volumes.v.cloud_sql_instance.* template.volumes.v.empty_dir.*
copy   template.volumes.v.nfs.server template.volumes.v.nfs.path template.volumes.v.gcs.bucket template.volumes.v.gcs.mount_options
change template.volumes.v.nfs.read_only template.volumes.v.gcs.read_only
copy   template.volumes.v.secret template.volumes.v.cloud_sql_instance template.volumes.v.empty_dir
copy   template.volumes.v.nfs template.volumes.v.gcs
`

func factsTable(t *testing.T) map[string]provision.Decision {
	t.Helper()
	table := map[string]provision.Decision{}
	for line := range strings.Lines(facts) {
		words := strings.Fields(line)
		for i := 1; i < len(words); i++ {
			table[words[i]] = provision.Decision(words[0])
		}
	}
	if len(table) < 100 {
		t.Fatalf("the table has %d rows", len(table))
	}
	return table
}

// everything is a service with a value in all that has one, and a volume of a kind.
func everything(volume *runpb.Volume) (*runpb.Service, *runpb.Revision) {
	target, rev := &runpb.Service{}, &runpb.Revision{}
	fill(target.ProtoReflect(), 0)
	fill(rev.ProtoReflect(), 0)
	target.Name, target.Scaling.ScalingMode = "projects/p/locations/r/services/app", runpb.ServiceScaling_MANUAL
	target.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY
	rev.VpcAccess.Connector = "short"
	rev.Volumes, rev.Containers[0].Name = []*runpb.Volume{volume}, "web"
	c := rev.Containers[0]
	c.Resources.Limits = map[string]string{"cpu": "0.5", "memory": "256Mi", gpuLimit: "1"}
	c.Env = []*runpb.EnvVar{literal("A", "secret!"), literal("PORT", "1"), secretVariable("S", provision.SecretRef{Secret: "s"})}
	c.Ports, c.VolumeMounts = []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 9000}}, []*runpb.VolumeMount{{Name: "v", MountPath: "/v"}}
	return target, rev
}

// volumes is one of each kind, all called v.
func volumeKinds() []*runpb.Volume {
	return []*runpb.Volume{
		{Name: "v", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{Secret: "s", DefaultMode: 0o400}}},
		{Name: "v", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"p:r:i"}}}},
		{Name: "v", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{SizeLimit: "1Gi"}}},
		{Name: "v", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "s", Path: "/p"}}},
		{Name: "v", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "b"}}},
	}
}

// The plan names every field that the facts name and no other, with the decision and the reason, be it set or not.
func TestPlanHoldsTheFacts(t *testing.T) {
	table := factsTable(t)
	seen := map[string]bool{}
	for _, volume := range volumeKinds() {
		target, rev := everything(volume)
		_, full, err := Derive(target, rev, spec())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range full {
			if strings.HasSuffix(f.Path, "(field 9999)") && f.Decision == provision.Drop { // what the library has no name for
				continue
			}
			row := rowOf(table, f.Path)
			if row == "" {
				t.Errorf("%s is not in the facts", f.Path)
				continue
			}
			seen[row] = true
			if f.Decision != table[row] || f.Reason == "" {
				t.Errorf("%s is %s (%s: %q -> %q), the facts say %s", f.Path, f.Decision, f.Reason, f.From, f.To, table[row])
			}
		}
		sorted := slices.IsSortedFunc(full, func(a, b provision.Field) int { return strings.Compare(a.Path, b.Path) })
		if !sorted {
			t.Error("the plan is not in the order of its paths")
		}
	}
	for row := range table {
		if !seen[row] && !strings.HasSuffix(row, "*") {
			t.Errorf("the plan says nothing of %s", row)
		}
	}
	bare, rev := app()
	_, few, err := Derive(bare, rev, spec())
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, f := range few {
		paths[f.Path] = true
	}
	for _, row := range slices.Sorted(maps.Keys(table)) {
		if !strings.Contains(row, "volumes.v") && !strings.Contains(row, ".env.") && !strings.HasSuffix(row, "*") && !paths[row] {
			t.Errorf("the plan of a bare service says nothing of %s", row)
		}
	}
}

// rowOf is the row of a table that is about a path.
func rowOf[V any](table map[string]V, path string) string {
	if _, ok := table[path]; ok {
		return path
	}
	for row := range table {
		if prefix, all := strings.CutSuffix(row, "*"); all && strings.HasPrefix(path, prefix) {
			return row
		}
	}
	return ""
}

func find(t *testing.T, fields []provision.Field, path string) provision.Field {
	t.Helper()
	i := slices.IndexFunc(fields, func(f provision.Field) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no field %s", path)
	}
	return fields[i]
}

func TestPlanValues(t *testing.T) {
	target, rev := everything(volumeKinds()[3])
	rev.Timeout = durationpb.New(0)
	rev.Containers[0].LivenessProbe = httpProbe()
	s := spec()
	viaSidecar(&s)
	s.Overrides = provision.Overrides{
		SetEnv: map[string]string{"A": "other", "N": "1"}, CPU: "2", Memory: "2Gi", ServiceAccount: "a@b.c", VPCEgress: "private-ranges-only",
		Secrets: map[string]provision.SecretRef{"S": {Secret: "new", Version: "3"}, "/x/y": {Secret: "f"}},
	}
	rev.VpcAccess.Egress = runpb.VpcAccess_ALL_TRAFFIC
	_, fields, err := Derive(target, rev, s)
	if err != nil {
		t.Fatal(err)
	}
	const web = "template.containers.web."
	for path, want := range map[string]string{
		"ingress":                          "change INGRESS_TRAFFIC_INTERNAL_ONLY -> INGRESS_TRAFFIC_ALL",
		"iap_enabled":                      "change true -> false",
		"uid":                              "drop  -> ",
		"scaling.scaling_mode":             "change MANUAL -> AUTOMATIC",
		"template.timeout":                 "change 0s -> 3600s",
		"template.vpc_access.connector":    "change short -> projects/p/locations/r/connectors/short",
		"template.vpc_access.egress":       "change ALL_TRAFFIC -> PRIVATE_RANGES_ONLY",
		"template.service_account":         "change service_account-16 -> a@b.c",
		web + "resources.limits.cpu":       "change 0.5 -> 2",
		web + "command":                    `change ["command-3"] -> ["/.cloudssh/cloudssh-agent"]`,
		web + "ports":                      `change [{"name":"h2c","containerPort":9000}] -> [{"name":"http1","containerPort":9000}]`,
		web + "env.A":                      "change (a value) -> (another value)",
		web + "env.N":                      "change  -> (a value)",
		web + "env.PORT":                   "drop  -> ",
		web + "env.S":                      `change {"secretKeyRef":{"secret":"s","version":"latest"}} -> {"secretKeyRef":{"secret":"new","version":"3"}}`,
		web + "volume_mounts":              `change [{"name":"v","mountPath":"/v"}] -> [{"name":"v","mountPath":"/v"},{"name":"cloudssh-secret","mountPath":"/x"},{"name":"cloudssh-agent","mountPath":"/.cloudssh"}]`,
		"template.volumes.v.nfs.read_only": "change false -> true",
		"template.volumes.cloudssh-secret": `change  -> {"name":"cloudssh-secret","secret":{"secret":"f","items":[{"path":"y","version":"latest"}]}}`,
	} {
		if f := find(t, fields, path); fmt.Sprintf("%s %s -> %s", f.Decision, f.From, f.To) != want {
			t.Errorf("%s: %s %s -> %s, want %s", path, f.Decision, f.From, f.To, want)
		}
	}
	for path, reason := range map[string]string{
		web + "env.A": "--update-env-vars", web + "env.S": "--set-secrets", web + "resources.limits.cpu": "--cpu",
		"template.service_account": "--service-account", "template.vpc_access.egress": "--vpc-egress",
	} {
		if f := find(t, fields, path); f.Reason != reason {
			t.Errorf("%s: %s, want %s", path, f.Reason, reason)
		}
	}
	shown, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"secret!", `"other"`, `\"v\"}]`} { // values of variables, and of a probe's headers
		if strings.Contains(string(shown), secret) {
			t.Errorf("the plan shows %s", secret)
		}
	}
}

// What the wire carried and this version does not know is at least mentioned.
func TestPlanOfTheUnknown(t *testing.T) {
	target, rev := app()
	target.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
	rev.Containers[0].ProtoReflect().SetUnknown([]byte{0xff}) // not even that
	_, fields, err := Derive(target, rev, spec())
	if err != nil {
		t.Fatal(err)
	}
	if f := find(t, fields, "(field 9999)"); f.Decision != provision.Drop || !f.Differs() {
		t.Errorf("%+v", f)
	}
}

func TestPlanOfOtherKinds(t *testing.T) {
	for name, tc := range map[string]struct{ path, reason string }{
		"projects/p/locations/r/jobs/app":        {"template.task_count", "as in the job"},
		"projects/p/locations/r/workerPools/app": {"instance_splits", "as in the worker pool"},
		"projects/p/locations/r/services/jobs":   {"traffic", "as in the service"},
	} {
		target, rev := job()
		target.Name = name
		_, fields, err := Derive(target, rev, spec())
		if err != nil {
			t.Fatal(err)
		}
		if f := find(t, fields, tc.path); f.Decision != provision.Drop {
			t.Errorf("%+v", f)
		}
		if f := find(t, fields, "template.containers.web.working_dir"); f.Reason != tc.reason {
			t.Errorf("%+v", f)
		}
	}
}

func TestPlanOfContainers(t *testing.T) {
	target, rev := trio()
	s := spec()
	viaSidecar(&s)
	s.NoSidecars = true
	_, fields, err := Derive(target, rev, s)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"template.containers.proxy":          "drop --no-sidecars",
		"template.containers.collector":      "drop --no-sidecars",
		"template.containers.cloudssh-agent": "change brings the agent, and stays: instances end with any of their containers",
		"template.volumes.key":               "drop no container of the twin mounts it",
		"template.volumes.cloudssh-agent":    "change in memory; holds the agent, whatever the image and its user",
		"template.containers.web.depends_on": "change as in the service, and the container that brings the agent",
	} {
		if f := find(t, fields, path); string(f.Decision)+" "+f.Reason != want || !f.Differs() {
			t.Errorf("%s: %+v, want %s", path, f, want)
		}
	}
	unnamed := proto.CloneOf(rev)
	unnamed.Containers = []*runpb.Container{{Image: "reg/demo/app:v1"}}
	_, fields, err = Derive(target, unnamed, spec())
	if err != nil {
		t.Fatal(err)
	}
	find(t, fields, "template.containers[0].image")
}
