package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// cleanupTimeout bounds what is removed after a failure, a cancellation or a death.
const cleanupTimeout = time.Minute

// oci runs containers with an OCI runtime's command, as root.
type oci struct {
	tool     tool
	stateDir string
	state    *ownerState
	images   *imageStore
	cgroups  cgroups
	logger   *slog.Logger

	mu        sync.Mutex
	closed    bool
	sandboxes map[string]*ociSandbox
}

// newAuto takes the first that works: an OCI runtime, which needs root, else an engine.
func newAuto(ctx context.Context, o Options) (Runtime, error) {
	var missing error
	for _, kind := range []string{Runc, Crun, Runsc} {
		o.Kind = kind
		r, err := newOCI(ctx, o)
		var unavailable *UnavailableError
		if err == nil || !errors.As(err, &unavailable) {
			return r, err
		}
		missing = errors.Join(missing, err)
	}
	o.Kind = Docker
	engine, err := newEngine(ctx, o)
	if err == nil {
		return engine, nil
	}
	o.Logger.DebugContext(ctx, "no container runtime", "error", errors.Join(missing, err))
	if why := privileged(); why != nil {
		return nil, &UnavailableError{
			Kind: Auto, Reason: why.Error() + ", and no Docker or Podman engine answers",
			Try: []string{"sudo cloudssh demo", "export DOCKER_HOST=unix:///run/user/$(id -u)/podman/podman.sock"},
		}
	}
	return nil, &UnavailableError{
		Kind: Auto, Reason: "none of runc, crun and runsc is installed, and no Docker or Podman engine answers",
		Try: []string{"sudo apt-get install runc"},
	}
}

// privileged returns why this process cannot make namespaces and mounts, or nil.
func privileged() error {
	switch {
	case os.Geteuid() != 0:
		return errors.New("running containers takes root")
	case !haveCapability(unix.CAP_SYS_ADMIN):
		return errors.New("root is without the capability CAP_SYS_ADMIN here, as in an unprivileged container")
	}
	return nil
}

// haveCapability tells whether a capability (below 32) is in effect.
func haveCapability(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<number) != 0
}

func newOCI(_ context.Context, o Options) (Runtime, error) {
	path, err := findTool(o.Kind)
	if err != nil {
		return nil, &UnavailableError{Kind: o.Kind, Reason: "not installed", Try: []string{installHint(o.Kind)}}
	}
	if why := privileged(); why != nil {
		return nil, &UnavailableError{Kind: o.Kind, Reason: why.Error(), Try: []string{"sudo cloudssh demo"}}
	}
	groups := findCgroups()
	if o.Kind == Crun && groups.hybrid {
		return nil, &UnavailableError{
			Kind: o.Kind, Reason: "does not run where control groups of both versions have controllers", Try: []string{installHint(Runc)},
		}
	}
	if o.StateDir == "" {
		return nil, errors.New("no state directory given")
	}
	stateDir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, err
	}
	// Mount points are known by their real path.
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	if stateDir, err = filepath.EvalSymlinks(stateDir); err != nil {
		return nil, err
	}
	return openOCI(o, path, stateDir, groups)
}

func openOCI(o Options, path, stateDir string, groups cgroups) (*oci, error) {
	images := filepath.Join(stateDir, "images", bootID())
	if err := os.MkdirAll(images, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	// Containers outlive the runtime's command that started them. With this they become our
	// children, whose exit status we can ask for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("becoming the reaper of containers: %w", err)
	}
	state, err := newOwnerState(stateDir)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(state.dir, "tool"), []byte(o.Kind+" "+path), 0o600); err != nil {
		return nil, errors.Join(err, state.remove())
	}
	if groups.memory == "" {
		o.Logger.Warn("memory and CPU of containers are not limited: no control groups that can be used", "runtime", o.Kind)
	}
	return &oci{
		tool:      newTool(o.Kind, path, filepath.Join(state.dir, "root"), groups),
		stateDir:  stateDir,
		state:     state,
		images:    &imageStore{dir: images, tmp: filepath.Join(state.dir, "tmp"), busy: map[string]chan struct{}{}},
		cgroups:   groups,
		logger:    o.Logger,
		sandboxes: map[string]*ociSandbox{},
	}, nil
}

func installHint(kind string) string {
	if kind == Runsc {
		return "https://gvisor.dev/docs/user_guide/install/"
	}
	return "sudo apt-get install " + kind
}

func (r *oci) Name() string { return r.tool.kind }

func (r *oci) Sandbox(_ context.Context, spec SandboxSpec) (Sandbox, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("making sandbox %s: %w", spec.ID, ErrClosed)
	}
	if r.sandboxes[spec.ID] != nil {
		return nil, fmt.Errorf("making sandbox %s: %w", spec.ID, fs.ErrExist)
	}
	s, err := newOCISandbox(r, spec)
	if err != nil {
		return nil, fmt.Errorf("making sandbox %s: %w", spec.ID, err)
	}
	r.sandboxes[spec.ID] = s
	return s, nil
}

// Prepare unpacks an image.
func (r *oci) Prepare(ctx context.Context, image v1.Image) error {
	_, err := r.images.rootfs(ctx, image)
	return err
}

func (r *oci) forget(s *ociSandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sandboxes[s.id] == s {
		delete(r.sandboxes, s.id)
	}
}

func (r *oci) Close() error {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Values(r.sandboxes))
	r.mu.Unlock()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, s := range open {
		wg.Go(func() { errs[i] = s.Close(context.Background()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err // what is left is for Reap: the lock goes with this process
	}
	if err := r.state.remove(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("closing the container runtime: %w", err)
	}
	return nil
}

// Reap removes what dead owners left, and the images of earlier boots.
func (r *oci) Reap(ctx context.Context) error {
	dead, err := deadOwners(r.stateDir)
	errs := []error{err}
	for _, s := range dead {
		if err := r.reapOwner(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("removing what a killed emulator left in %s: %w", s.dir, err), s.lock.Close())
			continue
		}
		r.logger.InfoContext(ctx, "removed what a killed emulator left", "dir", s.dir)
	}
	errs = append(errs, r.reapImages())
	return errors.Join(errs...)
}

func (r *oci) reapOwner(ctx context.Context, s *ownerState) error {
	kind, path := r.tool.kind, r.tool.path
	text, err := os.ReadFile(filepath.Join(s.dir, "tool"))
	if k, p, ok := strings.Cut(string(text), " "); err == nil && ok && exists(p) {
		kind, path = k, p
	}
	t := newTool(kind, path, filepath.Join(s.dir, "root"), r.cgroups)
	ids, err := t.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.remove(ctx, id); err != nil {
			return err
		}
	}
	return s.remove()
}

func (r *oci) reapImages() error {
	images := filepath.Dir(r.images.dir)
	boots, err := os.ReadDir(images)
	if err != nil {
		return err
	}
	var errs []error
	for _, boot := range boots {
		if dir := filepath.Join(images, boot.Name()); dir != r.images.dir {
			errs = append(errs, removeTree(dir))
		}
	}
	return errors.Join(errs...)
}
