package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// volumeFiles are the directories in which the files of volumes live: those of the instances and, for storage that
// outlives them, those that instances share.
type volumeFiles struct{ root string }

func newVolumeFiles(stateDir string) (volumeFiles, error) {
	root, err := filepath.Abs(filepath.Join(stateDir, "volumes"))
	if err != nil {
		return volumeFiles{}, fmt.Errorf("finding the directory of the volumes: %w", err)
	}
	v := volumeFiles{root}
	// What is there was left by an emulator that was killed.
	if err := v.remove(); err != nil {
		return volumeFiles{}, err
	}
	// Secrets are in it: others on this machine have no business here.
	if err := os.MkdirAll(root, 0o700); err != nil {
		return volumeFiles{}, fmt.Errorf("making the directory of the volumes: %w", err)
	}
	return v, nil
}

func (v volumeFiles) remove() error {
	if err := os.RemoveAll(v.root); err != nil {
		return fmt.Errorf("removing the files of volumes: %w", err)
	}
	return nil
}

func (v volumeFiles) instance(id string) string { return filepath.Join(v.root, "instances", id) }

// A mountedVolume is a volume as the runtime mounts it.
type mountedVolume struct {
	mount runtime.Mount // without Destination
	// fixed is where a volume belongs that is mounted without a path.
	fixed string
}

// prepareVolumes makes what the volumes of an instance need, below the instance's directory.
func (f *Fleet) prepareVolumes(ctx context.Context, p *plan, instanceID string) (map[string]mountedVolume, error) {
	mounted := map[string]mountedVolume{}
	dir := f.files.instance(instanceID)
	for name, v := range p.volumes {
		m, err := f.prepareVolume(ctx, p, v, filepath.Join(dir, fileName(name)))
		if err != nil {
			return nil, fmt.Errorf("preparing volume %s: %w", name, err)
		}
		mounted[name] = m
	}
	return mounted, nil
}

func (f *Fleet) prepareVolume(ctx context.Context, p *plan, v *runpb.Volume, dir string) (mountedVolume, error) {
	switch kind := v.GetVolumeType().(type) {
	case *runpb.Volume_EmptyDir:
		switch kind.EmptyDir.GetMedium() {
		case runpb.EmptyDirVolumeSource_MEDIUM_UNSPECIFIED, runpb.EmptyDirVolumeSource_MEMORY:
			return memoryVolume(v.GetName(), kind.EmptyDir.GetSizeLimit(), p.memory)
		}
		return directoryVolume(dir, false) // DISK, which this version of runpb does not name
	case *runpb.Volume_Secret:
		return f.secretVolume(ctx, p.rev, kind.Secret, dir)
	case *runpb.Volume_Gcs:
		return directoryVolume(filepath.Join(f.files.root, "gcs", fileName(kind.Gcs.GetBucket())), kind.Gcs.GetReadOnly())
	case *runpb.Volume_Nfs:
		export := kind.Nfs.GetServer() + ":" + path.Clean("/"+kind.Nfs.GetPath())
		return directoryVolume(filepath.Join(f.files.root, "nfs", fileName(export)), kind.Nfs.GetReadOnly())
	case *runpb.Volume_CloudSqlInstance:
		m, err := directoryVolume(dir, false)
		m.fixed = "/cloudsql"
		return m, err
	}
	return mountedVolume{}, errors.New("its kind is not known")
}

// fileName makes one element of a path of any name, "." and ".." included.
func fileName(name string) string {
	if strings.Trim(name, ".") == "" {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

// memoryVolume is a tmpfs that the instance's containers share. Its default size is half of what the containers may
// use together, and all of that is the most: https://docs.cloud.google.com/run/docs/configuring/services/in-memory-volume-mounts
// and the comment on EmptyDirVolumeSource.size_limit in the API's schema.
func memoryVolume(name, sizeLimit string, memory int64) (mountedVolume, error) {
	size := memory / 2
	if sizeLimit != "" {
		limit, err := parseBytes(sizeLimit)
		if err != nil {
			return mountedVolume{}, err
		}
		size = min(limit, memory)
	}
	return mountedVolume{mount: runtime.Mount{Kind: runtime.Tmpfs, Size: size, Shared: name}}, nil
}

// directoryVolume is a directory that every user of every container may write to.
func directoryVolume(dir string, readOnly bool) (mountedVolume, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the container's user reads it
		return mountedVolume{}, err
	}
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // the container's user writes it; its parent is closed
		return mountedVolume{}, err
	}
	return mountedVolume{mount: runtime.Mount{Kind: runtime.Bind, Source: dir, ReadOnly: readOnly}}, nil
}

