package emulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// TestRealContainers runs what takes real containers and a real file system, all of it with a read-only root.
func TestRealContainers(t *testing.T) {
	needRunc(t)
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.RuntimeKind, o.ReadOnlyRoot = runtime.Runc, true })
	img := busyboxImage(t, "/bin/busybox", "sh", "-c", `trap exit TERM; /bin/busybox httpd -f -p "$PORT" -h /www & wait`)
	ref, err := s.Push(t.Context(), "demo/busybox", img)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("image of schema 1", func(t *testing.T) { testSchema1(t, s, img) })
	t.Run("program from a sidecar", func(t *testing.T) { testProgramFromSidecar(t, s, ref) })
	t.Run("volume too small", func(t *testing.T) { testVolumeTooSmall(t, s, ref) })
}

// testSchema1 runs an image whose manifest is of Docker's first schema.
func testSchema1(t *testing.T, s *emulator.Server, img v1.Image) {
	t.Helper()
	pushSchema1(t, s, "demo/old", img)
	spec := service(s, "demo/old")
	spec.InvokerIamDisabled = true
	made := create(t, services(t, s), "old", spec)
	if code, body := get(t, s, made.GetUri()+"/index.html"); code != http.StatusOK || body != "hello from runc\n" {
		t.Errorf("%d %q", code, body)
	}
	rev, err := revisions(t, s).GetRevision(t.Context(), &runpb.GetRevisionRequest{Name: made.GetLatestReadyRevision()})
	if err != nil || !strings.HasPrefix(rev.GetContainers()[0].GetImage(), s.RegistryAddr+"/demo/old") {
		t.Errorf("the revision runs %v, %v", rev.GetContainers(), err)
	}
}

// pushSchema1 writes an image's layers, and a manifest as Docker 1.9 would have.
func pushSchema1(t *testing.T, s *emulator.Server, repo string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(s.RegistryAddr+"/"+repo+":latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	var fs, history []object
	for i, l := range layers {
		if err := remote.WriteLayer(tag.Repository, l, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		compatible, err := json.Marshal(object{"id": fmt.Sprintf("%064d", i), "os": file.OS, "architecture": file.Architecture, "config": file.Config})
		if err != nil {
			t.Fatal(err)
		}
		fs = append([]object{{"blobSum": digest.String()}}, fs...)
		history = append([]object{{"v1Compatibility": string(compatible)}}, history...)
	}
	manifest, err := json.Marshal(object{
		"schemaVersion": 1, "name": repo, "tag": "latest", "architecture": file.Architecture, "fsLayers": fs, "history": history,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+s.RegistryAddr+"/v2/"+repo+"/manifests/latest", bytes.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", string(types.DockerManifestSchema1))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("pushing the manifest: %s %s %v", resp.Status, body, err)
	}
}

// copier is the script of a sidecar that brings a program: it puts it into the memory volume, listens for its startup
// probe and stays.
const copier = `trap exit TERM; /bin/busybox cp /bin/busybox /brought/busybox && /bin/busybox nc -ll -p 9999 -e /bin/busybox true & wait`

// brought gives a service of one container a sidecar with the program that the container starts.
func brought(t *runpb.RevisionTemplate, sidecar, size string) {
	mount := []*runpb.VolumeMount{{Name: "brought", MountPath: "/brought"}}
	t.Volumes = []*runpb.Volume{{Name: "brought", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
		Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: size,
	}}}}
	app := t.Containers[0]
	app.Name, app.DependsOn, app.VolumeMounts = "app", []string{"copier"}, mount
	app.Ports = []*runpb.ContainerPort{{ContainerPort: 8080}}
	t.Containers = append(t.Containers, &runpb.Container{
		Name: "copier", Image: sidecar, VolumeMounts: mount, Command: []string{"/bin/busybox", "sh", "-c", copier},
		StartupProbe: &runpb.Probe{PeriodSeconds: 1, FailureThreshold: 120, ProbeType: &runpb.Probe_TcpSocket{
			TcpSocket: &runpb.TCPSocketAction{Port: 9999},
		}},
	})
}

// testProgramFromSidecar: a container of an empty image, with a read-only root and another user, starts a program that a
// sidecar has put into the memory they share. It finds the sidecar by its name.
func testProgramFromSidecar(t *testing.T, s *emulator.Server, ref string) {
	t.Helper()
	scratch, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{User: "1000:1000"}})
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := s.Push(t.Context(), "demo/nothing", scratch)
	if err != nil {
		t.Fatal(err)
	}
	const app = `b=/brought/busybox; trap exit TERM; $b mkdir /brought/www
		{ $b id -u; $b touch /file 2>&1; $b nc copier 9999 </dev/null && echo found; $b ls /; } > /brought/www/index.html
		$b httpd -f -p "$PORT" -h /brought/www & wait`
	spec := &runpb.Service{InvokerIamDisabled: true, Template: &runpb.RevisionTemplate{
		Containers: []*runpb.Container{{Image: nothing, Command: []string{"/brought/busybox", "sh", "-c", app}}},
	}}
	brought(spec.Template, ref, "16Mi")
	made := create(t, services(t, s), "brought", spec)
	code, body := get(t, s, made.GetUri()+"/index.html")
	for _, want := range []string{"1000\n", "touch: /file: Read-only file system\n", "found\n", "\nbrought\n"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d %q, want %q in it", code, body, want)
		}
	}
}

// testVolumeTooSmall: a sidecar whose program does not fit into the volume ends, and the revision fails with what it said.
func testVolumeTooSmall(t *testing.T, s *emulator.Server, ref string) {
	t.Helper()
	spec := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: ref, Command: []string{"/brought/busybox", "true"}}}}}
	brought(spec.Template, ref, "64Ki")
	spec.Template.Containers[1].Command[3] = `/bin/busybox cp /bin/busybox /brought/busybox`
	op, err := services(t, s).CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "small", Service: spec})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%v, want FailedPrecondition", err)
	}
	made, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/small"})
	if err != nil {
		t.Fatal(err)
	}
	if line := awaitLog(t, s, made, "No space left on device"); !strings.Contains(line, " copier stderr: ") {
		t.Errorf("the log says %s", line)
	}
}
