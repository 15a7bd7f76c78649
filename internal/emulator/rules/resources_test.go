package rules

import (
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	gen1 = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
	gen2 = runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
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

func TestResources(t *testing.T) {
	with := func(r *runpb.ResourceRequirements) edit {
		return onContainer(func(c *runpb.Container) { c.Resources = r })
	}
	tuned := func(r *runpb.ResourceRequirements, f func(t *runpb.RevisionTemplate)) edit {
		return func(_ *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container) { c.Resources = r; f(t) }
	}
	const (
		cpu      = "template.containers[0].resources.limits.cpu"
		memory   = "template.containers[0].resources.limits.memory"
		totalCPU = "template.containers.resources.limits.cpu"
		totalMem = "template.containers.resources.limits.memory"
	)
	check(t, []ruleTest{
		{"cpu 0.08", with(limits("0.08", "", true)), "", ""},
		{"cpu 80m", with(limits("80m", "", true)), "", ""},
		{"cpu 0.07", with(limits("0.07", "", true)), cpu, "0.08"},
		{"cpu 0.333", with(limits("0.333", "", true)), "", ""},
		{"cpu 1.5", with(limits("1.5", "", true)), cpu, "1, 2, 4, 6"},
		{"cpu 3", with(limits("3", "", true)), cpu, "1, 2, 4, 6"},
		{"cpu 6", with(limits("6", "8Gi", true)), "", ""},
		{"cpu 16", with(limits("16", "16Gi", true)), cpu, "1, 2, 4, 6"},
		{"cpu word", with(limits("one", "", true)), cpu, "Invalid value specified for cpu."},
		{"cpu negative", with(limits("-1", "", true)), cpu, "Invalid value specified for cpu."},
		{"memory word", with(limits("", "much", true)), memory, "Invalid value specified for memory."},
		{"memory bytes", with(limits("", "536870912", true)), "", ""},
		{"memory decimal", with(limits("", "1.5Gi", true)), "", ""},
		{"memory least", with(limits("", "128Mi", true)), "", ""},
		{"memory below", with(limits("", "127Mi", true)), memory, "For 1.0 CPU, memory must be between 128Mi and 4Gi inclusive."},
		{"1 cpu most", with(limits("1", "4Gi", true)), "", ""},
		{"1 cpu over", with(limits("1", "5Gi", true)), memory, "For 1.0 CPU"},
		{"half cpu most", with(limits("0.5", "1Gi", true)), "", ""},
		{"half cpu over", with(limits("0.5", "1025Mi", true)), memory, "For 0.5 CPU, memory must be between 128Mi and 1Gi inclusive."},
		{"small cpu over", with(limits("0.33", "513Mi", true)), memory, "For 0.33 CPU, memory must be between 128Mi and 512Mi inclusive."},
		{"2 cpu over", with(limits("2", "9Gi", true)), memory, "8Gi"},
		{"4 cpu under", with(limits("4", "1Gi", true)), memory, "For 4.0 CPU, memory must be between 2Gi and 16Gi"},
		{"8 cpu most", with(limits("8", "32Gi", true)), "", ""},
		{"8 cpu over", with(limits("8", "33Gi", true)), memory, "32Gi"},
		{"other limit", with(&runpb.ResourceRequirements{CpuIdle: true, Limits: map[string]string{"ephemeral-storage": "1Gi"}}), "service.template.containers[0].resources.limits", "ephemeral-storage"},
		{"small concurrency 1", tuned(limits("0.5", "", true), func(t *runpb.RevisionTemplate) { t.MaxInstanceRequestConcurrency = 1 }), "", ""},
		{"small concurrency 2", tuned(limits("0.5", "", true), func(t *runpb.RevisionTemplate) { t.MaxInstanceRequestConcurrency = 2 }), totalCPU, "Total cpu < 1 is not supported with concurrency > 1."},
		{"small always", with(limits("0.5", "", false)), totalCPU, "Total cpu < 1 is not supported with cpu always allocated (unthrottled)."},
		{"small gen1", tuned(limits("0.5", "", true), func(t *runpb.RevisionTemplate) { t.ExecutionEnvironment = gen1 }), "", ""},
		{"small gen2", tuned(limits("0.5", "", true), func(t *runpb.RevisionTemplate) { t.ExecutionEnvironment = gen2 }), totalCPU, "Total cpu < 1 is not supported with gen2"},
		{"always 512Mi", with(limits("1", "512Mi", false)), "", ""},
		{"always 256Mi", with(limits("1", "256Mi", false)), totalMem, "Total memory < 512 Mi is not supported with cpu always allocated (unthrottled)."},
		{"gen2 256Mi", tuned(limits("1", "256Mi", true), func(t *runpb.RevisionTemplate) { t.ExecutionEnvironment = gen2 }), totalMem, "Total memory < 512 Mi is not supported with gen2 execution environment."},
		{"gen1 256Mi", tuned(limits("1", "256Mi", true), func(t *runpb.RevisionTemplate) { t.ExecutionEnvironment = gen1 }), "", ""},
		{"halves make a whole", withSidecar(func(app, side *runpb.Container) {
			app.Resources, side.Resources = limits("0.5", "256Mi", false), limits("0.5", "256Mi", false)
		}), "", ""},
	})
}

func TestGPU(t *testing.T) {
	gpu := func(f func(t *runpb.RevisionTemplate, r *runpb.ResourceRequirements)) edit {
		return func(_ *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container) {
			c.Resources = limits("4", "16Gi", false)
			c.Resources.Limits[gpuLimit] = "1"
			t.NodeSelector = &runpb.NodeSelector{Accelerator: "nvidia-l4"}
			f(t, c.Resources)
		}
	}
	check(t, []ruleTest{
		{"l4", gpu(func(*runpb.RevisionTemplate, *runpb.ResourceRequirements) {}), "", ""},
		{"two", gpu(func(_ *runpb.RevisionTemplate, r *runpb.ResourceRequirements) { r.Limits[gpuLimit] = "2" }), "template.containers[0].resources.limits.nvidia.com/gpu", "only supported value is 1"},
		{"no accelerator", gpu(func(t *runpb.RevisionTemplate, _ *runpb.ResourceRequirements) { t.NodeSelector = nil }), "template.node_selector.accelerator", "needs an accelerator"},
		{"no limit", gpu(func(_ *runpb.RevisionTemplate, r *runpb.ResourceRequirements) { delete(r.Limits, gpuLimit) }), "template.node_selector.accelerator", "limit"},
		{"small", gpu(func(_ *runpb.RevisionTemplate, r *runpb.ResourceRequirements) { r.Limits["memory"] = "8Gi" }), "template.containers.resources.limits.nvidia.com/gpu", "16Gi"},
		{"idle", gpu(func(_ *runpb.RevisionTemplate, r *runpb.ResourceRequirements) { r.CpuIdle = true }), "template.containers.resources.cpu_idle", "always allocated"},
		{"gen1", gpu(func(t *runpb.RevisionTemplate, _ *runpb.ResourceRequirements) { t.ExecutionEnvironment = gen1 }), "template.execution_environment", "gen1"},
	})
}

func TestQuantities(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "1k": 1000, "1Ki": 1024, "512Mi": 512 << 20, "1.5Gi": 3 << 29, "0.5G": 5e8, "2Ti": 2 << 40, "1P": 1e15,
		"": -1, "Mi": -1, "1mi": -1, "-1Mi": -1, "1 Mi": -1, "1e3": -1, "9999999999999Pi": -1, "1.Mi": -1,
	} {
		got, ok := parseQuantity(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("parseQuantity(%q) = %d, want %d", s, got, want)
		}
	}
	for s, want := range map[string]int64{
		"1": 1000, "0.5": 500, "250m": 250, "1000m": 1000, "0.333": 333, "2.0": 2000,
		"": -1, "m": -1, "1Gi": -1, "0.0001": -1, "+1": -1, "1e3": -1, "99999999999999999999": -1,
	} {
		got, ok := parseCPU(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("parseCPU(%q) = %d, want %d", s, got, want)
		}
	}
}

func FuzzQuantities(f *testing.F) {
	for _, s := range []string{"512Mi", "1.5Gi", "0.5", "80m", "1e9", "9999999P"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseQuantity(s); ok && n < 0 {
			t.Errorf("parseQuantity(%q) = %d", s, n)
		}
		if n, ok := parseCPU(s); ok && n < 0 {
			t.Errorf("parseCPU(%q) = %d", s, n)
		}
	})
}
