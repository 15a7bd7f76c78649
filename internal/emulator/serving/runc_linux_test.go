package serving

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// overRunc makes a fixture use real containers, whose image is busybox and whose command is a script.
func overRunc(script string) func(*fixture) {
	return func(f *fixture) {
		f.t.Helper()
		if os.Geteuid() != 0 {
			f.t.Skip("SKIPPED, NOT TESTED: real containers need root")
		}
		if _, err := exec.LookPath("runc"); err != nil {
			f.t.Skip("SKIPPED, NOT TESTED: runc is not installed; apt-get install runc")
		}
		image := busybox(f.t)
		r, err := runtime.New(f.t.Context(), runtime.Options{Kind: runtime.Runc, StateDir: f.t.TempDir()})
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() {
			if err := r.Close(); err != nil {
				f.t.Error(err)
			}
		})
		f.options.Runtime = r
		f.options.Pull = func(context.Context, string) (v1.Image, error) {
			return mutate.Config(image, v1.Config{
				Entrypoint: []string{"/bin/busybox", "sh", "-c", script}, Env: []string{"FROM=image", "BOTH=image"}, User: "1234", WorkingDir: "/tmp",
			})
		}
	}
}

// busybox is an image with a static busybox and a /tmp.
func busybox(t *testing.T) v1.Image {
	t.Helper()
	name, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: busybox is not installed; apt-get install busybox-static")
	}
	if b, err := elf.Open(name); err != nil {
		t.Fatal(err)
	} else if libs, err := b.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Skip("SKIPPED, NOT TESTED: busybox is not static; apt-get install busybox-static")
	}
	program, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []*tar.Header{
		{Name: "bin", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "tmp", Typeflag: tar.TypeDir, Mode: 0o1777},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(program); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(imageOf(t, v1.Config{}), l)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

const appScript = `
trap 'echo bye; exit 0' TERM
busybox mkdir www
{ busybox env; busybox id; busybox pwd; busybox cat /shm/from-sidecar; busybox cat /run/key/key; busybox wget -q -O - http://metadata.google.internal/who; } > www/facts
busybox httpd -f -p $PORT -h www &
wait`

func TestRealContainers(t *testing.T) {
	f := newFixture(t, nil, overRunc(appScript), func(f *fixture) {
		mount := &runpb.VolumeMount{Name: "shm", MountPath: "/shm"}
		f.options.Metadata = func(Revision, string) http.Handler { return text("metadata is here") }
		f.options.Secret = func(context.Context, Revision, string, string) ([]byte, error) { return []byte("the secret\n"), nil }
		f.rev.Template.Volumes = []*runpb.Volume{
			{Name: "shm", VolumeType: emptyDir(runpb.EmptyDirVolumeSource_MEMORY, "1Mi")},
			{Name: "key", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{Secret: "key"}}},
		}
		f.rev.Template.Containers = []*runpb.Container{
			{
				Name: "app", Image: "app", Ports: []*runpb.ContainerPort{{ContainerPort: 8081}}, DependsOn: []string{"side"},
				VolumeMounts: []*runpb.VolumeMount{mount, {Name: "key", MountPath: "/run/key"}},
				Env:          []*runpb.EnvVar{{Name: "BOTH", Values: &runpb.EnvVar_Value{Value: "service"}}},
			},
			{
				Name: "side", Image: "app", VolumeMounts: []*runpb.VolumeMount{mount},
				Command: []string{"/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; echo 'shared memory' > /shm/from-sidecar; busybox httpd -f -p 9000 & wait"},
				StartupProbe: &runpb.Probe{
					PeriodSeconds: 1, FailureThreshold: patience, ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 9000}},
				},
			},
		}
	})
	f.deploy()
	w := f.get("/facts")
	for _, want := range []string{
		"FROM=image\n", "BOTH=service\n", "PORT=8081\n", "K_SERVICE=hello\n", "K_REVISION=hello-00001-abc\n", "K_CONFIGURATION=hello\n",
		"uid=1234", "/tmp\n", "shared memory\n", "the secret\n", "metadata is here",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the container does not see %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%d %s\n%s", w.Code, w.Body, f.logs())
	}
	if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
		t.Error(err)
	}
	f.wantLog("app stdout: bye") // said at SIGTERM
}

func TestRealContainerFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		command []string
		log     string
	}{
		"no such command": {[]string{"/nope"}, "terminated: Application failed to start: "},
		"exit":            {[]string{"/bin/busybox", "false"}, "Container called exit(1)."},
		"out of memory":   {[]string{"/bin/busybox", "tail", "/dev/zero"}, "Memory limit of 32 MiB exceeded with 32 MiB used."},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil, overRunc(""), template(func(t *runpb.RevisionTemplate) {
				t.Containers[0].Command = tc.command
				t.Containers[0].Resources = &runpb.ResourceRequirements{Limits: map[string]string{"memory": "32Mi"}}
			}))
			var e *DeployError
			if err := f.tryDeploy(); !errors.As(err, &e) || e.Message != healthText {
				t.Errorf("error %v, want the platform's", err)
			}
			f.wantLog(tc.log)
			f.wantInstances(0)
		})
	}
}
