package serving

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

func planOf(t *testing.T, template *runpb.RevisionTemplate) *plan {
	t.Helper()
	p, err := newPlan(Revision{Service: "hello", Name: "hello-00001-abc", Template: template}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func one(c *runpb.Container) *runpb.RevisionTemplate {
	return &runpb.RevisionTemplate{Containers: []*runpb.Container{c}}
}

func TestArgv(t *testing.T) {
	image := v1.Config{Entrypoint: []string{"/entry", "-e"}, Cmd: []string{"cmd", "-c"}}
	for name, tc := range map[string]struct {
		image         v1.Config
		command, args []string
		want          []string
	}{
		"image alone":         {image, nil, nil, []string{"/entry", "-e", "cmd", "-c"}},
		"args replace CMD":    {image, nil, []string{"a", ""}, []string{"/entry", "-e", "a", ""}},
		"command drops CMD":   {image, []string{"/c"}, nil, []string{"/c"}},
		"command and args":    {image, []string{"/c", "x"}, []string{"a b"}, []string{"/c", "x", "a b"}},
		"CMD alone":           {v1.Config{Cmd: []string{"sh"}}, nil, nil, []string{"sh"}},
		"args over CMD alone": {v1.Config{Cmd: []string{"sh"}}, nil, []string{"ls"}, []string{"ls"}},
		"nothing":             {v1.Config{}, nil, nil, nil},
	} {
		c := container{spec: &runpb.Container{Command: tc.command, Args: tc.args}, config: tc.image}
		if diff := cmp.Diff(tc.want, c.argv()); diff != "" {
			t.Errorf("%s: argv differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestEnviron(t *testing.T) {
	p := planOf(t, &runpb.RevisionTemplate{Containers: []*runpb.Container{
		{
			Name:  "app",
			Ports: []*runpb.ContainerPort{{ContainerPort: 9000}},
			Env: []*runpb.EnvVar{
				{Name: "B", Values: &runpb.EnvVar_Value{Value: "service"}},
				{Name: "PORT", Values: &runpb.EnvVar_Value{Value: "1"}},
				{Name: "LITERAL", Values: &runpb.EnvVar_Value{Value: "$(B) $B"}},
				{Name: "KEY", Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
					SecretKeyRef: &runpb.SecretKeySelector{Secret: "key", Version: "3"},
				}}},
				{Name: "K_SERVICE", Values: &runpb.EnvVar_Value{Value: "other"}},
			},
		},
		{Name: "side"},
	}})
	secret := func(name, version string) (string, error) { return name + "@" + version, nil }
	app := p.find("app")
	app.config.Env = []string{"A=image", "B=image", "PATH=/bin", "EMPTY="}
	got, err := app.environ(p, secret)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"A=image", "B=service", "PATH=/bin", "EMPTY=", "PORT=9000", "LITERAL=$(B) $B", "KEY=key@3",
		"K_SERVICE=hello", "K_REVISION=hello-00001-abc", "K_CONFIGURATION=hello",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment of the ingress container (-want +got):\n%s", diff)
	}
	got, err = p.find("side").environ(p, secret)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"K_SERVICE=hello", "K_REVISION=hello-00001-abc", "K_CONFIGURATION=hello"}, got); diff != "" {
		t.Errorf("environment of the sidecar (-want +got):\n%s", diff)
	}
}

