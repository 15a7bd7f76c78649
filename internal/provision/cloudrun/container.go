package cloudrun

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	// agentEnv holds the agent's configuration. It is the only variable of ours, and holds no secret.
	agentEnv    = "CLOUDSSH_AGENT"
	portEnv     = "PORT"
	maxEnvValue = 32768 // bytes (EnvVar)
	gpuLimit    = "nvidia.com/gpu"
	// startupSeconds is the platform's default patience with a container that starts.
	startupSeconds = 240
)

// containerTables are the rules for the ith container.
func (d *deriver) containerTables(i int) tables {
	if i == d.entered {
		t := d.rules.enteredBy(d.spec)
		if all := d.rev.GetContainers(); len(all) > 1 && len(all[i].GetPorts()) == 0 {
			t = t.with("Container", map[string]rule{"ports": {provision.Change, "one that no container has: the agent takes the requests"}})
		}
		return t
	}
	t := d.rules.others()
	if c := d.rev.GetContainers()[i]; len(c.GetPorts()) > 0 && !d.awaited(c) {
		t = t.with("Container", demotedRules())
	}
	return t
}

// awaited reports whether a container of the twin waits for this one.
func (d *deriver) awaited(c *runpb.Container) bool {
	return c.GetName() != "" && slices.ContainsFunc(d.kept, func(i int) bool {
		return slices.Contains(d.rev.GetContainers()[i].GetDependsOn(), c.GetName())
	})
}

// container derives the ith container.
func (d *deriver) container(i int) (*runpb.Container, error) {
	from := d.rev.GetContainers()[i]
	copier := copier{d.containerTables(i)}
	if i == d.entered { // what is added to is copied first
		copier.rules = d.rules
	}
	c := &runpb.Container{}
	copier.fields(c, from)
	c.Image = from.GetImage()
	if pinned := d.spec.Images[i]; pinned != "" {
		c.Image = pinned
	}
	c.Resources = d.resources(copier, from.GetResources())
	c.VolumeMounts = slices.DeleteFunc(c.GetVolumeMounts(), func(m *runpb.VolumeMount) bool { return d.left[m.GetName()] != "" })
	if i == d.entered {
		return c, d.enter(c)
	}
	c.Env = d.env(i, provision.Overrides{}, nil)
	d.demote(c, from)
	return c, nil
}

// demote is for the container that takes requests in the service and not in the twin. The platform does not tell it its
// port any more, so we do. Whoever waits for it needs its startup probe, with a number where the port was left to the
// platform.
func (d *deriver) demote(c, from *runpb.Container) {
	if len(from.GetPorts()) == 0 {
		return
	}
	port := portOf(from)
	c.Env = append(c.Env, literal(portEnv, fmt.Sprint(port)))
	if !d.awaited(from) {
		return
	}
	if c.StartupProbe == nil {
		c.StartupProbe = tcpProbe(port)
	}
	switch p := c.StartupProbe.GetProbeType().(type) {
	case *runpb.Probe_TcpSocket:
		p.TcpSocket.Port = cmp.Or(p.TcpSocket.GetPort(), port)
	case *runpb.Probe_HttpGet:
		p.HttpGet.Port = cmp.Or(p.HttpGet.GetPort(), port)
	case *runpb.Probe_Grpc:
		p.Grpc.Port = cmp.Or(p.Grpc.GetPort(), port)
	}
}

// tcpProbe is the startup probe that the platform gives to a container that takes requests (container contract).
func tcpProbe(port int32) *runpb.Probe {
	return &runpb.Probe{
		TimeoutSeconds: startupSeconds, PeriodSeconds: startupSeconds, FailureThreshold: 1,
		ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}},
	}
}

// enter makes the agent the program of the container that is entered, and lets it take the requests.
func (d *deriver) enter(c *runpb.Container) error {
	c.Command, c.Args = []string{inject.AgentPath}, nil
	c.Ports = []*runpb.ContainerPort{{Name: "http1", ContainerPort: d.port}}
	c.StartupProbe = tcpProbe(d.port)
	d.enough(c.Resources)
	c.Env = d.env(d.entered, d.spec.Overrides, d.spec.ExtraEnv)
	config, err := d.agentConfig(d.port)
	if err != nil {
		return err
	}
	c.Env = append(c.Env, literal(agentEnv, config))
	return nil
}

// resources copies limits, without the GPU unless it is kept, and keeps the CPU running.
func (d *deriver) resources(copier copier, from *runpb.ResourceRequirements) *runpb.ResourceRequirements {
	r := &runpb.ResourceRequirements{}
	if from != nil {
		copier.fields(r, from)
	}
	r.Limits = maps.Clone(from.GetLimits())
	if !d.spec.GPU {
		delete(r.Limits, gpuLimit)
	}
	r.CpuIdle = false
	return r
}

// enough raises what would not do: under one CPU the platform allows one request at a time and no CPU between requests,
// and the latter needs 512 MiB in all containers together. What the user asked for stands, and is checked in the end.
func (d *deriver) enough(r *runpb.ResourceRequirements) {
	const wantCPU, wantMemory = 1000, 512 << 20
	limits := map[string]string{}
	maps.Copy(limits, r.GetLimits())
	if n, ok := milliCPU(limits["cpu"]); ok && n < wantCPU || limits["cpu"] == "" {
		limits["cpu"] = "1"
	}
	if n, ok := bytesOf(limits["memory"]); ok && n < wantMemory {
		limits["memory"] = "512Mi"
	}
	if o := d.spec.Overrides; o.CPU != "" {
		limits["cpu"] = o.CPU
	}
	if o := d.spec.Overrides; o.Memory != "" {
		limits["memory"] = o.Memory
	}
	r.Limits = limits
}

