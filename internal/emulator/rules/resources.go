package rules

import (
	"cmp"
	"maps"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	defaultCPU    = "1000m"
	defaultMemory = "512Mi"
	gpuLimit      = "nvidia.com/gpu"

	mebi = 1 << 20
	gibi = 1 << 30

	minCPU    = 80   // thousandths
	gpuCPU    = 4000 // thousandths, the least beside a GPU
	gpuMemory = 16 * gibi
	// minWarmMemory is the least total when CPU is always allocated, and on gen2.
	minWarmMemory = 512 * mebi
)

// memoryRange is how much memory a CPU allows, in bytes.
type memoryRange struct {
	low, high         int64
	lowText, highText string
}

// memoryFor is the range for a CPU, in thousandths
// (https://docs.cloud.google.com/run/docs/configuring/services/memory-limits).
func memoryFor(cpu int64) memoryRange {
	switch {
	case cpu < 500:
		return memoryRange{128 * mebi, 512 * mebi, "128Mi", "512Mi"}
	case cpu < 1000:
		return memoryRange{128 * mebi, 1 * gibi, "128Mi", "1Gi"}
	case cpu < 2000:
		return memoryRange{128 * mebi, 4 * gibi, "128Mi", "4Gi"}
	case cpu < 4000:
		return memoryRange{128 * mebi, 8 * gibi, "128Mi", "8Gi"}
	case cpu < 6000:
		return memoryRange{2 * gibi, 16 * gibi, "2Gi", "16Gi"}
	case cpu < 8000:
		return memoryRange{4 * gibi, 24 * gibi, "4Gi", "24Gi"}
	default:
		return memoryRange{4 * gibi, 32 * gibi, "4Gi", "32Gi"}
	}
}

// demand is what one container asks for.
type demand struct {
	cpu    int64 // thousandths
	memory int64 // bytes
	gpu    bool
	idle   bool // CPU only while a request is served
	ok     bool // the limits could be read and are within bounds
}

// resources checks each container's limits, then what they amount to.
func (c *checker) resources(t *runpb.RevisionTemplate) {
	total := demand{idle: true, ok: true}
	for i, k := range t.GetContainers() {
		d := c.limits(index("template.containers", i)+".resources.limits", k.GetResources())
		total.cpu += d.cpu
		total.memory += d.memory
		total.gpu = total.gpu || d.gpu
		total.idle = total.idle && d.idle
		total.ok = total.ok && d.ok
	}
	if total.ok {
		c.totals(t, total)
	}
	c.accelerator(t, total)
}

func (c *checker) limits(at string, r *runpb.ResourceRequirements) demand {
	d := demand{idle: r == nil || r.GetCpuIdle(), ok: true}
	limits := r.GetLimits()
	for _, key := range slices.Sorted(maps.Keys(limits)) {
		if key != "cpu" && key != "memory" && key != gpuLimit {
			c.malformed(at, "'%s' is not supported; only cpu, memory and %s are.", key, gpuLimit)
		}
	}
	if n := limits[gpuLimit]; n != "" {
		d.gpu = true
		if n != "1" {
			c.refused(at+"."+gpuLimit, "Invalid value specified for %s. The only supported value is 1.", gpuLimit)
		}
	}
	var right bool
	if d.cpu, right = parseCPU(cmp.Or(limits["cpu"], defaultCPU)); !right || !supportedCPU(d.cpu, d.gpu) {
		c.refused(at+".cpu", "Invalid value specified for cpu. It must be from 0.08 to 1 in steps of 0.001, or one of 1, 2, 4, 6 and 8.")
		d.ok = false
	}
	if d.memory, right = parseQuantity(cmp.Or(limits["memory"], defaultMemory)); !right {
		c.refused(at+".memory", "Invalid value specified for memory. It must be a quantity such as 512Mi or 2Gi.")
		d.ok = false
	}
	if d.ok {
		d.ok = c.memoryForCPU(at+".memory", d)
	}
	return d
}

// supportedCPU leaves the upper bound to the machine when there is a GPU: its
// sizes differ by accelerator.
func supportedCPU(thousandths int64, gpu bool) bool {
	if gpu {
		return thousandths > 0 && thousandths%1000 == 0
	}
	if thousandths < 1000 {
		return thousandths >= minCPU
	}
	switch thousandths {
	case 1000, 2000, 4000, 6000, 8000:
		return true
	}
	return false
}

