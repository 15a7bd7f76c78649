package rulestest

import (
	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	gen1 = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
	gen2 = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	gpu  = "nvidia.com/gpu"
)

func limits(cpu, memory string, idle bool) *runpb.ResourceRequirements {
	r := &runpb.ResourceRequirements{CpuIdle: idle, Limits: map[string]string{}}
	if cpu != "" {
		r.Limits["cpu"] = cpu
	}
	if memory != "" {
		r.Limits["memory"] = memory
	}
	return r
}

func resources() []Rejection {
	const (
		cpu    = at + ".resources.limits.cpu"
		memory = at + ".resources.limits.memory"
		all    = "template.containers.resources.limits"
	)
	is := func(name, field string, r *runpb.ResourceRequirements) Rejection {
		return Rejection{Name: name, Field: field, Edit: onContainer(func(c box) { c.Resources = r })}
	}
	in := func(name, field string, r *runpb.ResourceRequirements, f func(tmpl)) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) { c.Resources = r; f(t) }}
	}
	return []Rejection{
		is("3 CPU", cpu, limits("3", "4Gi", false)),
		is("0.07 CPU", cpu, limits("0.07", "128Mi", true)),
		is("CPU that is no number", cpu, limits("one", "", true)),
		is("memory that is no quantity", memory, limits("1", "1GB", true)),
		is("1 CPU and 5Gi", memory, limits("1", "5Gi", true)),
		is("2 CPU and 9Gi", memory, limits("2", "9Gi", true)),
		is("4 CPU and 1Gi", memory, limits("4", "1Gi", true)),
		is("6 CPU and 2Gi", memory, limits("6", "2Gi", true)),
		is("8 CPU and 33Gi", memory, limits("8", "33Gi", true)),
		is("0.4 CPU and 1Gi", memory, limits("0.4", "1Gi", true)),
		is("unknown resource", "service."+at+".resources.limits", &runpb.ResourceRequirements{Limits: map[string]string{"disk": "1Gi"}}),
		is("less than 1 CPU, always allocated", all+".cpu", limits("0.5", "512Mi", false)),
		in("less than 1 CPU and concurrency 2", all+".cpu", limits("0.5", "512Mi", true), func(t tmpl) { t.MaxInstanceRequestConcurrency = 2 }),
		in("less than 1 CPU on gen2", all+".cpu", limits("0.5", "512Mi", true), func(t tmpl) { t.ExecutionEnvironment = gen2 }),
		in("256Mi on gen2", all+".memory", limits("1", "256Mi", true), func(t tmpl) { t.ExecutionEnvironment = gen2 }),
		is("256Mi with CPU always allocated", all+".memory", limits("1", "256Mi", false)),
	}
}

func accelerators() []Rejection {
	with := func(name, field string, f func(tmpl, *runpb.ResourceRequirements)) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) {
			c.Resources = limits("4", "16Gi", false)
			c.Resources.Limits[gpu] = "1"
			t.NodeSelector = &runpb.NodeSelector{Accelerator: "nvidia-l4"}
			f(t, c.Resources)
		}}
	}
	const least = "template.containers.resources.limits." + gpu
	return []Rejection{
		with("two GPUs", at+".resources.limits."+gpu, func(_ tmpl, r *runpb.ResourceRequirements) { r.Limits[gpu] = "2" }),
		with("GPU of no kind", "template.node_selector.accelerator", func(t tmpl, _ *runpb.ResourceRequirements) { t.NodeSelector = nil }),
		with("accelerator without a GPU", "template.node_selector.accelerator", func(_ tmpl, r *runpb.ResourceRequirements) { delete(r.Limits, gpu) }),
		with("GPU with little memory", least, func(_ tmpl, r *runpb.ResourceRequirements) { r.Limits["memory"] = "8Gi" }),
		with("GPU with little CPU", least, func(_ tmpl, r *runpb.ResourceRequirements) { r.Limits["cpu"] = "2" }),
		with("GPU with CPU during requests only", "template.containers.resources.cpu_idle", func(_ tmpl, r *runpb.ResourceRequirements) { r.CpuIdle = true }),
		with("GPU on gen1", "template.execution_environment", func(t tmpl, _ *runpb.ResourceRequirements) { t.ExecutionEnvironment = gen1 }),
	}
}

func tcp(port int32) *runpb.Probe {
	return &runpb.Probe{ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}}}
}

func probes() []Rejection {
	startup := func(name, field string, f func(*runpb.Probe)) Rejection {
		return Rejection{Name: name, Field: "service." + at + ".startup_probe" + field, Edit: onContainer(func(c box) {
			c.StartupProbe = tcp(0)
			f(c.StartupProbe)
		})}
	}
	all := []Rejection{
		startup("startup delay over 240 s", ".initial_delay_seconds", func(p *runpb.Probe) { p.InitialDelaySeconds = 241 }),
		startup("startup period over 240 s", ".period_seconds", func(p *runpb.Probe) { p.PeriodSeconds, p.FailureThreshold = 241, 1 }),
		startup("startup timeout over its period", ".timeout_seconds", func(p *runpb.Probe) { p.TimeoutSeconds = 11 }),
		startup("negative threshold", ".failure_threshold", func(p *runpb.Probe) { p.FailureThreshold = -1 }),
		startup("startup probe of nothing", "", func(p *runpb.Probe) { p.ProbeType = nil }),
		startup("probe of port 65536", ".tcp_socket.port", func(p *runpb.Probe) { p.GetTcpSocket().Port = 65536 }),
		{Name: "liveness period over an hour", Field: "service." + at + ".liveness_probe.period_seconds", Edit: onContainer(func(c box) {
			c.LivenessProbe = &runpb.Probe{PeriodSeconds: 3601, ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{}}}
		})},
		{Name: "liveness probe over TCP", Field: at + ".liveness_probe.tcp_socket", Edit: onContainer(func(c box) { c.LivenessProbe = tcp(8080) })},
	}
	long := startup("startup of 241 s in all", "", func(p *runpb.Probe) { p.PeriodSeconds, p.FailureThreshold = 1, 241 })
	long.Field = at + ".startup_probe.failure_threshold"
	return append(all, long)
}
