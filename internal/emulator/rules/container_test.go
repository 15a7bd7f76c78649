package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
)

func onContainer(f func(c *runpb.Container)) edit {
	return func(_ *runpb.Service, _ *runpb.RevisionTemplate, c *runpb.Container) { f(c) }
}

// withSidecar gives the main container port 8080 and the name app, and adds the
// sidecar, which gets an image and a startup probe.
func withSidecar(f func(app, side *runpb.Container)) edit {
	return func(_ *runpb.Service, t *runpb.RevisionTemplate, app *runpb.Container) {
		app.Name, app.Ports = "app", []*runpb.ContainerPort{{ContainerPort: 8080}}
		side := &runpb.Container{Name: "side", Image: "busybox", StartupProbe: tcpProbe(9000)}
		t.Containers = append(t.Containers, side)
		f(app, side)
	}
}

func tcpProbe(port int32) *runpb.Probe {
	return &runpb.Probe{ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}}}
}

func TestContainers(t *testing.T) {
	image := func(s string) edit { return onContainer(func(c *runpb.Container) { c.Image = s }) }
	many := func(n int) edit {
		return func(_ *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container) {
			c.Ports = []*runpb.ContainerPort{{ContainerPort: 8080}}
			for len(t.Containers) < n {
				t.Containers = append(t.Containers, &runpb.Container{Image: "busybox"})
			}
		}
	}
	check(t, []ruleTest{
		{"none", func(_ *runpb.Service, t *runpb.RevisionTemplate, _ *runpb.Container) { t.Containers = nil }, "service.template.containers", "at least one"},
		{"ten", many(10), "", ""},
		{"eleven", many(11), "service.template.containers", "at most 10"},
		{"image digest", image("127.0.0.1:8087/p/hello:v1@sha256:" + strings.Repeat("a", 64)), "", ""},
		{"image empty", image(""), "service.template.containers[0].image", "should be non-empty."},
		{"image syntax", image("Not An Image"), "service.template.containers[0].image", "must be a container image path in the form"},
		{"args 1000", onContainer(func(c *runpb.Container) { c.Args = make([]string, 1000) }), "", ""},
		{"args 1001", onContainer(func(c *runpb.Container) { c.Args = make([]string, 1001) }), "service.template.containers[0].args", "1000"},
		{"name", onContainer(func(c *runpb.Container) { c.Name = "web.1" }), "", ""},
		{"name syntax", onContainer(func(c *runpb.Container) { c.Name = "Web" }), "template.containers[0].name", "RFC 1123"},
		{"name long", onContainer(func(c *runpb.Container) { c.Name = strings.Repeat("a", 64) }), "template.containers[0].name", "RFC 1123"},
		{"name twice", withSidecar(func(_, side *runpb.Container) { side.Name = "app" }), "template.containers[1].name", "'app'"},
	})
}

func TestPorts(t *testing.T) {
	port := func(name string, n int32) edit {
		return onContainer(func(c *runpb.Container) { c.Ports = []*runpb.ContainerPort{{Name: name, ContainerPort: n}} })
	}
	check(t, []ruleTest{
		{"http1", port("http1", 80), "", ""},
		{"h2c", port("h2c", 65535), "", ""},
		{"default number", port("http1", 0), "", ""},
		{"name", port("http2", 80), "service.template.containers[0].ports[0].name", "http1 or h2c"},
		{"number high", port("", 65536), "service.template.containers[0].ports[0].container_port", "65535"},
		{"number low", port("", -1), "service.template.containers[0].ports[0].container_port", "65535"},
		{"two", onContainer(func(c *runpb.Container) {
			c.Ports = []*runpb.ContainerPort{{ContainerPort: 1}, {ContainerPort: 2}}
		}), "service.template.containers[0].ports", "ports should contain 0 or 1 port."},
		{"sidecar", withSidecar(func(_, _ *runpb.Container) {}), "", ""},
		{"sidecar's own PORT", withSidecar(func(_, side *runpb.Container) {
			side.Env = []*runpb.EnvVar{{Name: "PORT", Values: &runpb.EnvVar_Value{Value: "8888"}}}
		}), "", ""},
		{"sidecar with port too", withSidecar(func(_, side *runpb.Container) {
			side.Ports = []*runpb.ContainerPort{{ContainerPort: 9000}}
		}), "template.containers", "Revision template should contain exactly one container with an exposed port."},
		{"none with sidecar", withSidecar(func(app, _ *runpb.Container) { app.Ports = nil }), "template.containers", "exactly one container"},
		{"implicit with sidecar", withSidecar(func(app, _ *runpb.Container) { app.Ports[0].ContainerPort = 0 }), "template.containers[0].ports[0].container_port", "must be specified"},
	})
}

