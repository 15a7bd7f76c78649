package cloudrun

import (
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
	maxEnvValue = 32768 // bytes (EnvVar)
	gpuLimit    = "nvidia.com/gpu"
	// startupSeconds is the platform's default patience with a container that starts.
	startupSeconds = 240
)

// container derives the ith container.
func (d deriver) container(i int) (*runpb.Container, error) {
	from := d.rev.GetContainers()[i]
	c := &runpb.Container{}
	d.fields(c, from)
	c.Image = from.GetImage()
	if pinned := d.spec.Images[i]; pinned != "" {
		c.Image = pinned
	}
	c.Resources = d.resources(from.GetResources())
	if i != mainContainer(d.rev.GetContainers()) {
		d.sidecar(c, from)
		return c, nil
	}
	return c, d.main(c, from)
}

// sidecar leaves a sidecar as it is, apart from the probes that would end it. Its startup probe stays: without it those
// that depend on it would not wait.
func (d deriver) sidecar(c, from *runpb.Container) {
	c.Command, c.Args = slices.Clone(from.GetCommand()), slices.Clone(from.GetArgs())
	c.Env = d.env(from.GetEnv(), nil)
	if p := from.GetStartupProbe(); p != nil {
		c.StartupProbe = &runpb.Probe{}
		d.fields(c.StartupProbe, p)
	}
}

// main makes the agent the program of the container that takes requests.
func (d deriver) main(c, from *runpb.Container) error {
	port := int32(defaultPort)
	if p := from.GetPorts(); len(p) > 0 && p[0].GetContainerPort() != 0 {
		port = p[0].GetContainerPort()
	}
	c.Command, c.Args = []string{inject.AgentPath}, nil
	c.Ports = []*runpb.ContainerPort{{Name: "http1", ContainerPort: port}}
	c.StartupProbe = &runpb.Probe{
		TimeoutSeconds: startupSeconds, PeriodSeconds: startupSeconds, FailureThreshold: 1,
		ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}},
	}
	d.enough(c.Resources)
	for _, name := range slices.Sorted(maps.Keys(d.spec.SetEnv)) {
		if reserved(name) || name == "" {
			return fmt.Errorf("environment variable %q is the platform's and cannot be set", name)
		}
	}
	c.Env = d.env(from.GetEnv(), d.spec.SetEnv)
	config, err := d.agentConfig(port)
	if err != nil {
		return err
	}
	c.Env = append(c.Env, literal(agentEnv, config))
	return nil
}

// resources copies limits, without the GPU, and keeps the CPU running.
func (d deriver) resources(from *runpb.ResourceRequirements) *runpb.ResourceRequirements {
	r := &runpb.ResourceRequirements{}
	if from != nil {
		d.fields(r, from)
	}
	r.Limits = maps.Clone(from.GetLimits())
	delete(r.Limits, gpuLimit)
	r.CpuIdle = false
	return r
}

// enough raises what would not do: under one CPU the platform allows one request at a time and no CPU between requests,
// and the latter needs 512 MiB in all containers together. What the user asked for stands, and is the platform's to judge.
func (d deriver) enough(r *runpb.ResourceRequirements) {
	const wantCPU, wantMemory = 1000, 512 << 20
	limits := map[string]string{}
	maps.Copy(limits, r.GetLimits())
	if n, ok := milliCPU(limits["cpu"]); ok && n < wantCPU || limits["cpu"] == "" {
		limits["cpu"] = "1"
	}
	if n, ok := bytesOf(limits["memory"]); ok && n < wantMemory {
		limits["memory"] = "512Mi"
	}
	if d.spec.CPU != "" {
		limits["cpu"] = d.spec.CPU
	}
	if d.spec.Memory != "" {
		limits["memory"] = d.spec.Memory
	}
	r.Limits = limits
}

// env copies variables, without what the platform sets, and sets those asked for: in place when they are there.
func (d deriver) env(from []*runpb.EnvVar, set map[string]string) []*runpb.EnvVar {
	var env []*runpb.EnvVar
	seen := map[string]bool{}
	for _, e := range from {
		if reserved(e.GetName()) {
			continue
		}
		v := &runpb.EnvVar{}
		d.fields(v, e)
		if value, ok := set[e.GetName()]; ok {
			v = literal(e.GetName(), value)
		}
		seen[e.GetName()] = true
		env = append(env, v)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !seen[name] {
			env = append(env, literal(name, set[name]))
		}
	}
	return env
}

func literal(name, value string) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
}

// reserved names are set by the platform (container contract), which refuses them in a spec; the last is ours.
func reserved(name string) bool {
	switch name {
	case "PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", agentEnv:
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

func (d deriver) agentConfig(port int32) (string, error) {
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
		RequestTimeout: int64(connectionLife.Seconds()),
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
