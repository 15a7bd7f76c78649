package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// engineCleanup bounds what is removed from an engine.
const engineCleanup = 60 * time.Second

// engineSandbox is a container that holds the network, and others that join it.
type engineSandbox struct {
	engine    *engine
	id        string
	hosts     map[string]string
	hostname  string
	hostsFile string // of this machine, for Podman
	holder    string // ID of the container that holds the network
	network   engineNetwork

	starts sync.WaitGroup // of the sandbox and its containers; Close waits for them

	mu       sync.Mutex
	closed   bool
	sequence int
	running  map[string]*engineProcess
	// names are those of all containers, the holder first. Each is here before the engine is asked to make
	// it: when that call is cancelled, nobody tells whether the container exists.
	names   []string
	volumes map[string]bool // by name; false when it was asked for, as with names
}

// An engineNetwork is a way into the network of a sandbox.
type engineNetwork interface {
	dial(ctx context.Context, port uint16) (net.Conn, error)
	listen(ctx context.Context, address string) (net.Listener, error)
	remove() error
}

func (s *engineSandbox) name(suffix string) string {
	return fmt.Sprintf("cloudssh-%s-%s-%s", s.engine.id, s.id, suffix)
}

// open starts the container that holds the network. Where this process can enter it there is
// nothing else in it; else it has the engine's own, whose addresses we may reach.
func (s *engineSandbox) open(ctx context.Context) error {
	if err := s.writeHosts(); err != nil {
		return err
	}
	holder, err := holderImage(s.engine.arch)
	if err != nil {
		return err
	}
	image, err := s.engine.images.load(ctx, holder)
	if err != nil {
		return err
	}
	mode := container.NetworkMode("bridge")
	if s.engine.local && canEnterNetworks() {
		mode = "none"
	}
	s.names = append(s.names, s.name("network"))
	created, err := s.engine.client.ContainerCreate(ctx,
		&container.Config{
			Image: image, Entrypoint: []string{"/pause"}, Labels: s.engine.labels(),
			Hostname: s.hostname,
		},
		&container.HostConfig{NetworkMode: mode, ExtraHosts: s.extraHosts(), Resources: container.Resources{Ulimits: ulimits(s.engine.local)}},
		nil, nil, s.name("network"))
	if err != nil {
		return err
	}
	s.holder = created.ID
	if err := s.engine.client.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		return err
	}
	info, err := s.engine.client.ContainerInspect(ctx, created.ID)
	if err != nil {
		return err
	}
	if mode == "none" {
		s.network, err = enterNetwork(info.State.Pid, created.ID)
		return err
	}
	s.network = bridgeNetwork{ip: bridgeAddress(info)}
	return nil
}

func bridgeAddress(info container.InspectResponse) string {
	if info.NetworkSettings == nil {
		return ""
	}
	for _, n := range info.NetworkSettings.Networks {
		if n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

// bridgeNetwork reaches a container over the engine's bridge, which works on the engine's
// machine for everybody.
type bridgeNetwork struct{ ip string }

func (b bridgeNetwork) dial(ctx context.Context, port uint16) (net.Conn, error) {
	if b.ip == "" {
		return nil, fmt.Errorf("the engine gave the container no address that this machine reaches: %w", errors.ErrUnsupported)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(b.ip, strconv.Itoa(int(port))))
}

func (bridgeNetwork) listen(_ context.Context, address string) (net.Listener, error) {
	return nil, fmt.Errorf("listening on %s in an engine's container takes root on the engine's machine: %w", address, errors.ErrUnsupported)
}

func (bridgeNetwork) remove() error { return nil }

func (s *engineSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("dialling port %d of sandbox %s: not a port", port, s.id)
	}
	if s.isClosed() {
		return nil, fmt.Errorf("dialling port %d of sandbox %s: %w", port, s.id, ErrClosed)
	}
	return s.network.dial(ctx, uint16(port))
}

func (s *engineSandbox) Listen(ctx context.Context, address string) (net.Listener, error) {
	if s.isClosed() {
		return nil, fmt.Errorf("listening on %s in sandbox %s: %w", address, s.id, ErrClosed)
	}
	return s.network.listen(ctx, address)
}

func (s *engineSandbox) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *engineSandbox) Start(ctx context.Context, c Container) (Process, error) {
	if err := c.validate(); err != nil {
		return nil, &StartError{c.Name, err}
	}
	if c.Image == nil {
		return nil, &StartError{c.Name, errors.New("no image")}
	}
	name, err := s.reserve(c.Name)
	if err != nil {
		return nil, err
	}
	defer s.starts.Done()
	p, err := s.start(ctx, name, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.running, c.Name)
		return nil, err
	}
	s.running[c.Name] = p
	return p, nil
}

// reserve keeps two containers of the same name from starting at the same time, and Close from
// missing one that starts.
func (s *engineSandbox) reserve(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", fmt.Errorf("starting container %s: %w", name, ErrClosed)
	}
	if p, taken := s.running[name]; taken && (p == nil || !p.ended()) {
		return "", &StartError{name, fmt.Errorf("already running: %w", fs.ErrExist)}
	}
	s.running[name] = nil
	s.sequence++
	s.starts.Add(1)
	return s.name(strconv.Itoa(s.sequence)), nil
}

