package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ociSandbox is a network namespace with OCI containers in it.
type ociSandbox struct {
	runtime  *oci
	id       string
	dir      string
	hostname string
	network  *network
	etc      map[string]string // file in the containers -> file on this machine

	closing context.Context //nolint:containedctx // ends the starts that are under way when Close is called
	close   context.CancelFunc
	starts  sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	sequence   int
	containers []*ociContainer
	volumes    map[string]string // shared tmpfs -> where it is mounted

	removal sync.Mutex // one Close at a time
}

// ociContainer is a container and what has to be removed after it.
type ociContainer struct {
	name    string
	id      string
	dir     string
	process *ociProcess // nil while it starts
}

func newOCISandbox(r *oci, spec SandboxSpec) (_ *ociSandbox, err error) {
	s := &ociSandbox{
		runtime:  r,
		id:       spec.ID,
		dir:      filepath.Join(r.state.dir, "sandboxes", spec.ID),
		hostname: orDefault(spec.Hostname, "localhost"),
		volumes:  map[string]string{},
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(s.dir))
		}
	}()
	if err := s.writeEtc(spec.Hosts); err != nil {
		return nil, err
	}
	if s.network, err = newNetwork(filepath.Join(r.state.dir, "netns", spec.ID)); err != nil {
		return nil, err
	}
	s.closing, s.close = context.WithCancel(context.Background())
	return s, nil
}

// writeEtc writes the files that a container gets from its machine. There is no name server:
// a query is refused at once by the namespace that has no route to it.
func (s *ociSandbox) writeEtc(hosts map[string]string) error {
	dir := filepath.Join(s.dir, "etc")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // users of the containers read it
		return err
	}
	s.etc = map[string]string{}
	for name, text := range map[string]string{
		"hosts": hostsFile(s.hostname, hosts), "hostname": s.hostname + "\n", "resolv.conf": "nameserver 169.254.169.254\noptions timeout:1 attempts:1\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // users of the containers read it
			return err
		}
		s.etc["/etc/"+name] = file
	}
	return nil
}

func (s *ociSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("dialling port %d of sandbox %s: not a port", port, s.id)
	}
	if s.closing.Err() != nil {
		return nil, fmt.Errorf("dialling port %d of sandbox %s: %w", port, s.id, ErrClosed)
	}
	return s.network.dial(ctx, uint16(port))
}

func (s *ociSandbox) Listen(ctx context.Context, address string) (net.Listener, error) {
	if s.closing.Err() != nil {
		return nil, fmt.Errorf("listening on %s in sandbox %s: %w", address, s.id, ErrClosed)
	}
	return s.network.listen(ctx, address)
}

func (s *ociSandbox) Start(ctx context.Context, c Container) (Process, error) {
	if err := c.validate(); err != nil {
		return nil, &StartError{c.Name, err}
	}
	if c.Image == nil {
		return nil, &StartError{c.Name, errors.New("no image")}
	}
	started, err := s.add(c)
	if err != nil {
		return nil, err
	}
	defer s.starts.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	process, err := s.start(ctx, c, started)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("starting container %s: %w", c.Name, ctx.Err())
	}
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		return nil, errors.Join(err, s.drop(cleanup, started))
	}
	s.mu.Lock()
	started.process = process
	s.mu.Unlock()
	return process, nil
}

// add registers a container, so that Close waits for its start and then removes it.
func (s *ociSandbox) add(c Container) (*ociContainer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, ErrClosed)
	}
	for _, other := range s.containers {
		if other.name == c.Name && other.running() {
			return nil, &StartError{c.Name, fmt.Errorf("already running: %w", fs.ErrExist)}
		}
	}
	s.sequence++
	added := &ociContainer{
		name: c.Name,
		id:   fmt.Sprintf("cloudssh-%s-%s-%d", s.runtime.state.id, s.id, s.sequence),
		dir:  filepath.Join(s.dir, fmt.Sprintf("container-%d", s.sequence)),
	}
	s.containers = append(s.containers, added)
	s.starts.Add(1)
	return added, nil
}

func (c *ociContainer) running() bool {
	if c.process == nil {
		return true
	}
	return !c.process.ended()
}

// start unpacks, mounts, writes the configuration and runs.
func (s *ociSandbox) start(ctx context.Context, c Container, started *ociContainer) (*ociProcess, error) {
	lower, err := s.runtime.images.rootfs(ctx, c.Image)
	if err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	user, err := userOf(lower, c.User)
	if err != nil {
		return nil, &StartError{c.Name, err}
	}
	b := &bundle{
		container: c, user: user, root: filepath.Join(started.dir, "rootfs"), netns: s.network.inside.path, hostname: s.hostname,
		etc: s.etc, cgroup: "/" + started.id, cgroups: s.runtime.cgroups,
	}
	overlay, err := makeRoot(ctx, lower, started.dir, b.root)
	if err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	if !overlay {
		s.runtime.logger.WarnContext(ctx, "no overlay file system here: copied the image", "container", started.id)
	}
	if b.volumes, err = s.mountVolumes(c.Mounts); err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	config, err := json.Marshal(b.spec())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(started.dir, "config.json"), config, 0o600); err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	return s.run(ctx, c, started)
}