func TestEnv(t *testing.T) {
	env := func(pairs ...string) edit {
		return onContainer(func(c *runpb.Container) {
			for i := 0; i < len(pairs); i += 2 {
				c.Env = append(c.Env, &runpb.EnvVar{Name: pairs[i], Values: &runpb.EnvVar_Value{Value: pairs[i+1]}})
			}
		})
	}
	many := func(n int) edit {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprintf("V%d", i), "x")
		}
		return env(pairs...)
	}
	secret := func(name string) edit {
		return onContainer(func(c *runpb.Container) {
			c.Env = []*runpb.EnvVar{{Name: "S", Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
				SecretKeyRef: &runpb.SecretKeySelector{Secret: name, Version: "latest"},
			}}}}
		})
	}
	const at = "template.containers[0].env"
	check(t, []ruleTest{
		{"plain", env("A", "1", "B.c-d", ""), "", ""},
		{"empty name", env("", "x"), "service." + at + "[0].name", "non-empty"},
		{"name longest", env(strings.Repeat("é", 32768), "x"), "", ""},
		{"name long", env(strings.Repeat("a", 32769), "x"), "service." + at + "[0].name", "32768"},
		{"name equals", env("A=B", "x"), "service." + at + "[0].name", "'='"},
		{"value longest", env("A", strings.Repeat("x", 32768)), "", ""},
		{"value long", env("B", "", "A", strings.Repeat("é", 16385)), "service." + at + "[1].value", "32768"},
		{"1000", many(1000), "", ""},
		{"1001", many(1001), "service." + at, "1000"},
		{"PORT", env("PORT", "80"), at, "The following reserved env names were provided: PORT. These values are automatically set by the system."},
		{"K_", env("K_SERVICE", "", "K_REVISION", "", "K_CONFIGURATION", ""), at, "K_SERVICE, K_REVISION, K_CONFIGURATION"},
		{"twice", env("A", "1", "A", "2"), at, "more than once: A"},
		{"secret", secret("projects/p/secrets/s"), "", ""},
		{"secret unnamed", secret(""), "service." + at + "[0].value_source.secret_key_ref.secret", "non-empty"},
	})
}

func TestDependencies(t *testing.T) {
	const at = "template.containers[0].depends_on"
	check(t, []ruleTest{
		{"plain", withSidecar(func(app, side *runpb.Container) { app.DependsOn = []string{side.Name} }), "", ""},
		{"unnamed dependent", withSidecar(func(app, side *runpb.Container) { app.Name, app.DependsOn = "", []string{side.Name} }), "", ""},
		{"unknown", withSidecar(func(app, _ *runpb.Container) { app.DependsOn = []string{"redis"} }), at, "'redis'"},
		{"self", withSidecar(func(app, _ *runpb.Container) {
			app.DependsOn, app.StartupProbe = []string{"app"}, tcpProbe(0)
		}), at, "itself"},
		{"no probe", withSidecar(func(app, side *runpb.Container) {
			app.DependsOn, side.StartupProbe = []string{"side"}, nil
		}), at, "Dependent container 'side' must have startup probe specified"},
		{"cycle", withSidecar(func(app, side *runpb.Container) {
			app.DependsOn, side.DependsOn, app.StartupProbe = []string{"side"}, []string{"app"}, tcpProbe(0)
		}), "template.containers", "app -> side -> app"},
	})
}

func TestFindCircleLeavesDiamondsAlone(t *testing.T) {
	// a needs b and c, both of which need d: two ways, no circle.
	var all []*runpb.Container
	byName := map[string]*runpb.Container{}
	for _, needs := range [][]string{{"a", "b", "c"}, {"b", "d"}, {"c", "d"}, {"d"}} {
		k := &runpb.Container{Name: needs[0], DependsOn: needs[1:]}
		all, byName[k.Name] = append(all, k), k
	}
	if circle := findCircle(all, byName); circle != nil {
		t.Errorf("circle %q in a diamond", circle)
	}
	byName["d"].DependsOn = []string{"b"}
	if got, want := findCircle(all, byName), []string{"b", "d", "b"}; !slices.Equal(got, want) {
		t.Errorf("circle %q, want %q", got, want)
	}
}

