package rules

import (
	"cmp"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

// probeLimits are the bounds of one kind of probe, in seconds.
type probeLimits struct {
	kind   string
	delay  int32 // initial_delay_seconds, at most
	period int32 // period_seconds, at most
	total  int32 // failure_threshold * period_seconds, at most; 0 = unbounded
	tcp    bool  // whether a TCP probe is supported
}

func startupLimits() probeLimits {
	return probeLimits{kind: "startup", delay: 240, period: 240, total: 240, tcp: true}
}

func livenessLimits() probeLimits {
	return probeLimits{kind: "liveness", delay: 3600, period: 3600}
}

func readinessLimits() probeLimits {
	return probeLimits{kind: "readiness", delay: 3600, period: 3600}
}

// What the API assumes for numbers that are left at 0.
const (
	probeTimeout   = 1
	probePeriod    = 10
	probeThreshold = 3
)

func (c *checker) probe(at string, p *runpb.Probe, limits probeLimits) {
	if p == nil {
		return
	}
	timeout := cmp.Or(p.GetTimeoutSeconds(), probeTimeout)
	period := cmp.Or(p.GetPeriodSeconds(), probePeriod)
	threshold := cmp.Or(p.GetFailureThreshold(), probeThreshold)
	if d := p.GetInitialDelaySeconds(); d < 0 || d > limits.delay {
		c.malformed(at+".initial_delay_seconds", "should be between 0 and %d.", limits.delay)
	}
	if period < 1 || period > limits.period {
		c.malformed(at+".period_seconds", "should be between 1 and %d.", limits.period)
	}
	if timeout < 1 || timeout > 3600 {
		c.malformed(at+".timeout_seconds", "should be between 1 and 3600.")
	} else if timeout > period {
		c.malformed(at+".timeout_seconds", "should be less than or equal to period_seconds (%d).", period)
	}
	if threshold < 1 {
		c.malformed(at+".failure_threshold", "should be greater than or equal to 1.")
	} else if limits.total > 0 && int64(threshold)*int64(period) > int64(limits.total) {
		c.refused(at+".failure_threshold", "failure_threshold * period_seconds cannot be greater than %d seconds.", limits.total)
	}
	c.probeAction(at, p, limits)
}

func (c *checker) probeAction(at string, p *runpb.Probe, limits probeLimits) {
	port, portAt := int32(0), ""
	switch a := p.GetProbeType().(type) {
	case *runpb.Probe_HttpGet:
		port, portAt = a.HttpGet.GetPort(), at+".http_get.port"
		c.httpGet(at+".http_get", a.HttpGet)
	case *runpb.Probe_Grpc:
		port, portAt = a.Grpc.GetPort(), at+".grpc.port"
	case *runpb.Probe_TcpSocket:
		port, portAt = a.TcpSocket.GetPort(), at+".tcp_socket.port"
		if !limits.tcp {
			c.refused(at+".tcp_socket", "Cloud Run currently does not support TCP socket in %s probe.", limits.kind)
		}
	default:
		c.malformed(at, "one and only one of http_get, tcp_socket and grpc must be set.")
		return
	}
	if port < 0 || port > 65535 {
		c.malformed(portAt, "should be between 1 and 65535.")
	}
}

func (c *checker) httpGet(at string, a *runpb.HTTPGetAction) {
	if path := a.GetPath(); path != "" && !strings.HasPrefix(path, "/") {
		c.malformed(at+".path", "should begin with '/'.")
	}
	for i, h := range a.GetHttpHeaders() {
		if h.GetName() == "" {
			c.malformed(index(at+".http_headers", i)+".name", "should be non-empty.")
		}
	}
}