func (s *ociSandbox) run(ctx context.Context, c Container, started *ociContainer) (*ociProcess, error) {
	out, err := newOutput()
	if err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	pid, err := s.runtime.tool.run(ctx, started.id, started.dir, out.writers[0], out.writers[1])
	if err != nil {
		err = errors.Join(err, out.discard())
		if reported := new(toolError); errors.As(err, &reported) && reported.aboutCommand() {
			return nil, &StartError{c.Name, err}
		}
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting container %s: %w", c.Name, err), out.discard())
	}
	group := "/" + started.id
	p := &ociProcess{id: started.id, tool: s.runtime.tool, process: process, done: make(chan struct{})}
	p.limit = func(cpus float64) error { return s.runtime.cgroups.limitCPU(group, cpus) }
	if err := out.start(c.Stdout, c.Stderr); err != nil {
		s.runtime.logger.WarnContext(ctx, "closing a container's pipes", "container", started.id, "error", err)
	}
	go p.watch(out, func() bool { return s.runtime.cgroups.oomKilled(group) })
	return p, nil
}

// userOf finds a user in the image.
func userOf(rootfs, spec string) (identity, error) {
	t, err := openTree(rootfs)
	if err != nil {
		return identity{}, err
	}
	defer discardClose(t)
	var files [2]io.Reader
	for i, name := range []string{"/etc/passwd", "/etc/group"} {
		text, err := t.readFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return identity{}, err
		}
		files[i] = strings.NewReader(text)
	}
	return resolveUser(spec, files[0], files[1])
}

// mountVolumes mounts the shared tmpfs volumes that are not there yet, and makes the directories in them that are
// wanted.
func (s *ociSandbox) mountVolumes(mounts []Mount) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range mounts {
		if m.Kind != Tmpfs || m.Shared == "" {
			continue
		}
		if s.volumes[m.Shared] == "" {
			dir := filepath.Join(s.dir, "volumes", m.Shared)
			if err := mountTmpfs(dir, m.Size); err != nil {
				return nil, err
			}
			s.volumes[m.Shared] = dir
		}
		if err := makeSubPath(s.volumes[m.Shared], m.SubPath); err != nil {
			return nil, fmt.Errorf("making directory %s of volume %s: %w", m.SubPath, m.Shared, err)
		}
	}
	return maps.Clone(s.volumes), nil
}

// makeSubPath makes a directory in a volume, for every user as the volume is. A container that ran before may have
// put a link in its place: one that leads out of the volume is refused, because it would mount a directory of this
// machine.
func makeSubPath(volume, sub string) error {
	if sub == "" {
		return nil
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer discardClose(root)
	made := ""
	for part := range strings.SplitSeq(filepath.Clean(sub), "/") {
		made = filepath.Join(made, part)
		err := root.Mkdir(made, 0o700)
		if errors.Is(err, fs.ErrExist) {
			if info, err := root.Stat(made); err != nil || !info.IsDir() {
				return errors.Join(err, fmt.Errorf("%s: %w", made, unix.ENOTDIR))
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := root.Chmod(made, 0o777|fs.ModeSticky); err != nil { // whatever the umask
			return err
		}
	}
	return nil
}

// drop removes a container that has ended or did not start.
func (s *ociSandbox) drop(ctx context.Context, c *ociContainer) error {
	if err := s.runtime.tool.remove(ctx, c.id); err != nil {
		return err
	}
	if err := removeTree(c.dir); err != nil {
		return fmt.Errorf("removing container %s: %w", c.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers = slices.DeleteFunc(s.containers, func(other *ociContainer) bool { return other == c })
	return nil
}

// Close has a limit of its own: a context that is cancelled already does not leave
// containers behind.
func (s *ociSandbox) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.starts.Wait()
	s.removal.Lock()
	defer s.removal.Unlock()
	if !exists(s.dir) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := s.remove(ctx); err != nil {
		return fmt.Errorf("closing sandbox %s: %w", s.id, err)
	}
	s.runtime.forget(s)
	return nil
}

func (s *ociSandbox) remove(ctx context.Context) error {
	s.mu.Lock()
	containers := slices.Clone(s.containers)
	s.mu.Unlock()
	errs := make([]error, len(containers))
	var wg sync.WaitGroup
	for i, c := range containers {
		wg.Go(func() { errs[i] = s.kill(ctx, c) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.network.remove(); err != nil {
		return err
	}
	return removeTree(s.dir)
}

// kill ends a container and removes it.
func (s *ociSandbox) kill(ctx context.Context, c *ociContainer) error {
	if c.process == nil {
		return s.drop(ctx, c) // did not start, and could not be removed then
	}
	if err := c.process.Signal(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-c.process.done:
	case <-ctx.Done():
		return fmt.Errorf("container %s does not end: %w", c.id, ctx.Err())
	}
	return s.drop(ctx, c)
}