// env copies variables of the ith container, without what the platform sets, adds those of the target's kind, and does as
// the user asks: what is set takes the place of what is there.
func (d *deriver) env(i int, o provision.Overrides, extra []*runpb.EnvVar) []*runpb.EnvVar {
	var env []*runpb.EnvVar
	put := func(v *runpb.EnvVar) {
		if i := slices.IndexFunc(env, func(e *runpb.EnvVar) bool { return e.GetName() == v.GetName() }); i >= 0 {
			env[i] = v
			return
		}
		env = append(env, v)
	}
	copier := copier{d.rules}
	for _, e := range slices.Concat(d.rev.GetContainers()[i].GetEnv(), extra) {
		secret := e.GetValueSource() != nil
		if reserved(e.GetName()) && (e.GetName() != portEnv || i == d.entered) || secret && len(o.Secrets) > 0 || !secret && o.ClearEnv && !slices.Contains(extra, e) {
			continue
		}
		if slices.Contains(extra, e) && slices.ContainsFunc(env, func(v *runpb.EnvVar) bool { return v.GetName() == e.GetName() }) {
			continue
		}
		v := &runpb.EnvVar{}
		copier.fields(v, e)
		env = append(env, v)
	}
	for _, name := range slices.Sorted(maps.Keys(o.SetEnv)) {
		put(literal(name, o.SetEnv[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		if !isFile(name) {
			put(secretVariable(name, o.Secrets[name]))
		}
	}
	return slices.DeleteFunc(env, func(v *runpb.EnvVar) bool { return slices.Contains(o.RemoveEnv, v.GetName()) })
}

// envReason is why a variable of the ith container is not as in the service; is tells whether the twin has it.
func (d *deriver) envReason(i int, name string, is bool) string {
	o := d.spec.Overrides
	_, set := o.SetEnv[name]
	_, secret := o.Secrets[name]
	switch {
	case name == agentEnv:
		return "the agent's configuration"
	case name == portEnv && i != d.entered:
		return "the port it has in the service, where the platform sets it"
	case reserved(name):
		return outputOnly
	case i != d.entered:
		return asThere
	case slices.Contains(o.RemoveEnv, name):
		return "--remove-env-vars"
	case secret:
		return "--set-secrets"
	case set:
		return envFlag(o)
	case is:
		return "the platform sets it where the target runs"
	case o.ClearEnv:
		return "--set-env-vars, which replaces all"
	}
	return "--set-secrets, which replaces all secrets"
}

func literal(name, value string) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
}

// reserved names are set by the platform (container contract), which refuses them in a spec; the last is ours. PORT is
// reserved in the container that takes the requests only: others may have one of their own.
func reserved(name string) bool {
	switch name {
	case portEnv, "K_SERVICE", "K_REVISION", "K_CONFIGURATION", agentEnv:
		return true
	}
	return false
}

// agentConfig is the agent's configuration; the agent's own package has its counterpart.
type agentConfig struct {
	Version        int      `json:"version"`
	AuthorizedKeys []string `json:"authorized_keys"`
	Expires        int64    `json:"expires"`      // unix seconds
	IdleTimeout    int64    `json:"idle_timeout"` // seconds, 0 = none
	Grace          int64    `json:"grace"`        // seconds
	App            agentApp `json:"app"`
	Service        string   `json:"service"`
	Twin           string   `json:"twin"`
	Reason         string   `json:"reason,omitempty"`
	// Owner is the account whose other machines may enter with keys of their own.
	Owner          string `json:"owner,omitempty"`
	RequestTimeout int64  `json:"request_timeout"` // seconds
	// Resource is the twin's full name on the platform, which the agent deletes at the end of the lease.
	Resource     string `json:"resource"`
	MinInstances int    `json:"min_instances,omitempty"`
}

type agentApp struct {
	Entrypoint []string `json:"entrypoint"`
	Args       []string `json:"args"`
	Dir        string   `json:"dir"`
	User       string   `json:"user"`
	Port       int32    `json:"port"`
}

func (d *deriver) agentConfig(port int32) (string, error) {
	app := d.spec.App
	b, err := json.Marshal(agentConfig{
		Version:        1,
		AuthorizedKeys: []string{strings.TrimSpace(d.spec.Key)},
		Expires:        d.spec.Lease.Expires.Unix(),
		IdleTimeout:    int64(d.spec.IdleTimeout.Seconds()),
		Grace:          int64(provision.Grace.Seconds()),
		App: agentApp{
			Entrypoint: append([]string{}, app.Entrypoint...), Args: append([]string{}, app.Args...), // never null
			Dir: app.Dir, User: app.User, Port: port,
		},
		Service: d.source,
		Twin:    d.spec.Name,
		Reason:  d.spec.Lease.Reason,

		Owner:          d.spec.Lease.Account,
		RequestTimeout: int64(d.timeout().Seconds()),
		Resource:       fmt.Sprintf("projects/%s/locations/%s/services/%s", d.spec.Project, d.spec.Region, d.spec.Name),
		MinInstances:   d.spec.MinInstances,
	})
	if err != nil {
		return "", fmt.Errorf("writing the agent's configuration: %w", err)
	}
	if len(b) > maxEnvValue {
		return "", fmt.Errorf("the agent's configuration has %d bytes, %d are possible: the service's arguments or the reason are too long",
			len(b), maxEnvValue)
	}
	return string(b), nil
}
