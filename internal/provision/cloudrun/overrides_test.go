package cloudrun

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/rules/rulestest"
	"github.com/cloudssh/cloudssh/internal/provision"
)

func secrets(name string, ref provision.SecretRef) provision.Overrides {
	return provision.Overrides{Secrets: map[string]provision.SecretRef{name: ref}}
}

func variables(name, value string) provision.Overrides {
	return provision.Overrides{SetEnv: map[string]string{name: value}}
}

// Each is refused before anything is asked of the platform, by gcloud's name of the flag and with what would be right; and
// the platform refuses the same field.
func TestValidate(t *testing.T) {
	const at = "template.containers."
	for _, tc := range []struct {
		o           provision.Overrides
		field, text string
	}{
		{provision.Overrides{CPU: "3"}, at + "resources.limits.cpu", `--cpu: "3" is not from 0.08 to 1 in steps of 0.001, or 1, 2, 4, 6 or 8`},
		{provision.Overrides{CPU: "0.07"}, at + "resources.limits.cpu", "--cpu: "},
		{provision.Overrides{CPU: "many"}, at + "resources.limits.cpu", "--cpu: "},
		{provision.Overrides{CPU: "-1"}, at + "resources.limits.cpu", "--cpu: "},
		{provision.Overrides{CPU: "0.0855"}, at + "resources.limits.cpu", "--cpu: "},
		{provision.Overrides{Memory: "1GB"}, at + "resources.limits.memory", `--memory: "1GB" is not from 128Mi to 32Gi`},
		{provision.Overrides{CPU: "8", Memory: "33Gi"}, at + "resources.limits.memory", "--memory: "},
		{provision.Overrides{CPU: "4", Memory: "1Gi"}, at + "resources.limits.memory", "--memory: with 4 CPU memory is from 2Gi to 16Gi, not 1Gi"},
		{provision.Overrides{CPU: "1", Memory: "8Gi"}, at + "resources.limits.memory", "--memory: with 1 CPU memory is from 128Mi to 4Gi, not 8Gi"},
		{variables("PORT", "1"), at + "env", `--update-env-vars: environment variable "PORT" is the platform's`},
		{variables("K_SERVICE", "1"), at + "env", `"K_SERVICE"`},
		{variables("", "1"), at + "env.name", "--update-env-vars: a variable has no name"},
		{variables("A=B", "1"), at + "env.name", "--update-env-vars: "},
		{variables(strings.Repeat("n", 32769), ""), at + "env.name", "more than 32768 characters"},
		{variables("A", strings.Repeat("v", 32769)), at + "env.value", "the value of A has 32769 bytes, 32768 are possible"},
		{provision.Overrides{ServiceAccount: "runner"}, "template.service_account", `--service-account: "runner" is not the e-mail address`},
		{provision.Overrides{Timeout: 3601 * time.Second}, "template.timeout", "--timeout: 1h0m1s is not from 1s to 3600s"},
		{provision.Overrides{Timeout: time.Millisecond}, "template.timeout", "--timeout: 1ms is not from 1s to 3600s"},
		{provision.Overrides{Timeout: -time.Second}, "template.timeout", "--timeout: "},
		{secrets("S", provision.SecretRef{}), at + "env.value_source.secret_key_ref.secret", `--set-secrets: "" is not a secret's name or projects/PROJECT/secrets/NAME`},
		{secrets("/a/b", provision.SecretRef{Secret: "no secret"}), "template.volumes.secret.secret", "--set-secrets: "},
		{secrets("/b", provision.SecretRef{Secret: "s"}), at + "volume_mounts.mount_path", "--set-secrets: /b: a secret needs a directory of its own, such as /secrets/b"},
		{secrets("/proc/b", provision.SecretRef{Secret: "s"}), at + "volume_mounts.mount_path", "nothing can be mounted at /proc"},
		{secrets("/a:b/c", provision.SecretRef{Secret: "s"}), at + "volume_mounts.mount_path", "--set-secrets: "},
		{provision.Overrides{Args: slices.Repeat([]string{"x"}, 1001)}, at + "args", "--args: 1000 arguments are possible, not 1001"},
	} {
		err := Validate(tc.o)
		if !slices.Contains(fieldsOf(err), tc.field) {
			t.Errorf("want %s: %v", tc.field, err)
		}
		wantText(t, err, tc.text)
		if err := rules.Create("hello", literally(tc.o)); err == nil || !strings.Contains(withoutIndex(err), tc.field) {
			t.Errorf("the platform says of %s: %v", tc.field, err)
		}
	}
}