func (s *engineSandbox) start(ctx context.Context, name string, c Container) (_ *engineProcess, err error) {
	image, err := s.engine.images.load(ctx, c.Image)
	if err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	mounts, err := s.mounts(ctx, c.Mounts)
	if err != nil {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, err)
	}
	config := &container.Config{
		Image: image, Entrypoint: c.Args, Env: c.Env, WorkingDir: orDefault(c.Dir, "/"), User: c.User,
		AttachStdout: true, AttachStderr: true, Labels: s.engine.labels(),
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + s.holder),
		Mounts:      mounts,
		SecurityOpt: []string{"no-new-privileges"},

		ReadonlyRootfs: c.ReadOnly,
		Resources: container.Resources{
			Memory: c.Memory, MemorySwap: c.Memory, NanoCPUs: int64(c.CPU * 1e9), Ulimits: ulimits(s.engine.local),
		},
	}
	if s.hostsFile != "" {
		config.Hostname = s.hostname
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: s.hostsFile, Target: "/etc/hosts"})
	}
	s.mu.Lock()
	s.names = append(s.names, name)
	s.mu.Unlock()
	created, err := s.engine.client.ContainerCreate(ctx, config, host, nil, nil, name)
	if err != nil {
		return nil, startFailure(c.Name, err)
	}
	p, err := startEngineProcess(ctx, s.engine, created.ID, c)
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineCleanup)
		defer cancel()
		return nil, errors.Join(startFailure(c.Name, err), s.engine.removeContainer(cleanup, created.ID))
	}
	return p, nil
}

// writeHosts makes the file that becomes /etc/hosts with Podman. With Docker, host names and addresses
// come with the network that a container joins.
func (s *engineSandbox) writeHosts() error {
	if !s.engine.podman || !s.engine.local {
		return nil
	}
	f, err := os.CreateTemp("", fmt.Sprintf("%s%d-", hostsPrefix, os.Getpid()))
	if err != nil {
		return err
	}
	s.hostsFile = f.Name()
	_, err = f.WriteString(hostsFile(s.hostname, s.hosts))
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

func (s *engineSandbox) removeHosts() error {
	if s.hostsFile == "" {
		return nil
	}
	if err := os.Remove(s.hostsFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// hostsPrefix begins the name of a hosts file, followed by the process ID of its owner.
const hostsPrefix = "cloudssh-hosts-"

func (s *engineSandbox) extraHosts() []string {
	hosts := make([]string, 0, len(s.hosts))
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		hosts = append(hosts, name+":"+s.hosts[name])
	}
	return hosts
}

// mounts makes the shared volumes that are not there yet.
func (s *engineSandbox) mounts(ctx context.Context, wanted []Mount) ([]mount.Mount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var mounts []mount.Mount
	for _, w := range wanted {
		m := mount.Mount{Target: w.Destination, ReadOnly: w.ReadOnly}
		switch {
		case w.Kind == Bind:
			m.Type, m.Source = mount.TypeBind, w.Source
		case w.Shared == "":
			m.Type, m.TmpfsOptions = mount.TypeTmpfs, &mount.TmpfsOptions{SizeBytes: w.Size, Mode: 0o1777}
		case w.SubPath != "":
			return nil, fmt.Errorf("mounting directory %s of volume %s in an engine's container: %w", w.SubPath, w.Shared, errors.ErrUnsupported)
		default:
			m.Type, m.Source = mount.TypeVolume, s.name("volume-"+w.Shared)
			if err := s.createVolume(ctx, m.Source, w.Size); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func (s *engineSandbox) createVolume(ctx context.Context, name string, size int64) error {
	if s.volumes[name] {
		return nil
	}
	s.volumes[name] = false
	options := "mode=1777"
	if size > 0 {
		// In pages, because Podman 4 takes size= for a quota of the file system below.
		const page = 4096
		options += ",nr_blocks=" + strconv.FormatInt((size+page-1)/page, 10)
	}
	_, err := s.engine.client.VolumeCreate(ctx, volume.CreateOptions{
		Name: name, Driver: "local", Labels: s.engine.labels(),
		DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": options},
	})
	if err != nil {
		return fmt.Errorf("creating volume %s: %w", name, err)
	}
	s.volumes[name] = true
	return nil
}

// Close has a limit of its own, like that of the other runtimes.
func (s *engineSandbox) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.starts.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineCleanup)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.names) > 0 { // from the last to the one whose network the others use
		last := len(s.names) - 1
		if err := s.engine.removeContainer(ctx, s.names[last]); err != nil {
			return fmt.Errorf("closing sandbox %s: %w", s.id, err)
		}
		s.names = s.names[:last]
	}
	for _, p := range s.running {
		select {
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("closing sandbox %s: container %s does not end: %w", s.id, p.id, ctx.Err())
		}
	}
	for name := range s.volumes {
		if err := s.engine.removeVolume(ctx, name); err != nil {
			return fmt.Errorf("closing sandbox %s: %w", s.id, err)
		}
		delete(s.volumes, name)
	}
	if err := s.removeHosts(); err != nil {
		return fmt.Errorf("closing sandbox %s: %w", s.id, err)
	}
	s.engine.forget(s)
	if s.network == nil {
		return nil
	}
	return s.network.remove()
}
