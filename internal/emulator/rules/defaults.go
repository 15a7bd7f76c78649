package rules

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	defaultTimeout      = 300 * time.Second
	defaultPort         = 8080
	defaultMaxInstances = 100
	defaultConcurrency  = 80
	startupSeconds      = 240
)

// Defaults fills in what the API fills in, in place: a service that Create or
// Update accepted before is accepted after. serviceAccount is the project's
// default identity, <project number>-compute@developer.gserviceaccount.com.
// Unnamed containers are named after the service, so s.Name should be set.
// The execution environment is left as it is: unset means that the platform picks.
func Defaults(s *runpb.Service, serviceAccount string) {
	s.Ingress = cmp.Or(s.GetIngress(), runpb.IngressTraffic_INGRESS_TRAFFIC_ALL)
	s.LaunchStage = cmp.Or(s.GetLaunchStage(), api.LaunchStage_GA)
	if len(s.GetTraffic()) == 0 {
		s.Traffic = []*runpb.TrafficTarget{{
			Type:    runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST,
			Percent: 100,
		}}
	}
	if t := s.GetTemplate(); t != nil {
		templateDefaults(t, serviceIDOf(s), serviceAccount)
	}
}

func templateDefaults(t *runpb.RevisionTemplate, id, serviceAccount string) {
	t.ServiceAccount = cmp.Or(t.GetServiceAccount(), serviceAccount)
	if t.GetTimeout() == nil {
		t.Timeout = durationpb.New(defaultTimeout)
	}
	if t.GetScaling() == nil {
		t.Scaling = &runpb.RevisionScaling{}
	}
	t.Scaling.MaxInstanceCount = cmp.Or(t.GetScaling().GetMaxInstanceCount(), max(defaultMaxInstances, t.GetScaling().GetMinInstanceCount()))
	if v := t.GetVpcAccess(); v != nil {
		v.Egress = cmp.Or(v.GetEgress(), runpb.VpcAccess_PRIVATE_RANGES_ONLY)
	}
	sql := map[string]bool{}
	for _, v := range t.GetVolumes() {
		sql[v.GetName()] = v.GetCloudSqlInstance() != nil
		if d := v.GetEmptyDir(); d != nil {
			d.Medium = cmp.Or(d.GetMedium(), runpb.EmptyDirVolumeSource_MEMORY)
		}
	}
	var cpu int64
	for i, c := range t.GetContainers() {
		if c.GetName() == "" && id != "" {
			c.Name = freeName(t.GetContainers(), id, i+1)
		}
		containerDefaults(c, len(t.GetContainers()) == 1, sql)
		n, _ := parseCPU(c.GetResources().GetLimits()["cpu"])
		cpu += n
	}
	if t.GetMaxInstanceRequestConcurrency() == 0 {
		t.MaxInstanceRequestConcurrency = defaultConcurrency
		if cpu < 1000 {
			t.MaxInstanceRequestConcurrency = 1
		}
	}
}

// freeName is <id>-<n>, with the first n from the given one that no container has.
func freeName(containers []*runpb.Container, id string, n int) string {
	taken := map[string]bool{}
	for _, c := range containers {
		taken[c.GetName()] = true
	}
	for ; ; n++ {
		if name := fmt.Sprintf("%s-%d", id, n); !taken[name] {
			return name
		}
	}
}

func containerDefaults(c *runpb.Container, alone bool, sql map[string]bool) {
	if c.GetResources() == nil {
		c.Resources = &runpb.ResourceRequirements{CpuIdle: true}
	}
	if c.Resources.Limits == nil {
		c.Resources.Limits = map[string]string{}
	}
	limits := c.Resources.Limits
	limits["cpu"] = cmp.Or(limits["cpu"], defaultCPU)
	limits["memory"] = cmp.Or(limits["memory"], defaultMemory)
	if alone && len(c.GetPorts()) == 0 {
		c.Ports = []*runpb.ContainerPort{{}}
	}
	for _, p := range c.GetPorts() {
		p.Name = cmp.Or(p.GetName(), "http1")
		p.ContainerPort = cmp.Or(p.GetContainerPort(), defaultPort)
	}
	for _, m := range c.GetVolumeMounts() {
		if sql[m.GetName()] {
			m.MountPath = cmp.Or(m.GetMountPath(), cloudSQLMount)
		}
	}
	probesDefaults(c)
}

// probesDefaults gives the ingress container, the one with a port, the startup
// probe that the container contract names, and completes the others.
func probesDefaults(c *runpb.Container) {
	port := int32(0)
	if len(c.GetPorts()) > 0 {
		port = c.GetPorts()[0].GetContainerPort()
		if c.GetStartupProbe() == nil {
			c.StartupProbe = &runpb.Probe{
				TimeoutSeconds: startupSeconds, PeriodSeconds: startupSeconds, FailureThreshold: 1,
				ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}},
			}
		}
	}
	for _, p := range []*runpb.Probe{c.GetStartupProbe(), c.GetLivenessProbe(), c.GetReadinessProbe()} {
		if p != nil {
			probeDefaults(p, port)
		}
	}
}

func probeDefaults(p *runpb.Probe, port int32) {
	p.TimeoutSeconds = cmp.Or(p.GetTimeoutSeconds(), probeTimeout)
	p.PeriodSeconds = cmp.Or(p.GetPeriodSeconds(), probePeriod)
	p.FailureThreshold = cmp.Or(p.GetFailureThreshold(), probeThreshold)
	if a := p.GetHttpGet(); a != nil {
		a.Path = cmp.Or(a.GetPath(), "/")
		a.Port = cmp.Or(a.GetPort(), port)
	}
	if a := p.GetTcpSocket(); a != nil {
		a.Port = cmp.Or(a.GetPort(), port)
	}
	if a := p.GetGrpc(); a != nil {
		a.Port = cmp.Or(a.GetPort(), port)
	}
}
