// Package runtime is where the emulator's containers run. It hides how: one
// interface, [Runtime], over a real OCI runtime (runc, crun or gVisor's runsc),
// over the engine API of Docker or Podman, and over plain Go functions in this
// process for fast tests.
//
// A [Sandbox] is one instance of a revision: a network namespace of its own, shared by the
// instance's containers, as on Cloud Run. There is no bridge and no way out of it. The
// emulator reaches a container by dialling and listening inside of that namespace.
//
// What a sandbox made is gone when it is closed: processes, mounts, control groups,
// namespaces and files. What a killed emulator left is removed by [Runtime.Reap],
// which never touches what belongs to a live one. Unpacked images are kept, so
// that an image is unpacked once.
package runtime

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The kinds of runtime that [Options.Kind] names.
const (
	Auto      = "auto"      // the best that this machine offers
	Runc      = "runc"      // Linux, root
	Crun      = "crun"      // Linux, root
	Runsc     = "runsc"     // Linux, root: gVisor, the sandbox of Cloud Run's first generation
	Docker    = "docker"    // the engine API: Docker or Podman
	InProcess = "inprocess" // Go functions in this process
)

// Kinds are the values of [Options.Kind], in the order in which they are shown to people.
func Kinds() []string { return []string{Auto, Runc, Crun, Runsc, Docker, InProcess} }

// A Runtime makes sandboxes. It is safe for concurrent use.
type Runtime interface {
	// Name is the kind that runs the containers: "runc", "crun", "runsc", "docker" or "inprocess".
	Name() string
	// Sandbox makes an empty sandbox. The context bounds its making only, not its life.
	Sandbox(ctx context.Context, s SandboxSpec) (Sandbox, error)
	// Reap removes what killed emulators left behind, and nothing that belongs to a live one.
	Reap(ctx context.Context) error
	// Close closes the sandboxes that are still open and releases what the runtime itself holds.
	Close() error
}

// A Preparer is a [Runtime] that can make an image ready before a container is started from it.
type Preparer interface {
	// Prepare unpacks an image, so that Start finds it unpacked.
	Prepare(ctx context.Context, image v1.Image) error
}

// A SandboxSpec describes one instance.
type SandboxSpec struct {
	// ID identifies the sandbox among those of its Runtime. It is used in paths
	// and in names of control groups: letters, digits, '-', '_' and '.', at most 64.
	ID string
	// Hosts are additional entries of /etc/hosts: name to address.
	Hosts map[string]string
	// Hostname is what uname reports in the containers; "localhost", as on Cloud Run, if empty.
	Hostname string
}

// A Sandbox is one instance: containers in one network namespace. It is safe for concurrent use.
type Sandbox interface {
	// Start starts a container. It returns when the container's process runs, and an
	// error of type [*StartError] when the image or the container is to blame.
	// The context bounds the start only, not the life of the process.
	Start(ctx context.Context, c Container) (Process, error)
	// Dial connects to a TCP port on the namespace's loopback interface. When nothing
	// listens there the error is ECONNREFUSED.
	Dial(ctx context.Context, port int) (net.Conn, error)
	// Listen listens on a TCP address that the containers reach, such as "169.254.169.254:80".
	// An address that is not a loopback one becomes reachable with it, and does not take
	// its port from the containers.
	Listen(ctx context.Context, address string) (net.Listener, error)
	// Close kills every process of the sandbox with SIGKILL and removes all that it made.
	// It may be called more than once, and again after an error.
	Close(ctx context.Context) error
}

// A Container describes one container of a sandbox.
type Container struct {
	Name  string   // unique in the sandbox among those that run
	Image v1.Image // its root file system and, for names of users, its /etc/passwd and /etc/group
	Args  []string // the whole argv; nothing is taken from the image's configuration
	Env   []string // NAME=value; PATH and HOME are added when missing, nothing else
	Dir   string   // working directory, made if it does not exist; "/" if empty
	User  string   // "name", "uid", "name:group", "uid:gid"; root if empty

	Mounts []Mount
	// ReadOnly makes the root file system read-only, apart from Mounts.
	ReadOnly bool

	CPU    float64 // CPUs; 0 is no limit
	Memory int64   // bytes; 0 is no limit

	// Stdout and Stderr get what the container writes, each from one goroutine, until
	// every process of the container is gone. Nil discards.
	Stdout, Stderr io.Writer
}

// A MountKind says what is mounted.
type MountKind string

// The kinds of mount.
const (
	Tmpfs MountKind = "tmpfs"
	Bind  MountKind = "bind"
)

// A Mount is a file system, directory or file that a container sees.
type Mount struct {
	Destination string    // absolute path in the container
	Kind        MountKind // Tmpfs or Bind
	Source      string    // of a Bind: path on this machine
	Size        int64     // of a Tmpfs: limit in bytes; 0 is the kernel's default
	ReadOnly    bool
	// Shared names a Tmpfs that the containers of a sandbox share: the same name, the
	// same files. Empty is a tmpfs of this container's own.
	Shared string
	// SubPath is the directory of a shared Tmpfs that is mounted, relative and made if it does not exist; empty is all
	// of it.
	SubPath string
}

// A Process is the main process of a container.
type Process interface {
	// Done is closed when the process has ended and all output was delivered.
	Done() <-chan struct{}
	// Exit says how it ended. It is valid after Done was closed.
	Exit() Exit
	// Signal sends a signal; one that has no effect because the process is gone is no error.
	Signal(ctx context.Context, sig syscall.Signal) error
}

// A Throttled process can be given another share of the CPUs while it runs. Not every [Process] is.
type Throttled interface {
	Process
	// LimitCPU sets how many CPUs the container may use from now on. One that has ended is no error.
	LimitCPU(cpus float64) error
}

// An Exit is how a process ended.
type Exit struct {
	Code   int    // exit status; 128+n when a signal ended it
	Signal string // "SIGKILL"; empty when the process exited by itself
	OOM    bool   // the kernel killed it, or one of its children, because of the memory limit
	Err    error  // the end was seen but not understood, or output was lost
}

// Success tells whether the process ended with status 0.
func (e Exit) Success() bool { return e.Code == 0 && e.Signal == "" && e.Err == nil }

func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.OOM:
		return "killed: memory limit exceeded"
	case e.Signal != "":
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Options configure [New].
type Options struct {
	// Kind is one of [Kinds]; empty is Auto.
	Kind string
	// StateDir holds unpacked images, shared by all emulators that use the same
	// directory, and the state of the sandboxes of each. It is made if it does not
	// exist. Required for all kinds but Docker and InProcess.
	StateDir string
	// Logger gets what goes wrong without a caller to tell; nil discards.
	Logger *slog.Logger
	// Programs are what InProcess containers run, by argv[0].
	Programs map[string]Program
}

// New returns the runtime that the options ask for. When there is none the error is an
// [*UnavailableError], whose hints say what to install or do.
func New(ctx context.Context, o Options) (Runtime, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch o.Kind {
	case Auto, "":
		return newAuto(ctx, o)
	case Runc, Crun, Runsc:
		return newOCI(ctx, o)
	case Docker:
		return newEngine(ctx, o)
	case InProcess:
		return newInProcess(o), nil
	}
	return nil, fmt.Errorf("unknown container runtime %q", o.Kind)
}
