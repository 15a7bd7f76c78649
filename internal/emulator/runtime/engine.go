package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// ownerLabel is on all that the emulator makes in an engine. Its value names the process
// that made it, as HOST/PID.
const ownerLabel = "dev.cloudssh.emulator"

// engine runs containers with the engine API of Docker or Podman.
type engine struct {
	client *client.Client
	id     string // in the names of what this runtime makes
	arch   string // of the engine, in Go's terms
	podman bool   // not Docker
	local  bool   // the engine's processes can be processes of this machine
	logger *slog.Logger
	images *engineImages

	mu        sync.Mutex
	closed    bool
	sandboxes map[string]*engineSandbox
}

// newEngine takes DOCKER_HOST, else the first engine that answers where engines listen by default.
func newEngine(ctx context.Context, o Options) (Runtime, error) {
	var errs []error
	for _, host := range engineHosts() {
		e, err := dialEngine(ctx, host, o.Logger)
		if err == nil {
			return e, nil
		}
		errs = append(errs, err)
	}
	reason := "no Docker or Podman socket here, and DOCKER_HOST is not set"
	if len(errs) > 0 {
		reason = errors.Join(errs...).Error()
	}
	hints := []string{"export DOCKER_HOST=unix:///run/user/$(id -u)/podman/podman.sock", "https://docs.docker.com/engine/install/"}
	if runtime.GOOS == "linux" {
		hints = []string{"sudo apt-get install podman && sudo systemctl start podman.socket", "export DOCKER_HOST=unix:///run/podman/podman.sock"}
	}
	return nil, &UnavailableError{Kind: Docker, Reason: reason, Try: hints}
}

// engineHosts are the addresses to try.
func engineHosts() []string {
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		return []string{host}
	}
	if runtime.GOOS == "windows" {
		return []string{client.DefaultDockerHost}
	}
	var hosts []string
	home, _ := os.UserHomeDir()
	for _, socket := range []string{
		"/var/run/docker.sock",
		filepath.Join(home, ".docker/run/docker.sock"),
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman/podman.sock"),
		"/run/podman/podman.sock",
	} {
		if !filepath.IsAbs(socket) {
			continue // HOME or XDG_RUNTIME_DIR is not set: what is in the working directory is no engine of ours
		}
		if info, err := os.Stat(socket); err == nil && info.Mode()&fs.ModeSocket != 0 {
			hosts = append(hosts, "unix://"+socket)
		}
	}
	return hosts
}

// engineAnswer is how long an engine may take to answer at first: systemd may be about to start it.
const engineAnswer = 30 * time.Second

func dialEngine(ctx context.Context, host string, logger *slog.Logger) (*engine, error) {
	c, err := client.NewClientWithOpts(
		client.WithTLSClientConfigFromEnv(), client.WithHost(host), client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("engine at %s: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, engineAnswer)
	defer cancel()
	version, err := c.ServerVersion(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("engine at %s: %w", host, err), c.Close())
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	e := &engine{
		client: c, id: hex.EncodeToString(id), arch: version.Arch, logger: logger,
		podman:    slices.ContainsFunc(version.Components, isPodman),
		local:     strings.HasPrefix(host, "unix://"),
		sandboxes: map[string]*engineSandbox{},
	}
	e.images = &engineImages{client: c}
	return e, nil
}

func isPodman(c types.ComponentVersion) bool { return strings.Contains(c.Name, "Podman") }

func (e *engine) Name() string { return Docker }

func (e *engine) Sandbox(ctx context.Context, spec SandboxSpec) (Sandbox, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	s := &engineSandbox{
		engine: e, id: spec.ID, hosts: maps.Clone(spec.Hosts), hostname: orDefault(spec.Hostname, "localhost"),
		running: map[string]*engineProcess{}, volumes: map[string]bool{},
	}
	if err := e.reserve(s); err != nil {
		return nil, fmt.Errorf("making sandbox %s: %w", spec.ID, err)
	}
	err := s.open(ctx)
	s.starts.Done()
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineCleanup)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("making sandbox %s: %w", spec.ID, err), s.Close(cleanup))
	}
	return s, nil
}

func (e *engine) reserve(s *engineSandbox) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return ErrClosed
	case e.sandboxes[s.id] != nil:
		return fs.ErrExist
	}
	s.starts.Add(1) // for open
	e.sandboxes[s.id] = s
	return nil
}

func (e *engine) forget(s *engineSandbox) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sandboxes[s.id] == s {
		delete(e.sandboxes, s.id)
	}
}

func (e *engine) Close() error {
	e.mu.Lock()
	e.closed = true
	open := slices.Collect(maps.Values(e.sandboxes))
	e.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.Close(context.Background()))
	}
	return errors.Join(append(errs, e.client.Close())...)
}

func (e *engine) labels() map[string]string { return map[string]string{ownerLabel: ownerName()} }

// ownerName identifies this process.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}

// ownerDead tells whether a label names a process of this machine that is gone. A process ID
// that was given to another process keeps things; nothing of a live emulator is ever removed.
func ownerDead(label string) bool {
	host, pid, _ := strings.Cut(label, "/")
	if mine, _, _ := strings.Cut(ownerName(), "/"); host != mine {
		return false
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	p, err := os.FindProcess(n)
	if err != nil {
		return true // Windows
	}
	defer func() { _ = p.Release() }()
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// Reap removes containers and volumes of dead emulators. Images stay, as do pulled ones.
func (e *engine) Reap(ctx context.Context) error {
	ours := filters.NewArgs(filters.Arg("label", ownerLabel))
	containers, err := e.client.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	// Those that joined a sandbox's network go before the one that holds it.
	slices.SortFunc(containers, func(a, b container.Summary) int { return int(b.Created - a.Created) })
	var errs []error
	for _, c := range containers {
		if ownerDead(c.Labels[ownerLabel]) {
			errs = append(errs, e.removeContainer(ctx, c.ID))
		}
	}
	volumes, err := e.client.VolumeList(ctx, volume.ListOptions{Filters: ours})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("listing volumes: %w", err))...)
	}
	for _, v := range volumes.Volumes {
		if ownerDead(v.Labels[ownerLabel]) {
			errs = append(errs, e.removeVolume(ctx, v.Name))
		}
	}
	return errors.Join(append(errs, reapHosts())...)
}

func reapHosts() error {
	files, err := filepath.Glob(filepath.Join(os.TempDir(), hostsPrefix+"*"))
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(ownerName(), "/")
	var errs []error
	for _, f := range files {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), hostsPrefix), "-")
		if ownerDead(host + "/" + pid) {
			errs = append(errs, removeHostsFile(f))
		}
	}
	return errors.Join(errs...)
}

// removeHostsFile leaves another user's file, in the directory that all may write to, to that user.
func removeHostsFile(name string) error {
	err := os.Remove(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

func (e *engine) removeContainer(ctx context.Context, id string) error {
	err := e.client.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("removing container %s: %w", id, err)
	}
	return nil
}

func (e *engine) removeVolume(ctx context.Context, name string) error {
	if err := e.client.VolumeRemove(ctx, name, true); err != nil && !isNotFound(err) {
		return fmt.Errorf("removing volume %s: %w", name, err)
	}
	return nil
}

// isNotFound tells whether the engine does not know what it was asked for.
func isNotFound(err error) bool {
	return client.IsErrNotFound(err) //nolint:staticcheck // what replaces it is in a module that we do not depend on
}
