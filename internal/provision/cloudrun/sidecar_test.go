package cloudrun

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const agentImage = "docker.io/cloudssh/cloudssh-agent:v1.2.3"

func viaSidecar(s *Spec) {
	s.Inject, s.AgentImage = provision.InjectSidecar, agentImage
	s.Images = map[int]string{0: "reg/demo/app@" + testDigest}
}

// trio is a service of three containers that share a volume: the app waits for a proxy, and a collector for the app.
func trio() (*runpb.Service, *runpb.Revision) {
	target, rev := app()
	shared := []*runpb.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	rev.Volumes = []*runpb.Volume{
		{Name: "shared", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "16Mi"}}},
		{Name: "key", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{Secret: "key"}}},
	}
	rev.Containers = []*runpb.Container{
		{Name: "proxy", Image: "reg/proxy:v1", StartupProbe: tcpProbe(5432), VolumeMounts: append(slices.Clone(shared), &runpb.VolumeMount{Name: "key", MountPath: "/key"})},
		{
			Name: "web", Image: "reg/demo/app:v1", Ports: []*runpb.ContainerPort{{ContainerPort: 3000}}, DependsOn: []string{"proxy"}, VolumeMounts: shared,
			Env:       []*runpb.EnvVar{literal("A", "1")},
			Resources: &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "2", "memory": "1Gi"}},
		},
		{Name: "collector", Image: "reg/otel:v1", DependsOn: []string{"web"}, StartupProbe: tcpProbe(22022)},
	}
	return target, rev
}

// job is what the source of a job looks like here: containers without ports.
func job() (*runpb.Service, *runpb.Revision) {
	target, rev := app()
	rev.ExecutionEnvironment = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	return target, rev
}

func gpuService() (*runpb.Service, *runpb.Revision) {
	target, rev := app()
	rev.NodeSelector, rev.GpuZonalRedundancyDisabled = &runpb.NodeSelector{Accelerator: "nvidia-l4"}, proto.Bool(true)
	rev.Containers[0].Resources = &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "4", "memory": "16Gi", gpuLimit: "1"}}
	return target, rev
}

// loaded has what else there is: data, a network, a database, odd ports, probes, names that we would like to have.
func loaded() (*runpb.Service, *runpb.Revision) {
	target, rev := app()
	rev.VpcAccess = &runpb.VpcAccess{Connector: "c", Egress: runpb.VpcAccess_ALL_TRAFFIC}
	rev.Volumes = []*runpb.Volume{
		{Name: "cloudssh-agent", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "b"}}},
		{Name: "nfs", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "10.0.0.2", Path: "/x"}}},
		{Name: "db", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"p:r:db"}}}},
		{Name: "odd"},
		{Name: "scratch", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{Medium: disk, SizeLimit: "10Gi"}}},
	}
	rev.Containers = append(rev.Containers, &runpb.Container{
		Name: "cloudssh-agent", Image: "reg/x:v1", Resources: &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "0.1", "memory": "128Mi"}},
		LivenessProbe: httpProbe(),
	})
	rev.Containers[0].Ports = []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 22022}}
	rev.Containers[0].Name, rev.Containers[0].StartupProbe = "", httpProbe()
	rev.Containers[0].VolumeMounts = []*runpb.VolumeMount{
		{Name: "cloudssh-agent", MountPath: "/data"}, {Name: "nfs", MountPath: "/nfs"}, {Name: "db", MountPath: "/cloudsql"}, {Name: "odd", MountPath: "/odd"},
	}
	return target, rev
}