func (c *checker) memoryForCPU(at string, d demand) bool {
	if d.gpu {
		return true
	}
	row := memoryFor(d.cpu)
	if d.memory >= row.low && d.memory <= row.high {
		return true
	}
	c.refused(at, "Invalid value specified for container memory. For %s CPU, memory must be between %s and %s inclusive.",
		showCPU(d.cpu), row.lowText, row.highText)
	return false
}

// totals checks what depends on all containers together. The field has no index
// then, as on the platform.
func (c *checker) totals(t *runpb.RevisionTemplate, total demand) {
	const at = "template.containers.resources.limits"
	gen2 := t.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	if total.cpu < 1000 {
		const cpu = "Invalid value specified for cpu. Total cpu < 1 is not supported with "
		if t.GetMaxInstanceRequestConcurrency() > 1 {
			c.refused(at+".cpu", cpu+"concurrency > 1.")
		}
		if !total.idle {
			c.refused(at+".cpu", cpu+"cpu always allocated (unthrottled).")
		}
		if gen2 {
			c.refused(at+".cpu", cpu+"gen2 execution environment.")
		}
	}
	if total.memory < minWarmMemory {
		const memory = "Invalid value specified for memory. Total memory < 512 Mi is not supported with "
		switch {
		case gen2 && !total.idle:
			c.refused(at+".memory", memory+"gen2 execution environment with cpu always allocated (unthrottled).")
		case gen2:
			c.refused(at+".memory", memory+"gen2 execution environment.")
		case !total.idle:
			c.refused(at+".memory", memory+"cpu always allocated (unthrottled).")
		}
	}
}

// accelerator checks that a GPU is asked for in both places, and what it needs.
func (c *checker) accelerator(t *runpb.RevisionTemplate, total demand) {
	const at = "template.node_selector.accelerator"
	kind := t.GetNodeSelector().GetAccelerator()
	switch {
	case !total.gpu && kind != "":
		c.refused(at, "An accelerator needs a %s limit on a container.", gpuLimit)
	case total.gpu && kind == "":
		c.refused(at, "A %s limit needs an accelerator.", gpuLimit)
	}
	if !total.gpu || !total.ok {
		return
	}
	if total.cpu < gpuCPU || total.memory < gpuMemory {
		c.refused("template.containers.resources.limits."+gpuLimit, "A GPU needs at least 4 CPU and 16Gi of memory.")
	}
	if total.idle {
		c.refused("template.containers.resources.cpu_idle", "A GPU needs cpu always allocated (unthrottled).")
	}
	c.gen2("template.execution_environment", "GPUs", t.GetExecutionEnvironment())
}

// showCPU writes thousandths as the platform's messages do: 1.0, 0.5, 0.333.
func showCPU(thousandths int64) string {
	s := strconv.FormatFloat(float64(thousandths)/1000, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

var (
	cpuSyntax      = regexp.MustCompile(`^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$`)
	quantitySyntax = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kMGTP]|[KMGTP]i)?$`)
)

// parseCPU reads 1, 0.5 or 500m into thousandths.
func parseCPU(s string) (int64, bool) {
	if !cpuSyntax.MatchString(s) || len(s) > 16 {
		return 0, false
	}
	if m, thousandths := strings.CutSuffix(s, "m"); thousandths {
		n, err := strconv.ParseInt(m, 10, 64)
		return n, err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	return int64(math.Round(f * 1000)), err == nil && f < 1e6
}

// parseQuantity reads a Kubernetes quantity of bytes such as 512Mi, 0.5Gi or 1G.
// A fraction of a byte is dropped.
func parseQuantity(s string) (int64, bool) {
	parts := quantitySyntax.FindStringSubmatch(s)
	if parts == nil || len(s) > 32 {
		return 0, false
	}
	n, ok := new(big.Rat).SetString(parts[1])
	if !ok {
		return 0, false
	}
	n.Mul(n, new(big.Rat).SetInt64(unit(parts[2])))
	whole := new(big.Int).Quo(n.Num(), n.Denom())
	return whole.Int64(), whole.IsInt64()
}

func unit(suffix string) int64 {
	base := int64(1000)
	if strings.HasSuffix(suffix, "i") {
		base = 1024
	}
	n := int64(1)
	if suffix != "" {
		for range strings.IndexByte("KMGTP", strings.ToUpper(suffix)[0]) + 1 {
			n *= base
		}
	}
	return n
}