// literally is a service with overrides as they are.
func literally(o provision.Overrides) *runpb.Service {
	s := rulestest.Service("reg/app")
	d := &deriver{spec: Spec{Overrides: o}, rev: &runpb.Revision{Containers: []*runpb.Container{{}}}, rules: fieldRules()}
	c := s.GetTemplate().GetContainers()[0]
	d.overrideTemplate(s.GetTemplate())
	c.Resources, c.Args = &runpb.ResourceRequirements{Limits: map[string]string{}, CpuIdle: true}, o.Args
	if o.CPU != "" {
		c.Resources.Limits["cpu"] = o.CPU
	}
	if o.Memory != "" {
		c.Resources.Limits["memory"] = o.Memory
	}
	s.Template.Timeout = nil
	if o.Timeout != 0 {
		s.Template.Timeout = durationpb.New(o.Timeout)
	}
	c.Env = d.env(0, o, nil)
	if err := d.mountSecrets(s.GetTemplate(), c); err != nil {
		panic(err)
	}
	return s
}

// What the platform cannot be asked, or has no name for.
func TestValidateWords(t *testing.T) {
	for text, o := range map[string]provision.Overrides{
		`--execution-environment: "gen3" is not gen1 or gen2`:                 {ExecutionEnvironment: "gen3"},
		`--vpc-egress: "none" is not all-traffic or private-ranges-only`:      {VPCEgress: "none"},
		"--command: the program has no name":                                  {Command: []string{"", "x"}},
		"--remove-env-vars: a variable has no name":                           {RemoveEnv: []string{""}},
		`--set-env-vars: environment variable "CLOUDSSH_AGENT" is`:            {ClearEnv: true, SetEnv: map[string]string{"CLOUDSSH_AGENT": "{}"}},
		"--update-env-vars: A is in --set-secrets too":                        {SetEnv: map[string]string{"A": "1"}, Secrets: map[string]provision.SecretRef{"A": {Secret: "a"}}},
		"--set-secrets: /x holds the secret a already: a directory holds one": {Secrets: map[string]provision.SecretRef{"/x/a": {Secret: "a"}, "/x/b": {Secret: "b"}}},
		`--set-secrets: "1.0" is not a version's number or latest`:            secrets("A", provision.SecretRef{Secret: "a", Version: "1.0"}),
		"--set-secrets: /x/ is not the path of a file":                        secrets("/x/", provision.SecretRef{Secret: "a"}),
		"--set-secrets: /.cloudssh/x: nothing can be mounted":                 secrets("/.cloudssh/x", provision.SecretRef{Secret: "a"}),
		`--set-secrets: environment variable "PORT" is`:                       secrets("PORT", provision.SecretRef{Secret: "a"}),
	} {
		wantText(t, Validate(o), text)
	}
	if err := Validate(provision.Overrides{}); err != nil {
		t.Error(err)
	}
	err := Validate(provision.Overrides{CPU: "3", Timeout: 2 * time.Hour})
	wantText(t, err, "--cpu", "--timeout") // all at once
	good := provision.Overrides{
		ClearEnv: true, SetEnv: map[string]string{"A": ""}, Secrets: map[string]provision.SecretRef{"B": {Secret: "projects/p/secrets/b"}, "/x/a": {Secret: "a", Version: "2"}},
		Command: []string{}, Args: []string{""}, CPU: "500m", Memory: "0.5Gi", ServiceAccount: "a@p.iam.gserviceaccount.com",
		ExecutionEnvironment: "gen1", VPCEgress: "all-traffic", Timeout: time.Second,
	}
	if err := Validate(good); err != nil {
		t.Error(err)
	}
}