// Whatever the service and however the agent gets in, Cloud Run takes the twin; and takes it again as it gives it out, which
// is what a twin of an unpinned service in the emulator is derived from.
func TestTwinsAreAccepted(t *testing.T) {
	sources := map[string]func() (*runpb.Service, *runpb.Revision){"app": app, "trio": trio, "job": job, "gpu": gpuService, "loaded": loaded}
	ways := map[string]func(*Spec){
		"layer": func(*Spec) {}, "sidecar": viaSidecar, "none": func(s *Spec) { s.Inject = provision.InjectNone },
		"layer, alone": func(s *Spec) { s.NoSidecars = true }, "sidecar, alone": func(s *Spec) { viaSidecar(s); s.NoSidecars = true },
		"all that can be kept": func(s *Spec) { viaSidecar(s); s.GPU, s.WritableVolumes, s.MinInstances = true, true, 1 },
		"overrides": func(s *Spec) {
			viaSidecar(s)
			s.Overrides = provision.Overrides{
				ClearEnv: true, SetEnv: map[string]string{"B": "2"}, RemoveEnv: []string{"A"}, CPU: "4", Memory: "16Gi", ServiceAccount: "b@x.y",
				Secrets:              map[string]provision.SecretRef{"S": {Secret: "s"}, "/a/b": {Secret: "f", Version: "2"}},
				ExecutionEnvironment: "gen2", Timeout: connectionLife / 2,
			}
		},
	}
	for source, revision := range sources {
		for way, set := range ways {
			for _, container := range []string{"", "proxy", "collector", "cloudssh-agent"} {
				for _, filled := range []bool{false, true} {
					target, rev := revision()
					if container != "" && !slices.Contains(containerNames(rev.GetContainers()), container) {
						continue
					}
					if filled {
						fillDefaults(rev)
					}
					s := spec()
					set(&s)
					s.Container = container
					t.Run(fmt.Sprint(source, " by ", way, " into ", container, filled), func(t *testing.T) { accepted(t, target, rev, s) })
				}
			}
		}
	}
}

// fillDefaults makes of a revision what the platform returns of it.
func fillDefaults(rev *runpb.Revision) {
	svc := &runpb.Service{Name: "projects/p/locations/r/services/app", Template: &runpb.RevisionTemplate{
		Containers: rev.GetContainers(), Volumes: rev.GetVolumes(), VpcAccess: rev.GetVpcAccess(),
	}}
	rules.Defaults(svc, "1-compute@developer.gserviceaccount.com")
	rev.Timeout, rev.ServiceAccount = svc.GetTemplate().GetTimeout(), svc.GetTemplate().GetServiceAccount()
}

