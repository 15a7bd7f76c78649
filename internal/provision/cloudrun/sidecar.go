package cloudrun

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
)

const (
	// agentName is the name of the container that brings the agent, and of the volume it is on.
	agentName = "cloudssh-agent"
	// agentVolumeSize is room for the agent, the shell and their next versions. The platform counts what is written
	// against the memory of the container that writes.
	agentVolumeSize = "64Mi"
	maxContainers   = 10 // of an instance
	// lowPorts are tried from here: below the ports that Linux gives to outgoing connections (32768 and up), which all
	// containers share.
	lowPorts = 22022
)

// errTooManyContainers: Cloud Run allows 10, and a sidecar would be one more.
var errTooManyContainers = errors.New("Cloud Run allows 10 containers") //nolint:staticcheck // a name

// copyArgs are the arguments of the agent's image. It copies the agent and then listens, which is how its startup probe
// knows, for as long as the instance lives: an instance ends with its first container that does.
func copyArgs(port int32) []string {
	return []string{"copy", "--to", agentDir(), "--listen", fmt.Sprint(port)}
}

// addSidecar lets a container of its own bring the agent, on a volume in memory that it shares with the one that is
// entered.
func (d *deriver) addSidecar(t *runpb.RevisionTemplate, entered *runpb.Container) {
	mount := func() *runpb.VolumeMount { return &runpb.VolumeMount{Name: d.agentVolume, MountPath: agentDir()} }
	t.Volumes = append(t.Volumes, &runpb.Volume{Name: d.agentVolume, VolumeType: &runpb.Volume_EmptyDir{
		EmptyDir: &runpb.EmptyDirVolumeSource{Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: agentVolumeSize},
	}})
	entered.VolumeMounts = append(entered.VolumeMounts, mount())
	entered.DependsOn = append(entered.DependsOn, d.agentContainer)
	t.Containers = append(t.Containers, &runpb.Container{
		Name: d.agentContainer, Image: d.spec.AgentImage, Args: copyArgs(d.agentPort),
		Resources: &runpb.ResourceRequirements{
			Limits: map[string]string{"cpu": "0.08", "memory": "128Mi"}, StartupCpuBoost: true,
		},
		VolumeMounts: []*runpb.VolumeMount{mount()},
		StartupProbe: &runpb.Probe{
			TimeoutSeconds: 1, PeriodSeconds: 1, FailureThreshold: startupSeconds,
			ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: d.agentPort}},
		},
	})
}

// servingPort is the one that the agent takes requests on: the container's own, or, if another takes them in the service,
// the one it is told in PORT, or one that nobody has. PORT has that value in the twin, and cloudssh-app does with it what it
// does with any.
func (d *deriver) servingPort() int32 {
	all := d.rev.GetContainers()
	c := all[d.entered]
	switch told := toldPort(c); {
	case len(c.GetPorts()) > 0:
		return portOf(c)
	case told != 0 && !slices.Contains(portsOf(slices.Delete(slices.Clone(all), d.entered, d.entered+1)), told):
		return told
	case len(all) == 1:
		return defaultPort
	}
	return freePort(all)
}

// toldPort is the port in a container's own PORT, 0 if there is none.
func toldPort(c *runpb.Container) int32 {
	for _, e := range c.GetEnv() {
		if n, err := strconv.ParseUint(e.GetValue(), 10, 16); err == nil && e.GetName() == portEnv {
			return int32(n)
		}
	}
	return 0
}

// portOf is the port of a container that takes requests.
func portOf(c *runpb.Container) int32 {
	if p := c.GetPorts(); len(p) > 0 && p[0].GetContainerPort() != 0 {
		return p[0].GetContainerPort()
	}
	return defaultPort
}

// freePort is one that no container is known to listen on. The containers of an instance share their network.
func freePort(all []*runpb.Container, taken ...int32) int32 {
	taken = append(append(taken, defaultPort), portsOf(all)...)
	port := int32(lowPorts)
	for slices.Contains(taken, port) {
		port++
	}
	return port
}

// portsOf are the ports that containers are known to listen on.
func portsOf(all []*runpb.Container) []int32 {
	var ports []int32
	for _, c := range all {
		ports = append(ports, toldPort(c))
		if len(c.GetPorts()) > 0 {
			ports = append(ports, portOf(c))
		}
		for _, p := range []*runpb.Probe{c.GetStartupProbe(), c.GetLivenessProbe(), c.GetReadinessProbe()} {
			ports = append(ports, p.GetHttpGet().GetPort(), p.GetTcpSocket().GetPort(), p.GetGrpc().GetPort())
		}
	}
	return ports
}

// untangle removes dependencies on containers that the twin does not have.
func (d *deriver) untangle(all []*runpb.Container) {
	if !d.spec.NoSidecars {
		return
	}
	names := containerNames(all)
	for _, c := range all {
		c.DependsOn = slices.DeleteFunc(c.DependsOn, func(n string) bool { return !slices.Contains(names, n) })
	}
}

// agentDir is where the agent is, on the volume as in the layer.
func agentDir() string { return path.Dir(inject.AgentPath) }
