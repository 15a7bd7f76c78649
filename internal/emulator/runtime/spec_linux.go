package runtime

import (
	"cmp"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultPath is what Docker and containerd give a container that has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// volumeMode is the mode of a memory volume's root directory: the containers that share it may run as different users,
// and each keeps its own files.
const volumeMode = "1777"

// A bundle is what the OCI configuration of a container is made from.
type bundle struct {
	container Container
	user      identity
	root      string // directory with the root file system
	netns     string // path of the network namespace
	hostname  string
	etc       map[string]string // file in the container -> file on this machine
	volumes   map[string]string // shared tmpfs -> where it is mounted on this machine
	cgroup    string            // path of the control group
	cgroups   cgroups
}

// spec is the container's config.json (github.com/opencontainers/runtime-spec/config.md).
func (b *bundle) spec() *specs.Spec {
	s := &specs.Spec{
		Version:  "1.0.2", // what the oldest runtime that is in use, Debian 12's runc 1.1, knows
		Hostname: b.hostname,
		Root:     &specs.Root{Path: b.root, Readonly: b.container.ReadOnly},
		Process: &specs.Process{
			Args:         b.container.Args,
			Env:          b.env(),
			Cwd:          orDefault(b.container.Dir, "/"),
			User:         specs.User{UID: b.user.uid, GID: b.user.gid, AdditionalGids: b.user.groups},
			Capabilities: b.capabilities(),
			// setuid programs do not work on Cloud Run, either.
			NoNewPrivileges: true,
		},
		Mounts: append(b.systemMounts(), b.mounts()...),
		Linux: &specs.Linux{
			CgroupsPath:   b.cgroup,
			Namespaces:    b.namespaces(),
			Resources:     b.resources(),
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: readonlyPaths(),
		},
	}
	return s
}

// env adds what a process cannot do without: PATH, in which the runtime looks for argv[0], and HOME.
func (b *bundle) env() []string {
	env := slices.Clone(b.container.Env)
	for _, e := range [][2]string{{"PATH", defaultPath}, {"HOME", b.user.home}} {
		set := func(entry string) bool { return strings.HasPrefix(entry, e[0]+"=") }
		if !slices.ContainsFunc(env, set) {
			env = append(env, e[0]+"="+e[1])
		}
	}
	return env
}

// capabilities are Docker's default set. Users other than root have them in the bounding set only. Without control
// groups nothing keeps a container from using the device nodes that it makes, this machine's disks among them: then
// it cannot make any.
func (b *bundle) capabilities() *specs.LinuxCapabilities {
	set := []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
	if b.cgroups.memory == "" {
		set = slices.DeleteFunc(set, func(name string) bool { return name == "CAP_MKNOD" })
	}
	if b.user.uid != 0 {
		return &specs.LinuxCapabilities{Bounding: set}
	}
	return &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
}

func (b *bundle) namespaces() []specs.LinuxNamespace {
	n := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace},
		{Type: specs.MountNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.NetworkNamespace, Path: b.netns},
	}
	if b.cgroups.memory != "" {
		n = append(n, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return n
}

// systemMounts are the file systems that every Linux program expects.
func (b *bundle) systemMounts() []specs.Mount {
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
	if b.cgroups.memory != "" {
		m = append(m, specs.Mount{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
		})
	}
	for _, file := range slices.Sorted(maps.Keys(b.etc)) {
		m = append(m, specs.Mount{Destination: file, Type: "bind", Source: b.etc[file], Options: []string{"bind", "rw"}})
	}
	return m
}

// mounts are the container's own, those with short paths first so that one can be inside another.
func (b *bundle) mounts() []specs.Mount {
	wanted := slices.Clone(b.container.Mounts)
	depth := func(m Mount) int { return strings.Count(path.Clean(m.Destination), "/") }
	slices.SortStableFunc(wanted, func(x, y Mount) int { return cmp.Compare(depth(x), depth(y)) })
	mounts := make([]specs.Mount, 0, len(wanted))
	for _, w := range wanted {
		mounts = append(mounts, b.mount(w))
	}
	return mounts
}

func (b *bundle) mount(w Mount) specs.Mount {
	m := specs.Mount{Destination: path.Clean(w.Destination)}
	switch {
	case w.Kind == Tmpfs && w.Shared == "":
		m.Type, m.Source, m.Options = "tmpfs", "tmpfs", []string{"nosuid", "nodev", "mode=" + volumeMode}
		if w.Size > 0 {
			m.Options = append(m.Options, "size="+strconv.FormatInt(w.Size, 10))
		}
	case w.Kind == Tmpfs:
		m.Type, m.Source, m.Options = "bind", filepath.Join(b.volumes[w.Shared], w.SubPath), []string{"bind", "nosuid", "nodev"}
	default:
		m.Type, m.Source, m.Options = "bind", w.Source, []string{"rbind", "nosuid", "nodev"}
	}
	if w.ReadOnly {
		m.Options = append(m.Options, "ro")
	}
	return m
}

// resources are the limits, and the rule that no device may be used but those that the
// runtime makes itself.
func (b *bundle) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	if b.cgroups.memory == "" {
		return r
	}
	if limit := b.container.Memory; limit > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &limit}
		if b.cgroups.swap {
			r.Memory.Swap = &limit // memory and swap together: no swap
		}
	}
	if b.container.CPU > 0 {
		period, quota := uint64(cpuPeriod), cpuQuota(b.container.CPU)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return r
}

// maskedPaths and readonlyPaths are what Docker hides of /proc and /sys.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/scsi", "/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
