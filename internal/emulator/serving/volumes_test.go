package serving

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

func emptyDir(medium runpb.EmptyDirVolumeSource_Medium, limit string) *runpb.Volume_EmptyDir {
	return &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{Medium: medium, SizeLimit: limit}}
}

func withVolumes(f *fixture) {
	f.options.Secret = func(_ context.Context, _ Revision, name, version string) ([]byte, error) {
		return []byte(name + "@" + version), nil
	}
	f.rev.Template.Volumes = []*runpb.Volume{
		{Name: "shm", VolumeType: emptyDir(runpb.EmptyDirVolumeSource_MEMORY, "")},
		{Name: "sized", VolumeType: emptyDir(runpb.EmptyDirVolumeSource_MEMORY, "64Mi")},
		{Name: "disk", VolumeType: emptyDir(2, "10Gi")},
		{Name: "all", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{Secret: "key"}}},
		{Name: "some", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
			Secret: "projects/1/secrets/key", DefaultMode: 0o400,
			Items: []*runpb.VersionToPath{{Path: "a/b", Version: "3"}, {Path: "c", Version: "latest", Mode: 0o440}},
		}}},
		{Name: "bucket", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: "data", ReadOnly: true}}},
		{Name: "share", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: "10.0.0.2", Path: "/x/"}}},
		{Name: "sql", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: []string{"p:r:i"}}}},
	}
	for _, v := range f.rev.Template.GetVolumes() {
		m := &runpb.VolumeMount{Name: v.GetName(), MountPath: "/mnt/" + v.GetName()}
		if v.GetName() == "sql" {
			m.MountPath = ""
		}
		f.rev.Template.Containers[0].VolumeMounts = append(f.rev.Template.Containers[0].VolumeMounts, m)
	}
}

func TestVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(text("ok"), nil), withVolumes)
		f.deploy()
		mounts := map[string]runtime.Mount{}
		for _, m := range f.runtime.container(0).Mounts {
			mounts[m.Destination] = m
		}
		root := filepath.Join(f.options.StateDir, "volumes")
		own := filepath.Join(root, "instances", f.fleet.Instances(f.rev.Key())[0])
		for destination, want := range map[string]runtime.Mount{
			"/mnt/shm":    {Kind: runtime.Tmpfs, Size: 256 << 20, Shared: "shm"},
			"/mnt/sized":  {Kind: runtime.Tmpfs, Size: 64 << 20, Shared: "sized"},
			"/mnt/disk":   {Kind: runtime.Bind, Source: filepath.Join(own, "disk")},
			"/mnt/all":    {Kind: runtime.Bind, Source: filepath.Join(own, "all"), ReadOnly: true},
			"/mnt/some":   {Kind: runtime.Bind, Source: filepath.Join(own, "some"), ReadOnly: true},
			"/mnt/bucket": {Kind: runtime.Bind, Source: filepath.Join(root, "gcs", "data"), ReadOnly: true},
			"/mnt/share":  {Kind: runtime.Bind, Source: filepath.Join(root, "nfs", "10.0.0.2:%2Fx")},
			"/cloudsql":   {Kind: runtime.Bind, Source: filepath.Join(own, "sql")},
		} {
			want.Destination = destination
			if got := mounts[destination]; got != want {
				t.Errorf("%s: %+v, want %+v", destination, got, want)
			}
		}
		for name, want := range map[string]string{"all/key": "key@latest", "some/a/b": "projects/1/secrets/key@3", "some/c": "projects/1/secrets/key@latest"} {
			if got, err := os.ReadFile(filepath.Join(own, name)); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
		for name, want := range map[string]os.FileMode{"all/key": 0o444, "some/a/b": 0o400, "some/c": 0o440} {
			if info, err := os.Stat(filepath.Join(own, name)); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v; want %v", name, info, err, want)
			}
		}
		if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("directory of the volumes: %v, %v", info, err)
		}
		if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(own); !os.IsNotExist(err) {
			t.Errorf("the instance's files are left: %v", err)
		}
		if err := f.fleet.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(root); !os.IsNotExist(err) {
			t.Errorf("the volumes' files are left: %v", err)
		}
	})
}

func TestVolumesRefuse(t *testing.T) {
	memory := &runpb.Volume{Name: "shm", VolumeType: emptyDir(runpb.EmptyDirVolumeSource_MEMORY, "")}
	escape := &runpb.Volume{Name: "up", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
		Secret: "key", Items: []*runpb.VersionToPath{{Path: "../../up", Version: "1"}},
	}}}
	for want, tc := range map[string]struct {
		volume *runpb.Volume
		mount  *runpb.VolumeMount
	}{
		`container hello-1 mounts volume "other", which does not exist`: {memory, &runpb.VolumeMount{Name: "other"}},
		"preparing volume up: writing ../../up: ":                       {escape, &runpb.VolumeMount{Name: "up"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nil, withVolumes, template(func(t *runpb.RevisionTemplate) {
				t.Volumes = []*runpb.Volume{tc.volume}
				t.Containers[0].VolumeMounts = []*runpb.VolumeMount{tc.mount}
			}))
			if err := f.tryDeploy(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestSubPath(t *testing.T) {
	c := &container{name: "app", spec: &runpb.Container{VolumeMounts: []*runpb.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "../a"}}}}
	dir := t.TempDir()
	mounts, err := c.mounts(map[string]mountedVolume{"v": {mount: runtime.Mount{Kind: runtime.Bind, Source: dir}}})
	if err != nil || len(mounts) != 1 || mounts[0].Source != filepath.Join(dir, "a") {
		t.Fatalf("mounts %+v, %v; want one of %s/a", mounts, err, dir)
	}
	if _, err := os.Stat(mounts[0].Source); err != nil {
		t.Error(err)
	}
}

// TestSubPathStaysInItsVolume: a container that wrote to the volume before must not get a directory of this machine.
func TestSubPathStaysInItsVolume(t *testing.T) {
	c := &container{name: "app", spec: &runpb.Container{VolumeMounts: []*runpb.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "a/b"}}}}
	for _, target := range []string{"/etc", "../../.."} {
		dir := t.TempDir()
		if err := os.Symlink(target, filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		mounts, err := c.mounts(map[string]mountedVolume{"v": {mount: runtime.Mount{Kind: runtime.Bind, Source: dir}}})
		if err == nil {
			t.Errorf("link to %s: mounts %+v", target, mounts)
		}
	}
}

func TestVolumeNamesStayInTheirDirectory(t *testing.T) {
	for name, want := range map[string]string{"data": "data", "..": "%2E%2E", ".": "%2E", "a/../b": "a%2F..%2Fb", "a.b": "a.b"} {
		if got := fileName(name); got != want {
			t.Errorf("%q is in %q, want %q", name, got, want)
		}
	}
}

func TestNewRemovesWhatAKilledEmulatorLeft(t *testing.T) {
	state := t.TempDir()
	left := filepath.Join(state, "volumes", "instances", "00ab", "secret")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, nil, func(f *fixture) { f.options.StateDir = state })
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
	if err := f.fleet.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.tryDeploy(); err == nil {
		t.Error("a closed Fleet deploys")
	}
}