func TestProbes(t *testing.T) {
	startup := func(f func(p *runpb.Probe)) edit {
		return onContainer(func(c *runpb.Container) { c.StartupProbe = tcpProbe(0); f(c.StartupProbe) })
	}
	http := func(path string, port int32) *runpb.Probe {
		return &runpb.Probe{ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{Path: path, Port: port}}}
	}
	const at = "service.template.containers[0].startup_probe"
	check(t, []ruleTest{
		{"defaults", startup(func(*runpb.Probe) {}), "", ""},
		{"most", startup(func(p *runpb.Probe) {
			p.InitialDelaySeconds, p.PeriodSeconds, p.TimeoutSeconds, p.FailureThreshold = 240, 240, 240, 1
		}), "", ""},
		{"copier", startup(func(p *runpb.Probe) { p.PeriodSeconds, p.FailureThreshold = 5, 48 }), "", ""},
		{"delay", startup(func(p *runpb.Probe) { p.InitialDelaySeconds = 241 }), at + ".initial_delay_seconds", "240"},
		{"delay negative", startup(func(p *runpb.Probe) { p.InitialDelaySeconds = -1 }), at + ".initial_delay_seconds", "0"},
		{"period", startup(func(p *runpb.Probe) { p.PeriodSeconds, p.FailureThreshold = 241, 1 }), at + ".period_seconds", "240"},
		{"timeout over period", startup(func(p *runpb.Probe) { p.PeriodSeconds, p.TimeoutSeconds = 5, 6 }), at + ".timeout_seconds", "period_seconds (5)"},
		{"timeout negative", startup(func(p *runpb.Probe) { p.TimeoutSeconds = -1 }), at + ".timeout_seconds", "3600"},
		{"threshold negative", startup(func(p *runpb.Probe) { p.FailureThreshold = -1 }), at + ".failure_threshold", "1"},
		{"total", startup(func(p *runpb.Probe) { p.FailureThreshold = 25 }), "template.containers[0].startup_probe.failure_threshold", "240 seconds"},
		{"no action", startup(func(p *runpb.Probe) { p.ProbeType = nil }), at, "one and only one"},
		{"port", startup(func(p *runpb.Probe) { p.GetTcpSocket().Port = 65536 }), at + ".tcp_socket.port", "65535"},
		{"http", onContainer(func(c *runpb.Container) { c.LivenessProbe = http("/ok", 80) }), "", ""},
		{"http path", onContainer(func(c *runpb.Container) { c.LivenessProbe = http("ok", 0) }), "service.template.containers[0].liveness_probe.http_get.path", "'/'"},
		{"http header", onContainer(func(c *runpb.Container) {
			c.LivenessProbe = http("", 0)
			c.LivenessProbe.GetHttpGet().HttpHeaders = []*runpb.HTTPHeader{{Value: "x"}}
		}), "service.template.containers[0].liveness_probe.http_get.http_headers[0].name", "non-empty"},
		{"grpc", onContainer(func(c *runpb.Container) {
			c.ReadinessProbe = &runpb.Probe{ProbeType: &runpb.Probe_Grpc{Grpc: &runpb.GRPCAction{Service: "s"}}}
		}), "", ""},
		{"liveness long", onContainer(func(c *runpb.Container) { c.LivenessProbe = http("", 0); c.LivenessProbe.PeriodSeconds = 3600 }), "", ""},
		{"liveness too long", onContainer(func(c *runpb.Container) { c.LivenessProbe = http("", 0); c.LivenessProbe.PeriodSeconds = 3601 }), "service.template.containers[0].liveness_probe.period_seconds", "3600"},
		{"liveness tcp", onContainer(func(c *runpb.Container) { c.LivenessProbe = tcpProbe(1) }), "template.containers[0].liveness_probe.tcp_socket", "Cloud Run currently does not support TCP socket in liveness probe."},
	})
}