// What only the service can tell.
func TestDeriveRefusesOverrides(t *testing.T) {
	nothing := func(*runpb.Revision) {}
	for _, tc := range []struct {
		o           provision.Overrides
		rev         func(*runpb.Revision)
		spec        func(*Spec)
		field, text string
	}{
		{
			provision.Overrides{VPCEgress: "all-traffic"},
			nothing, nil, "template.vpc_access.egress",
			"--vpc-egress: app has no VPC connector or network",
		},
		{provision.Overrides{CPU: "4"}, nothing, nil, "template.containers.resources.limits.memory", "--cpu: with 4 CPU memory is from 2Gi to 16Gi, not 512Mi; add --memory 2Gi"},
		{provision.Overrides{Memory: "8Gi"}, nothing, nil, "template.containers.resources.limits.memory", "--memory: with 1 CPU memory is from 128Mi to 4Gi, not 8Gi"},
		{provision.Overrides{CPU: "0.5"}, nothing, nil, "template.containers.resources.limits.cpu", "--cpu: a twin needs at least 1 CPU in all"},
		{provision.Overrides{Memory: "256Mi"}, nothing, nil, "template.containers.resources.limits.memory", "--memory: a twin needs at least 512Mi in all"},
		{
			provision.Overrides{CPU: "2"},
			func(r *runpb.Revision) {
				_, gpu := gpuService()
				r.NodeSelector, r.Containers = gpu.NodeSelector, gpu.Containers
			},
			func(s *Spec) { s.GPU = true }, "template.containers.resources.limits.nvidia.com/gpu", "a GPU needs at least 4 CPU and 16Gi of memory, not 2 and 16Gi",
		},
		{provision.Overrides{ExecutionEnvironment: "gen1"}, func(r *runpb.Revision) { _, l := loaded(); r.Volumes = l.Volumes }, nil, "template.volumes[1].nfs", "--execution-environment: the volume nfs needs gen2"},
		{provision.Overrides{ExecutionEnvironment: "gen1"}, func(r *runpb.Revision) {
			_, gpu := gpuService()
			r.NodeSelector, r.Containers = gpu.NodeSelector, gpu.Containers
		}, func(s *Spec) { s.GPU = true }, "template.execution_environment", "a GPU needs gen2"},
		{secrets("/data/x", provision.SecretRef{Secret: "s"}), func(r *runpb.Revision) {
			_, l := loaded()
			r.Volumes, r.Containers[0].VolumeMounts = l.Volumes, l.Containers[0].VolumeMounts
		}, nil, "template.containers.volume_mounts.mount_path", "--set-secrets: the volume cloudssh-agent is mounted at /data"},
		{provision.Overrides{}, func(r *runpb.Revision) {
			for n := range 1000 {
				r.Containers[0].Env = append(r.Containers[0].Env, literal(fmt.Sprint("V", n), ""))
			}
		}, nil, "template.containers[0].env", "1000 environment variables are possible, and with the agent's there are 1001"},
		{provision.Overrides{}, func(r *runpb.Revision) {
			r.Volumes = []*runpb.Volume{{Name: "v", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{}}}}
			r.Containers[0].VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: "/.cloudssh"}}
		}, viaSidecar, "template.containers[0].volume_mounts.mount_path", "app has a volume at /.cloudssh already"},
		{provision.Overrides{}, nothing, func(s *Spec) { s.Inject = provision.InjectSidecar }, "template.containers.image", "--agent-image: there is no image"},
	} {
		target, rev := app()
		tc.rev(rev)
		s := spec()
		if tc.spec != nil {
			tc.spec(&s)
		}
		s.Overrides = tc.o
		_, _, err := Derive(target, rev, s)
		wantText(t, err, tc.text)
		if !slices.Contains(fieldsOf(err), tc.field) {
			t.Errorf("%s: fields %v", tc.text, fieldsOf(err))
		}
	}
}

// The limits of sidecars count too.
func TestDeriveLowCPUWithSidecars(t *testing.T) {
	target, rev := trio()
	s := spec()
	s.Overrides = provision.Overrides{CPU: "0.5", Memory: "512Mi"}
	if got := accepted(t, target, rev, s).GetTemplate().GetContainers()[1].GetResources().GetLimits(); got["cpu"] != "0.5" {
		t.Errorf("limits %v", got)
	}
}

