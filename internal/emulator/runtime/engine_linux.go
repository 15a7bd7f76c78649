package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
)

// canEnterNetworks tells whether this process may enter namespaces of others.
func canEnterNetworks() bool { return privileged() == nil }

// enterNetwork opens the network namespace of a container's process.
func enterNetwork(pid int, container string) (engineNetwork, error) {
	// The number means another process, or none, if the engine is in a virtual machine. Ours
	// is in a control group with the container's name; its own name is there a bit later.
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	comm, commErr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err := errors.Join(err, commErr); err != nil || !strings.Contains(string(cgroup), container) && string(comm) != "pause\n" {
		return nil, fmt.Errorf("process %d of the engine is not one of this machine; is the engine in a virtual machine?", pid)
	}
	inside, err := openNetNS(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	return &network{inside: inside}, inside.do(setUpLoopback)
}

// ulimits are limits that a root without the capability to raise any can set, as in some virtual
// machines: an engine in its place tries to raise them by default, and fails. Elsewhere the
// engine's defaults stand.
func ulimits(local bool) []*container.Ulimit {
	if !local || os.Geteuid() != 0 || haveCapability(unix.CAP_SYS_RESOURCE) {
		return nil
	}
	limits := []*container.Ulimit{{Name: "nproc", Soft: 4096, Hard: 4096}}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && files.Max < 1<<20 {
		most := int64(files.Max)
		limits = append(limits, &container.Ulimit{Name: "nofile", Soft: most, Hard: most})
	}
	return limits
}
