package cloudrun

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"cloud.google.com/go/run/apiv2/runpb"
)

// disk is the ephemeral disk, which the API lists after MEMORY and this version of the library does not name.
const disk = runpb.EmptyDirVolumeSource_MEMORY + 1

// demand is what containers ask for.
type demand struct {
	cpu, memory int64 // thousandths, bytes
	gpu, warm   bool  // warm: the CPU is not throttled
	unclear     bool  // a limit could not be read
}

func (r *refusals) resources(t *runpb.RevisionTemplate) {
	var sum demand
	for i, c := range t.GetContainers() {
		one := r.limits(fmt.Sprintf("template.containers[%d].resources.limits", i), c.GetResources())
		sum.cpu, sum.memory = sum.cpu+one.cpu, sum.memory+one.memory
		sum.gpu, sum.warm, sum.unclear = sum.gpu || one.gpu, sum.warm || one.warm, sum.unclear || one.unclear
	}
	r.accelerator(t, sum)
	if sum.unclear {
		return
	}
	const at = "template.containers.resources.limits"
	gen2 := t.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	r.when(sum.cpu < leastCPU && (gen2 || sum.warm || t.GetMaxInstanceRequestConcurrency() > 1), at+".cpu",
		"gen2, CPU without interruption and several requests at a time need at least 1 CPU in all, not %s", cpus(sum.cpu))
	r.when(sum.memory < leastMemory && (gen2 || sum.warm), at+".memory",
		"gen2 and CPU without interruption need at least 512Mi in all, not %s", quantity(sum.memory))
}

// limits checks those of a container.
func (r *refusals) limits(at string, res *runpb.ResourceRequirements) demand {
	limits := res.GetLimits()
	for _, k := range slices.Sorted(maps.Keys(limits)) {
		r.when(!slices.Contains([]string{"cpu", "memory", gpuLimit}, k), at, "%s is not cpu, memory or %s", k, gpuLimit)
	}
	cpu, cpuOK := strictCPU(cmp.Or(limits["cpu"], "1"))
	memory, memoryOK := strictBytes(cmp.Or(limits["memory"], "512Mi"))
	gpu := limits[gpuLimit]
	r.when(gpu != "" && gpu != "1", at+"."+gpuLimit, "%s are not possible, 1 is", gpu)
	// beside a GPU sizes differ by accelerator
	badCPU := !cpuOK || gpu == "" && !possibleCPU(cpu)
	r.when(badCPU, at+".cpu", "%q is not %s", limits["cpu"], cpuChoices)
	r.when(!memoryOK, at+".memory", "%q is not a size such as 512Mi", limits["memory"])
	d := demand{cpu: cpu, memory: memory, gpu: gpu != "", warm: res != nil && !res.GetCpuIdle(), unclear: badCPU || !memoryOK}
	if least, most := memoryFor(cpu); gpu == "" && !d.unclear && (memory < least || memory > most) {
		r.add(at+".memory", "with %s CPU it is from %s to %s, not %s", cpus(cpu), quantity(least), quantity(most), quantity(memory))
		d.unclear = true
	}
	return d
}

func (r *refusals) accelerator(t *runpb.RevisionTemplate, sum demand) {
	kind := t.GetNodeSelector().GetAccelerator()
	r.when(sum.gpu != (kind != ""), "template.node_selector.accelerator", "it and the limit %s go together", gpuLimit)
	if !sum.gpu || sum.unclear {
		return
	}
	const at = "template.containers.resources."
	r.when(sum.cpu < gpuCPU || sum.memory < gpuMemory, at+"limits."+gpuLimit, "a GPU needs at least 4 CPU and 16Gi")
	r.when(!sum.warm, at+"cpu_idle", "a GPU needs CPU without interruption")
	r.when(t.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1, "template.execution_environment", "a GPU needs gen2")
}