func accepted(t *testing.T, target *runpb.Service, rev *runpb.Revision, s Spec) *runpb.Service {
	t.Helper()
	twin, fields, err := Derive(target, rev, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := rules.Create(s.Name, twin); err != nil {
		t.Fatal(err)
	}
	consistent(t, fields)
	return twin
}

// consistent: a plan's decisions are what happened.
func consistent(t *testing.T, fields []provision.Field) {
	t.Helper()
	for i, f := range fields {
		if i > 0 && f.Path <= fields[i-1].Path {
			t.Errorf("%s comes after %s", f.Path, fields[i-1].Path)
		}
		if f.Reason == "" || f.Decision == provision.Drop && f.To != "" || f.Decision == provision.Copy && f.Differs() {
			t.Errorf("%+v", f)
		}
	}
}

func TestDeriveSidecar(t *testing.T) {
	target, rev := trio()
	s := spec()
	viaSidecar(&s)
	s.Images = map[int]string{1: "reg/demo/app@" + testDigest}
	twin := accepted(t, target, rev, s)
	got := twin.GetTemplate()
	wantVolume := &runpb.Volume{Name: "cloudssh-agent", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
		Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "64Mi",
	}}}
	if diff := cmp.Diff(wantVolume, got.GetVolumes()[2], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	mount := &runpb.VolumeMount{Name: "cloudssh-agent", MountPath: "/.cloudssh"}
	want := &runpb.Container{
		Name: "cloudssh-agent", Image: agentImage, Args: []string{"copy", "--to", "/.cloudssh", "--listen", "22023"}, // 22022 is probed
		Resources:    &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "0.08", "memory": "128Mi"}, StartupCpuBoost: true},
		VolumeMounts: []*runpb.VolumeMount{mount},
		StartupProbe: &runpb.Probe{
			TimeoutSeconds: 1, PeriodSeconds: 1, FailureThreshold: 240,
			ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 22023}},
		},
	}
	if diff := cmp.Diff(want, got.GetContainers()[3], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	web := got.GetContainers()[1]
	if diff := cmp.Diff([]string{"proxy", "cloudssh-agent"}, web.GetDependsOn()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(mount, web.GetVolumeMounts()[1], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if web.GetImage() != "reg/demo/app@"+testDigest || !slices.Equal(web.GetCommand(), []string{"/.cloudssh/cloudssh-agent"}) || web.GetPorts()[0].GetContainerPort() != 3000 {
		t.Errorf("the entered container is %v", web)
	}
	if shape, cheap := shapeOf(twin), 2+1+1+0.08; shape.CPU != cheap {
		t.Errorf("shape %v, want %v CPU", shape, cheap)
	}
}

// With --container the agent takes the requests there, and the one that took them runs as it is, as far as it can.
func TestDeriveIntoSidecar(t *testing.T) {
	target, rev := trio()
	s := spec()
	s.Images, s.Container = map[int]string{0: injected}, "proxy"
	s.App.Entrypoint = []string{"/proxy"}
	twin := accepted(t, target, rev, s)
	proxy, web, collector := twin.GetTemplate().GetContainers()[0], twin.GetTemplate().GetContainers()[1], twin.GetTemplate().GetContainers()[2]
	port := proxy.GetPorts()[0].GetContainerPort()
	if port == 3000 || port == 5432 || port == 22022 || port == 8080 || port == 0 {
		t.Errorf("the agent serves on %d, which another has", port)
	}
	if proxy.GetImage() != injected || proxy.GetStartupProbe().GetTcpSocket().GetPort() != port || proxy.GetCommand()[0] != "/.cloudssh/cloudssh-agent" {
		t.Errorf("proxy is %v", proxy)
	}
	if len(web.GetPorts()) > 0 || len(web.GetCommand()) > 0 || web.GetResources().GetLimits()["memory"] != "1Gi" || !slices.Equal(web.GetDependsOn(), []string{"proxy"}) {
		t.Errorf("web is %v", web)
	}
	if got := names(web.GetEnv()); !slices.Equal(got, []string{"A=1", "PORT=3000"}) {
		t.Errorf("web has %v, and the platform tells it no port any more", got)
	}
	if p := web.GetStartupProbe(); p.GetTcpSocket().GetPort() != 3000 { // the collector waits for it
		t.Errorf("web is probed by %v", p)
	}
	if diff := cmp.Diff(rev.GetContainers()[2].GetStartupProbe(), collector.GetStartupProbe(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}

	rev.Containers = rev.Containers[:2] // now nobody waits for it
	rev.Containers[1].StartupProbe = tcpProbe(0)
	twin = accepted(t, target, rev, s)
	if p := twin.GetTemplate().GetContainers()[1].GetStartupProbe(); p != nil {
		t.Errorf("web is probed by %v, and may not have its port", p)
	}
}

// Only the container that takes requests is told its port by the platform; others may have a PORT of their own, which is the
// agent's when they are entered.
func TestDerivePORT(t *testing.T) {
	target, rev := trio()
	rev.Containers[0].Env = []*runpb.EnvVar{literal("PORT", "5432"), literal("K_SERVICE", "x")}
	s := spec()
	x := accepted(t, target, rev, s).GetTemplate()
	if got := names(x.GetContainers()[0].GetEnv()); !slices.Equal(got, []string{"PORT=5432"}) {
		t.Errorf("the proxy has %v", got)
	}
	s.Container = "proxy"
	x = accepted(t, target, rev, s).GetTemplate()
	if c := x.GetContainers()[0]; c.GetPorts()[0].GetContainerPort() != 5432 || !slices.Equal(names(c.GetEnv()), []string{agentEnv}) {
		t.Errorf("the entered proxy is %v", c)
	}
	rev.Containers[0].Env[0] = literal("PORT", "3000") // which web has
	if p := accepted(t, target, rev, s).GetTemplate().GetContainers()[0].GetPorts()[0].GetContainerPort(); p != 22023 {
		t.Errorf("port %d", p)
	}
}

func TestDeriveAlone(t *testing.T) {
	target, rev := trio()
	s := spec()
	s.Images, s.NoSidecars = map[int]string{1: injected}, true
	twin := accepted(t, target, rev, s)
	if all := twin.GetTemplate().GetContainers(); len(all) != 1 || all[0].GetName() != "web" || len(all[0].GetDependsOn()) > 0 {
		t.Errorf("containers %v", all)
	}
	if got := volumeNames(twin.GetTemplate().GetVolumes()); !slices.Equal(got, []string{"shared"}) {
		t.Errorf("volumes %v, the key was the proxy's", got)
	}
}

func TestDeriveKeeps(t *testing.T) {
	target, rev := gpuService()
	s := spec()
	s.GPU = true
	x := accepted(t, target, rev, s).GetTemplate()
	if x.GetNodeSelector().GetAccelerator() != "nvidia-l4" || !x.GetGpuZonalRedundancyDisabled() || x.GetContainers()[0].GetResources().GetLimits()[gpuLimit] != "1" {
		t.Errorf("with --gpu the twin is %v", x)
	}
	target, rev = loaded()
	rev.Volumes[1].GetNfs().ReadOnly = true
	s = spec()
	s.WritableVolumes = true
	x = accepted(t, target, rev, s).GetTemplate()
	if x.GetVolumes()[0].GetGcs().GetReadOnly() || !x.GetVolumes()[1].GetNfs().GetReadOnly() {
		t.Errorf("with --writable-volumes the volumes are %v", x.GetVolumes())
	}
}

func TestEntered(t *testing.T) {
	_, rev := trio()
	all := rev.GetContainers()
	for name, want := range map[string]int{"": 1, "web": 1, "proxy": 0, "collector": 2} {
		if i, err := entered(all, name); err != nil || i != want {
			t.Errorf("%q is container %d, %v", name, i, err)
		}
	}
	if i, err := entered([]*runpb.Container{{}}, ""); i != 0 || err != nil {
		t.Errorf("the only one is %d, %v", i, err)
	}
	_, err := entered(all, "wep")
	wantText(t, err, `no container "wep"`, "proxy, web, collector")
	wantHint(t, err, "--container web")
	all[1].Ports = nil
	if i, err := entered(all, ""); err != nil || i != 2 { // a job's: it waits for all others
		t.Errorf("the last is %d, %v", i, err)
	}
	all[2].DependsOn = nil
	_, err = entered(all, "")
	wantText(t, err, "none of the containers proxy, web, collector takes requests")
	wantHint(t, err, "--container collector")
	_, err = entered(nil, "")
	wantText(t, err, "no container")
}

func TestTooManyContainers(t *testing.T) {
	target, rev := app()
	rev.Containers[0].Ports = []*runpb.ContainerPort{{ContainerPort: 8080}}
	for n := range 9 {
		rev.Containers = append(rev.Containers, &runpb.Container{Name: fmt.Sprint("side-", n), Image: "reg/x:v1"})
	}
	s := spec()
	accepted(t, target, rev, s)
	viaSidecar(&s)
	_, _, err := Derive(target, rev, s)
	if !errors.Is(err, errTooManyContainers) || !strings.Contains(err.Error(), "11th") {
		t.Errorf("error %v", err)
	}
	wantHint(t, err, "--inject layer")
	s.NoSidecars = true
	accepted(t, target, rev, s)
}

func TestAppCommand(t *testing.T) {
	c := &runpb.Container{Command: []string{"/app"}, Args: []string{"serve"}}
	for _, tc := range []struct {
		o             provision.Overrides
		command, args []string
	}{
		{provision.Overrides{}, []string{"/app"}, []string{"serve"}},
		{provision.Overrides{Command: []string{"/sh"}}, []string{"/sh"}, []string{"serve"}},
		{provision.Overrides{Args: []string{}}, []string{"/app"}, []string{}},
		{provision.Overrides{Command: []string{}, Args: []string{"x"}}, []string{}, []string{"x"}},
	} {
		command, args := appCommand(c, tc.o)
		if diff := cmp.Diff([][]string{tc.command, tc.args}, [][]string{command, args}); diff != "" {
			t.Errorf("%+v:\n%s", tc.o, diff)
		}
	}
}

// Hints that are flags become commands, once: who walks the tree must not find the flags below.
func TestWithCommand(t *testing.T) {
	_, rev := trio()
	_, bare := entered(rev.GetContainers(), "wep")
	err := withCommand(fmt.Errorf("looking: %w", bare), provision.Target{Kind: provision.KindService, Name: "app"})
	want := []string{"cloudssh app --container proxy", "cloudssh app --container web", "cloudssh app --container collector"}
	if got := provision.Hints(err); !slices.Equal(got, want) {
		t.Errorf("hints %q, want %q", got, want)
	}
	if below := errors.Unwrap(err); below != nil {
		t.Errorf("below are %q", provision.Hints(below))
	}
	var hint *provision.HintError
	if !errors.Is(err, bare) || !errors.As(err, &hint) {
		t.Error("the error itself cannot be found")
	}
}
