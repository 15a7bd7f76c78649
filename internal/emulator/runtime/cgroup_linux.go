package runtime

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups says where memory is accounted on this machine: in cgroup v2, or in v1's memory hierarchy.
type cgroups struct {
	memory  string // mount point; empty when memory cannot be limited
	cpu     string // mount point; empty when CPU cannot be limited
	unified bool   // version 2
	swap    bool   // swap can be limited, and has to be for a memory limit to mean something
	hybrid  bool   // some controllers are in version 1, some in 2, which crun does not support
}

// findCgroups looks at the mounts of this process. See proc_pid_mountinfo(5).
func findCgroups() cgroups {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}
	}
	var c cgroups
	var v1, v1CPU, v2 string
	for line := range strings.Lines(string(text)) {
		left, right, ok := strings.Cut(line, " - ")
		fields, fs := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(fs) < 3 {
			continue
		}
		switch {
		case fs[0] == "cgroup" && slices.Contains(strings.Split(fs[2], ","), "memory"):
			v1 = fields[4]
		case fs[0] == "cgroup" && slices.Contains(strings.Split(fs[2], ","), "cpu"):
			v1CPU = fields[4]
		case fs[0] == "cgroup2":
			v2 = fields[4]
		}
	}
	switch {
	case v1 != "":
		c = cgroups{memory: v1, cpu: v1CPU, swap: exists(filepath.Join(v1, "memory.memsw.limit_in_bytes"))}
		c.hybrid = v2 != "" && hasControllers(v2)
	case v2 != "" && hasController(v2, "memory"):
		c = cgroups{memory: v2, cpu: v2, unified: true, swap: haveSwap()}
	}
	if c.memory != "" && !writable(c.memory) {
		return cgroups{}
	}
	return c
}

func hasControllers(mount string) bool {
	controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	return err == nil && strings.TrimSpace(string(controllers)) != ""
}

func hasController(mount, name string) bool {
	controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	return err == nil && slices.Contains(strings.Fields(string(controllers)), name)
}

// haveSwap tells whether anything is listed after the heading of /proc/swaps.
func haveSwap() bool {
	swaps, err := os.ReadFile("/proc/swaps")
	return err == nil && strings.Count(string(swaps), "\n") > 1
}

// writable tries to make a control group: in a container they are often read-only.
func writable(mount string) bool {
	probe, err := os.MkdirTemp(mount, "cloudssh-probe-")
	if err != nil {
		return false
	}
	return os.Remove(probe) == nil
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

// cpuQuota is how many microseconds of each period are that many CPUs. 1 ms is the least that the kernel accepts.
func cpuQuota(cpus float64) int64 {
	return max(int64(math.Round(cpus*cpuPeriod)), 1000)
}

// limitCPU changes the quota of a control group. One that is gone is no error. See the kernel's scheduler/sched-bwc.rst and
// admin-guide/cgroup-v2.rst.
func (c cgroups) limitCPU(path string, cpus float64) error {
	if c.cpu == "" {
		return nil
	}
	file := "cpu.cfs_quota_us"
	if c.unified {
		file = "cpu.max" // the quota alone leaves the period as it is
	}
	err := os.WriteFile(filepath.Join(c.cpu, path, file), []byte(strconv.FormatInt(cpuQuota(cpus), 10)), 0o600)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// oomKilled tells whether the kernel killed a process of the control group for its memory
// limit. See the kernel's admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
func (c cgroups) oomKilled(path string) bool {
	if c.memory == "" {
		return false
	}
	file := "memory.oom_control"
	if c.unified {
		file = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(c.memory, path, file))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			count, err := strconv.Atoi(strings.TrimSpace(n))
			return err == nil && count > 0
		}
	}
	return false
}