func TestHome(t *testing.T) {
	for name, tc := range map[string]struct {
		environment runpb.ExecutionEnvironment
		image       []string
		want        string
	}{
		"gen1":           {runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1, nil, "HOME=/home"},
		"gen1, in image": {runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1, []string{"HOME=/x"}, "HOME=/x"},
		"gen2":           {runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2, nil, ""},
		"gen2, in image": {runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2, []string{"HOME=/x"}, "HOME=/x"},
	} {
		spec := one(&runpb.Container{})
		spec.ExecutionEnvironment = tc.environment
		p := planOf(t, spec)
		p.containers[0].config.Env = tc.image
		env, err := p.containers[0].environ(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range env {
			if strings.HasPrefix(e, "HOME=") {
				got = e
			}
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestPlanDefaults(t *testing.T) {
	limits := func(cpu, memory string) *runpb.ResourceRequirements {
		return &runpb.ResourceRequirements{Limits: map[string]string{"cpu": cpu, "memory": memory}}
	}
	type facts struct {
		Name        string
		Port        int
		H2C         bool
		CPU         float64
		Memory      int64
		Concurrency int
		Timeout     time.Duration
		Dir         string
	}
	for name, tc := range map[string]struct {
		template *runpb.RevisionTemplate
		want     facts
	}{
		"nothing set": {
			one(&runpb.Container{}),
			facts{"hello-1", 8080, false, 1, 512 << 20, 80, 300 * time.Second, "/"},
		},
		"small": {
			one(&runpb.Container{Resources: limits("500m", "1Gi"), WorkingDir: "/srv"}),
			facts{"hello-1", 8080, false, 0.5, 1 << 30, 1, 300 * time.Second, "/srv"},
		},
		"everything set": {
			&runpb.RevisionTemplate{
				Timeout: durationpb.New(time.Hour), MaxInstanceRequestConcurrency: 7,
				Containers: []*runpb.Container{{
					Name: "web", Resources: limits("2", "1G"),
					Ports: []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 50051}},
				}},
			},
			facts{"web", 50051, true, 2, 1e9, 7, time.Hour, "/"},
		},
		"timeout over the maximum": {
			&runpb.RevisionTemplate{Timeout: durationpb.New(2 * time.Hour), Containers: []*runpb.Container{{}}},
			facts{"hello-1", 8080, false, 1, 512 << 20, 80, time.Hour, "/"},
		},
	} {
		p := planOf(t, tc.template)
		c := p.containers[0]
		got := facts{c.name, p.port, p.h2c, c.cpu, c.memory, p.concurrency, p.timeout, c.dir()}
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for want, template := range map[string]*runpb.RevisionTemplate{
		"the template has no containers": {},
		`container hello-1: cpu limit "a lot" is not a number of CPUs`: one(&runpb.Container{
			Resources: &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "a lot"}},
		}),
		"container a depends on itself": {Containers: []*runpb.Container{
			{Name: "a", DependsOn: []string{"b"}}, {Name: "b", DependsOn: []string{"a"}},
		}},
		`container a depends on "z", which does not exist`: {Containers: []*runpb.Container{
			{Name: "a", DependsOn: []string{"z"}},
		}},
	} {
		_, err := newPlan(Revision{Service: "hello", Template: template}, 0)
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "512Mi": 512 << 20, "1Gi": 1 << 30, "1.5Gi": 3 << 29, "128k": 128e3, "2M": 2e6, "4Ki": 4096, "1e3": 1000,
	} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "Mi", "-1", "0", "1Q", "1ki", "1iM", "99999999Ei", "1 Gi", "NaN"} {
		if got, err := parseBytes(s); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", s, got)
		}
	}
}

func TestParseCPU(t *testing.T) {
	for s, want := range map[string]float64{"1": 1, "1000m": 1, "0.08": 0.08, "250m": 0.25, "8": 8} {
		if got, err := parseCPU(s); err != nil || got != want {
			t.Errorf("parseCPU(%q) = %g, %v; want %g", s, got, err, want)
		}
	}
	for _, s := range []string{"", "m", "-1", "0", "one", "NaN", "Inf"} {
		if got, err := parseCPU(s); err == nil {
			t.Errorf("parseCPU(%q) = %g, want an error", s, got)
		}
	}
}

func TestLimits(t *testing.T) {
	type pair struct{ min, max int }
	for _, tc := range []struct {
		name              string
		template, service pair
		want              pair
	}{
		{"nothing set", pair{}, pair{}, pair{0, 100}},
		{"template", pair{1, 5}, pair{}, pair{1, 5}},
		{"service", pair{}, pair{2, 500}, pair{2, 500}},
		{"both", pair{1, 5}, pair{2, 3}, pair{2, 3}},
		{"more at least than at most", pair{4, 0}, pair{0, 2}, pair{2, 2}},
	} {
		r := newRevision(&Fleet{}, Revision{
			MinInstances: tc.service.min, MaxInstances: tc.service.max,
			Template: &runpb.RevisionTemplate{Scaling: &runpb.RevisionScaling{
				MinInstanceCount: int32(tc.template.min), MaxInstanceCount: int32(tc.template.max),
			}},
		})
		if got := (pair{r.min, r.max}); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestEnvironSecretError(t *testing.T) {
	p := planOf(t, one(&runpb.Container{Env: []*runpb.EnvVar{{Name: "KEY", Values: &runpb.EnvVar_ValueSource{
		ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: "key"}},
	}}}}))
	denied := errors.New("denied")
	_, err := p.containers[0].environ(p, func(_, version string) (string, error) {
		if version != "latest" {
			t.Errorf("version %q, want latest", version)
		}
		return "", denied
	})
	var secret *secretError
	if !errors.As(err, &secret) || secret.field != "env[0].value_from.secret_key_ref.name" || !errors.Is(err, denied) {
		t.Errorf("error %v", err)
	}
}
