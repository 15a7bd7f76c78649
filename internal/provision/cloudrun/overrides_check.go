package cloudrun

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	gibi = int64(1) << 30
	mebi = int64(1) << 20
	// leastCPU and leastMemory are what all containers of a twin must have together, since its CPU is not throttled and it
	// takes more than one request at a time.
	leastCPU    = 1000 // thousandths
	leastMemory = 512 * mebi
	gpuCPU      = 4000 // thousandths
	gpuMemory   = 16 * gibi
)

// memoryFor is how much memory goes with a CPU, in bytes
// (https://docs.cloud.google.com/run/docs/configuring/services/memory-limits).
func memoryFor(cpu int64) (least, most int64) {
	switch {
	case cpu < 500:
		return 128 * mebi, 512 * mebi
	case cpu < 1000:
		return 128 * mebi, gibi
	case cpu < 2000:
		return 128 * mebi, 4 * gibi
	case cpu < 4000:
		return 128 * mebi, 8 * gibi
	case cpu < 6000:
		return 2 * gibi, 16 * gibi
	case cpu < 8000:
		return 4 * gibi, 24 * gibi
	}
	return 4 * gibi, 32 * gibi
}

const cpuChoices = "from 0.08 to 1 in steps of 0.001, or 1, 2, 4, 6 or 8"

func possibleCPU(thousandths int64) bool {
	if thousandths < 1000 {
		return thousandths >= 80
	}
	return slices.Contains([]int64{1000, 2000, 4000, 6000, 8000}, thousandths)
}

// validateResources checks the limits asked for, each and together.
func validateResources(o provision.Overrides) error {
	const limits = "template.containers.resources.limits"
	var all []error
	cpu, cpuOK := strictCPU(o.CPU)
	if o.CPU != "" && (!cpuOK || !possibleCPU(cpu)) {
		all = append(all, fieldError(limits+".cpu", "--cpu", "%q is not %s", o.CPU, cpuChoices))
		cpuOK = false
	}
	memory, memoryOK := strictBytes(o.Memory)
	if o.Memory != "" && (!memoryOK || memory < 128*mebi || memory > 32*gibi) {
		all = append(all, fieldError(limits+".memory", "--memory", "%q is not from 128Mi to 32Gi", o.Memory))
		memoryOK = false
	}
	if cpuOK && memoryOK {
		all = append(all, checkPair(cpu, memory, o))
	}
	return errors.Join(all...)
}

// checkPair: the memory that is possible depends on the CPU. The flag blamed is one that was given.
func checkPair(cpu, memory int64, o provision.Overrides) error {
	least, most := memoryFor(cpu)
	if memory >= least && memory <= most {
		return nil
	}
	const field = "template.containers.resources.limits.memory"
	flag, hint := "--memory", ""
	if o.Memory == "" {
		flag, hint = "--cpu", fmt.Sprintf("; add --memory %s", quantity(max(least, min(memory, most))))
	}
	return fieldError(field, flag, "with %s CPU memory is from %s to %s, not %s%s",
		cpus(cpu), quantity(least), quantity(most), quantity(memory), hint)
}

// check refuses a template that the platform would refuse because of what was asked for or added. What came with the
// service the platform has accepted before.
func (d *deriver) check(t *runpb.RevisionTemplate) error {
	o := d.spec.Overrides
	all := []error{d.checkLimits(t), d.checkEnvironment(t)}
	if o.VPCEgress != "" && t.GetVpcAccess() == nil {
		all = append(all, fieldError("template.vpc_access.egress", "--vpc-egress", "%s has no VPC connector or network", d.source))
	}
	for i, c := range t.GetContainers() {
		if n := len(c.GetEnv()); n > maxEnv {
			all = append(all, provision.Hint(fieldError(fmt.Sprintf("template.containers[%d].env", i), "",
				"%d environment variables are possible, and with the agent's there are %d", maxEnv, n), "--remove-env-vars NAME"))
		}
	}
	if at := slices.Index(d.kept, d.entered); d.spec.Inject == provision.InjectSidecar {
		if d.spec.AgentImage == "" {
			all = append(all, fieldError("template.containers.image", "--agent-image", "there is no image to bring the agent"))
		}
		all = append(all, d.checkMounts(fmt.Sprintf("template.containers[%d].volume_mounts", at), t.GetContainers()[at]))
	}
	return errors.Join(all...)
}

// checkMounts: the agent's directory can be mounted once.
func (d *deriver) checkMounts(field string, c *runpb.Container) error {
	n := 0
	for _, m := range c.GetVolumeMounts() {
		if m.GetMountPath() == agentDir() {
			n++
		}
	}
	if n > 1 {
		return provision.Hint(fieldError(field+".mount_path", "", "%s has a volume at %s already", d.source, agentDir()), "--inject layer")
	}
	return nil
}

// checkLimits checks the limits of the container that is entered, if the user touched them, and what all amount to.
func (d *deriver) checkLimits(t *runpb.RevisionTemplate) error {
	o := d.spec.Overrides
	if o.CPU == "" && o.Memory == "" {
		return nil
	}
	const field = "template.containers.resources.limits"
	var cpu, memory int64
	gpu := false
	for i, c := range t.GetContainers() {
		var all provision.Shape
		limits := c.GetResources().GetLimits()
		addLimits(&all, limits)
		oneCPU, oneMemory := int64(math.Round(all.CPU*1000)), int64(all.Memory*float64(gibi))
		cpu, memory, gpu = cpu+oneCPU, memory+oneMemory, gpu || limits[gpuLimit] != ""
		if i == slices.Index(d.kept, d.entered) && limits[gpuLimit] == "" {
			if err := checkPair(oneCPU, oneMemory, o); err != nil {
				return err
			}
		}
	}
	switch {
	case gpu && (cpu < gpuCPU || memory < gpuMemory):
		return fieldError(field+"."+gpuLimit, "--gpu", "a GPU needs at least 4 CPU and 16Gi of memory, not %s and %s", cpus(cpu), quantity(memory))
	case cpu < leastCPU:
		return fieldError(field+".cpu", "--cpu", "a twin needs at least 1 CPU in all, since its CPU is not throttled; with this it has %s", cpus(cpu))
	case memory < leastMemory:
		return fieldError(field+".memory", "--memory", "a twin needs at least 512Mi in all, since its CPU is not throttled; with this it has %s", quantity(memory))
	}
	return nil
}

// checkEnvironment: some things need the second generation.
func (d *deriver) checkEnvironment(t *runpb.RevisionTemplate) error {
	if d.spec.Overrides.ExecutionEnvironment != "gen1" {
		return nil
	}
	var all []error
	for i, v := range t.GetVolumes() {
		kind := ""
		switch {
		case v.GetNfs() != nil:
			kind = "nfs"
		case v.GetGcs() != nil:
			kind = "gcs"
		case v.GetEmptyDir() != nil && v.GetEmptyDir().GetMedium() > runpb.EmptyDirVolumeSource_MEMORY: // on disk
			kind = "empty_dir.medium"
		default:
			continue
		}
		all = append(all, fieldError(fmt.Sprintf("template.volumes[%d].%s", i, kind), "--execution-environment",
			"the volume %s needs gen2", v.GetName()))
	}
	if t.GetNodeSelector().GetAccelerator() != "" {
		all = append(all, fieldError("template.execution_environment", "--execution-environment", "a GPU needs gen2"))
	}
	return errors.Join(all...)
}