func TestDeriveOverrides(t *testing.T) {
	target, rev := trio()
	rev.VpcAccess = &runpb.VpcAccess{Connector: "c"}
	rev.Containers[1].Env = []*runpb.EnvVar{literal("A", "1"), literal("B", "1"), secretVariable("S", provision.SecretRef{Secret: "s"}), literal("CLOUD_RUN_JOB", "mine")}
	rev.Containers[1].VolumeMounts = append(rev.Containers[1].VolumeMounts, &runpb.VolumeMount{Name: "key", MountPath: "/key"})
	extra := []*runpb.EnvVar{literal("CLOUD_RUN_JOB", "job"), literal("CLOUD_RUN_TASK_INDEX", "0")}
	derive := func(o provision.Overrides) *runpb.RevisionTemplate {
		s := spec()
		s.Overrides, s.ExtraEnv = o, extra
		return accepted(t, target, rev, s).GetTemplate()
	}
	for name, tc := range map[string]struct {
		o    provision.Overrides
		want []string
	}{
		"none":    {provision.Overrides{}, []string{"A=1", "B=1", "S=secret:s/latest", "CLOUD_RUN_JOB=mine", "CLOUD_RUN_TASK_INDEX=0"}},
		"update":  {provision.Overrides{SetEnv: map[string]string{"B": "2", "C": "3"}}, []string{"A=1", "B=2", "S=secret:s/latest", "CLOUD_RUN_JOB=mine", "CLOUD_RUN_TASK_INDEX=0", "C=3"}},
		"remove":  {provision.Overrides{RemoveEnv: []string{"A", "S", "none"}}, []string{"B=1", "CLOUD_RUN_JOB=mine", "CLOUD_RUN_TASK_INDEX=0"}},
		"replace": {provision.Overrides{ClearEnv: true, SetEnv: map[string]string{"C": "3"}}, []string{"S=secret:s/latest", "CLOUD_RUN_JOB=job", "CLOUD_RUN_TASK_INDEX=0", "C=3"}},
		"secrets": {secrets("T", provision.SecretRef{Secret: "t", Version: "4"}), []string{"A=1", "B=1", "CLOUD_RUN_JOB=mine", "CLOUD_RUN_TASK_INDEX=0", "T=secret:t/4"}},
	} {
		got := names(derive(tc.o).GetContainers()[1].GetEnv())
		if diff := cmp.Diff(append(tc.want, agentEnv), got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := names(derive(provision.Overrides{ClearEnv: true}).GetContainers()[0].GetEnv()); len(got) > 0 {
		t.Errorf("a sidecar has %v", got)
	}
	o := provision.Overrides{ServiceAccount: "a@b.c", ExecutionEnvironment: "gen1", VPCEgress: "private-ranges-only", Timeout: time.Minute}
	x := derive(o)
	if x.GetServiceAccount() != "a@b.c" || x.GetExecutionEnvironment() != runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1 ||
		x.GetVpcAccess().GetEgress() != runpb.VpcAccess_PRIVATE_RANGES_ONLY || x.GetTimeout().AsDuration() != time.Minute {
		t.Errorf("template %v", x)
	}
	env := x.GetContainers()[1].GetEnv()
	if text := env[len(env)-1].GetValue(); !strings.Contains(text, `"request_timeout":60,`) {
		t.Errorf("the agent is told %s", text)
	}
}

func TestDeriveSecretFiles(t *testing.T) {
	target, rev := trio()
	rev.Containers[1].VolumeMounts = append(rev.Containers[1].VolumeMounts, &runpb.VolumeMount{Name: "key", MountPath: "/key"})
	s := spec()
	s.Overrides.Secrets = map[string]provision.SecretRef{"/key/a": {Secret: "new"}, "/key/b": {Secret: "new", Version: "2"}, "/else/c": {Secret: "c"}}
	x := accepted(t, target, rev, s).GetTemplate()
	want := []*runpb.VolumeMount{
		{Name: "shared", MountPath: "/shared"}, {Name: "cloudssh-secret", MountPath: "/else"}, {Name: "cloudssh-secret-2", MountPath: "/key"},
	}
	if diff := cmp.Diff(want, x.GetContainers()[1].GetVolumeMounts(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got := volumeNames(x.GetVolumes()); !slices.Equal(got, []string{"shared", "key", "cloudssh-secret", "cloudssh-secret-2"}) {
		t.Errorf("volumes %v: the proxy has the key still", got)
	}
	files := []*runpb.VersionToPath{{Path: "a", Version: "latest"}, {Path: "b", Version: "2"}}
	if diff := cmp.Diff(files, x.GetVolumes()[3].GetSecret().GetItems(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	rev.Containers[0].VolumeMounts = nil
	if got := volumeNames(accepted(t, target, rev, s).GetTemplate().GetVolumes()); slices.Contains(got, "key") {
		t.Errorf("volumes %v, nobody mounts the key", got)
	}
}