// secretVolume writes versions of a secret to files. Without items it is the latest one, in a file of the secret's name.
func (f *Fleet) secretVolume(ctx context.Context, rev Revision, v *runpb.SecretVolumeSource, dir string) (mountedVolume, error) {
	items := v.GetItems()
	if len(items) == 0 {
		items = []*runpb.VersionToPath{{Path: path.Base(v.GetSecret()), Version: "latest"}}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the container's user reads it
		return mountedVolume{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return mountedVolume{}, err
	}
	for _, item := range items {
		value, err := f.secret(ctx, rev, v.GetSecret(), cmp.Or(item.GetVersion(), "latest"))
		if err != nil {
			return mountedVolume{}, errors.Join(&secretError{field: "volumes.secret", err: err}, root.Close())
		}
		mode := cmp.Or(fs.FileMode(item.GetMode()), fs.FileMode(v.GetDefaultMode()), 0o444)
		if err := writeSecret(root, item.GetPath(), value, mode); err != nil {
			return mountedVolume{}, errors.Join(fmt.Errorf("writing %s: %w", item.GetPath(), err), root.Close())
		}
	}
	return mountedVolume{mount: runtime.Mount{Kind: runtime.Bind, Source: dir, ReadOnly: true}}, root.Close()
}

func writeSecret(root *os.Root, name string, value []byte, mode fs.FileMode) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.WriteFile(name, value, 0o600); err != nil {
		return err
	}
	return root.Chmod(name, mode.Perm()) // whatever the umask
}

// secret reads a version of a secret.
func (f *Fleet) secret(ctx context.Context, rev Revision, name, version string) ([]byte, error) {
	if f.o.Secret == nil {
		return nil, &secretVersionError{name, version, fs.ErrNotExist}
	}
	value, err := f.o.Secret(ctx, rev, name, version)
	if err != nil {
		return nil, &secretVersionError{name, version, err}
	}
	return value, nil
}

// mounts are the container's.
func (c *container) mounts(volumes map[string]mountedVolume) ([]runtime.Mount, error) {
	var mounts []runtime.Mount
	for _, vm := range c.spec.GetVolumeMounts() {
		v, ok := volumes[vm.GetName()]
		if !ok {
			return nil, fmt.Errorf("container %s mounts volume %q, which does not exist", c.name, vm.GetName())
		}
		m := v.mount
		m.Destination = cmp.Or(vm.GetMountPath(), v.fixed)
		if sub := vm.GetSubPath(); sub != "" {
			if err := enter(&m, sub); err != nil {
				return nil, fmt.Errorf("making sub_path %q of volume %s: %w", sub, vm.GetName(), err)
			}
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// enter has a directory of a volume mounted in the place of the volume. The runtime makes that of a memory volume, this
// that of any other. An earlier container may have put a link in its place: one that leads out of the volume is
// refused, because it would mount a directory of this machine.
func enter(m *runtime.Mount, sub string) error {
	name := strings.TrimPrefix(path.Clean("/"+sub), "/")
	if name == "" {
		return nil
	}
	if m.Kind == runtime.Tmpfs {
		m.SubPath = name
		return nil
	}
	root, err := os.OpenRoot(m.Source)
	if err != nil {
		return err
	}
	name = filepath.FromSlash(name)
	if err := errors.Join(root.MkdirAll(name, 0o777), root.Close()); err != nil {
		return err
	}
	m.Source = filepath.Join(m.Source, name)
	return nil
}
