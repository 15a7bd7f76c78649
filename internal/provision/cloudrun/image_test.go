package cloudrun_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/provision/cloudrun"
)

// containers are a twin's by name; the one that is entered is "".
func (p *platform) containers(t *testing.T, twin string) map[string]*runpb.Container {
	t.Helper()
	all := map[string]*runpb.Container{}
	for _, c := range p.service(t, twin).GetTemplate().GetContainers() {
		if len(c.GetPorts()) > 0 {
			all[""] = c
			continue
		}
		all[c.GetName()] = c
	}
	return all
}

// unpush takes an image out of the registry: its tag and its manifest.
func (p *platform) unpush(t *testing.T, repo string) {
	t.Helper()
	tag, err := name.NewTag(p.RegistryAddr + "/" + p.Project + "/" + repo + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Head(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(remote.Delete(tag), remote.Delete(tag.Digest(desc.Digest.String()))); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherImage(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	p.deploy(t, "app", p.push(t, "app", image(t, "/crash")))
	fixed := p.push(t, "fixed", image(t, "/app"))
	twin, env := p.enter(t, func(r *provision.Request) { r.Target.Image = fixed })
	wantEnv(t, env, "WHICH=FIRST")
	if got := p.containers(t, twin.Name)[""].GetImage(); !strings.HasPrefix(got, strings.TrimSuffix(fixed, ":latest")+"@sha256:") {
		t.Errorf("runs %s", got)
	}
	_, err := p.create(t, func(r *provision.Request) { r.Target.Image = fixed + "-gone" })
	wantError(t, err, "there is no image "+fixed+"-gone")
	_, err = p.create(t, func(r *provision.Request) { r.Target.Image = "Not An Image" })
	wantError(t, err, "reading the image's name")
}

func TestImageForArm(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	p.deploy(t, "app", p.push(t, "app", image(t, "/app")))
	img := image(t, "/app")
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture = "arm64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	for _, how := range []provision.InjectMethod{provision.InjectAuto, provision.InjectLayer, provision.InjectSidecar} {
		_, err = p.create(t, func(r *provision.Request) { r.Target.Image, r.Inject = p.push(t, "arm", img), how })
		wantError(t, err, "is for linux/arm64; Cloud Run runs linux/amd64", "docker buildx build --platform linux/amd64")
	}
	p.wantNoTwin(t)
}

// wantNoTwin: nothing was made.
func (p *platform) wantNoTwin(t *testing.T) {
	t.Helper()
	for twin, err := range p.Twins(t.Context()) {
		t.Errorf("there is %s, %v", twin.Name, err)
	}
}

// Where nothing can be pushed a sidecar brings the agent, unless a layer was asked for.
func TestPushRefused(t *testing.T) {
	var closed atomic.Bool
	p := newPlatform(t, emulator.Options{Faults: emulator.Faults{DenyPush: func(string) bool { return closed.Load() }}})
	p.deploy(t, "app", p.push(t, "closed", image(t, "/app")))
	closed.Store(true)
	twin, env := p.enter(t, nil)
	wantEnv(t, env, "WHICH=FIRST")
	if n := p.said("a sidecar brings the agent: " + p.RegistryAddr + "/" + p.Project + "/closed takes no push"); n != 1 {
		t.Errorf("said %d times in %q", n, p.steps)
	}
	all := p.containers(t, twin.Name)
	if len(all) != 2 || all["cloudssh-agent"] == nil {
		t.Errorf("containers %v", all)
	}
	if got := all["cloudssh-agent"].GetImage(); !strings.Contains(got, "/agent@sha256:") {
		t.Errorf("the agent comes from %s", got)
	}
	_, err := p.create(t, func(r *provision.Request) { r.Inject = provision.InjectLayer })
	wantError(t, err, "pushing", "artifactregistry.repositories.uploadArtifacts, in roles/artifactregistry.writer")

	var planned []provision.Plan
	_, err = p.create(t, func(r *provision.Request) {
		r.AgentImage = p.RegistryAddr + "/" + p.Project + "/nowhere:v1"
		r.Planned = func(plan provision.Plan) { planned = append(planned, plan) }
	})
	wantError(t, err, "and a sidecar cannot bring the agent: there is no image of the agent at", "--agent-image IMAGE", "roles/artifactregistry.writer")
	if len(planned) > 0 {
		t.Errorf("planned %+v", planned)
	}
}

func TestSidecarAskedFor(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	p.deploy(t, "app", p.push(t, "app", image(t, "/app")))
	var planned []provision.Plan
	twin, env := p.enter(t, func(r *provision.Request) {
		r.Inject, r.Planned = provision.InjectSidecar, func(plan provision.Plan) { planned = append(planned, plan) }
	})
	wantEnv(t, env, "WHICH=FIRST")
	all := p.containers(t, twin.Name)
	if len(all) != 2 || all["cloudssh-agent"] == nil || p.said("adding the agent") > 0 {
		t.Errorf("containers %v, steps %q", all, p.steps)
	}
	if len(planned) != 1 || planned[0].Inject != provision.InjectSidecar || planned[0].Twin.Name != twin.Name || len(planned[0].Fields) == 0 {
		t.Errorf("planned %+v", planned)
	}
	_, err := p.create(t, func(r *provision.Request) { r.Inject = "magic" })
	wantError(t, err, `no way "magic" to add the agent`)
}

func TestNoAgentImage(t *testing.T) {
	p := newPlatform(t, emulator.Options{}, func(o *cloudrun.Options) { o.AgentImage = "" })
	p.deploy(t, "app", p.push(t, "app", image(t, "/app")))
	_, err := p.create(t, func(r *provision.Request) { r.Inject = provision.InjectSidecar })
	wantError(t, err, "a sidecar needs an image to copy the agent from", "cloudssh app --agent-image IMAGE")
	_, err = p.create(t, func(r *provision.Request) { r.AgentImage = "127.0.0.1:1/agent:v1"; r.Inject = provision.InjectSidecar })
	wantError(t, err, "did not become ready", "cloudssh app --agent-image IMAGE") // only the platform could have read it
	p.wantNoTwin(t)
}

// An image whose tag is gone is entered by its digest; one that is gone from the registry by the platform's own copy.
func TestImageGone(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	first := image(t, "/app")
	ref := p.push(t, "app", first)
	p.deploy(t, "app", ref)
	digest, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image(t, "/crash")); err != nil { // the tag goes elsewhere
		t.Fatal(err)
	}
	twin, env := p.enter(t, func(r *provision.Request) { r.Inject = provision.InjectSidecar })
	wantEnv(t, env, "WHICH=FIRST")
	if got := p.containers(t, twin.Name)[""].GetImage(); got != tag.Digest(digest.String()).Name() {
		t.Errorf("runs %s", got)
	}

	gone := p.push(t, "gone", image(t, "/app"))
	p.deploy(t, "gone", gone)
	p.unpush(t, "gone")
	plan, err := p.Plan(t.Context(), p.request(func(r *provision.Request) { r.Target.Name = "gone" }), p.progress)
	if err != nil || plan.Twin.Name != "gone-ssh" {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if p.said("restoring") > 0 {
		t.Errorf("a plan changed the registry: %q", p.steps)
	}
	_, env = p.enter(t, func(r *provision.Request) { r.Target.Name = "gone" })
	wantEnv(t, env, "WHICH=FIRST")
	if n := p.said("restoring the image"); n != 1 {
		t.Errorf("restored %d times: %q", n, p.steps)
	}
}

// With the image of the container that is entered, those of the others may be gone.
func TestImagesGone(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	svc := &runpb.Service{Template: template(p.push(t, "web", image(t, "/app")), "WEB")}
	svc.Template.Containers[0].Ports = []*runpb.ContainerPort{{ContainerPort: 8080}}
	svc.Template.Containers = append(svc.Template.Containers, &runpb.Container{Name: "side", Image: p.push(t, "side", image(t, "/work"))})
	p.make(t, "app", svc)
	p.unpush(t, "web")
	p.unpush(t, "side")
	twin, env := p.enter(t, nil)
	wantEnv(t, env, "WHICH=WEB")
	if got := p.containers(t, twin.Name)["side"].GetImage(); !strings.Contains(got, "/side@sha256:") {
		t.Errorf("the sidecar runs %s", got)
	}
}

// A job whose image is gone cannot be asked for it before it has run.
func TestJobImageGone(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	for _, job := range []string{"idle", "ran"} {
		op, err := p.jobs.CreateJob(t.Context(), &runpb.CreateJobRequest{Parent: p.parent(), JobId: job, Job: &runpb.Job{
			Template: &runpb.ExecutionTemplate{Template: &runpb.TaskTemplate{
				Containers: []*runpb.Container{{Image: p.push(t, job, image(t, "/done"))}},
			}},
		}})
		if err == nil {
			_, err = op.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	op, err := p.jobs.RunJob(t.Context(), &runpb.RunJobRequest{Name: p.parent() + "/jobs/ran"})
	if err == nil {
		_, err = op.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	p.unpush(t, "idle")
	p.unpush(t, "ran")
	job := func(name string) func(*provision.Request) {
		return func(r *provision.Request) { r.Target = provision.Target{Kind: provision.KindJob, Name: name} }
	}
	_, err = p.create(t, job("idle"))
	wantError(t, err, "of job idle is gone from its registry\nCloud Run gives its own copy of what a job has run, and this one has not",
		"cloudssh job:idle --image IMAGE")
	p.wantNoTwin(t)
	_, env := p.enter(t, job("ran"))
	wantEnv(t, env, "CLOUD_RUN_JOB=ran")
}

// An image in the format of Docker's first schema takes no layer.
func TestSchema1(t *testing.T) {
	p := newPlatform(t, emulator.Options{})
	p.deploy(t, "app", p.pushSchema1(t, "old", "amd64"))
	twin, env := p.enter(t, nil)
	wantEnv(t, env, "WHICH=FIRST")
	if p.said("a sidecar brings the agent: ") != 1 || p.said("Docker schema 1: no layer can be added to it") != 1 {
		t.Errorf("steps %q", p.steps)
	}
	var agent struct {
		App struct{ Entrypoint, Args []string }
	}
	for _, e := range p.containers(t, twin.Name)[""].GetEnv() {
		if e.GetName() == "CLOUDSSH_AGENT" {
			if err := json.Unmarshal([]byte(e.GetValue()), &agent); err != nil {
				t.Error(err)
			}
		}
	}
	if got := fmt.Sprint(agent.App); got != "{[/app] [--port 1]}" {
		t.Errorf("the app is %s", got)
	}
	_, err := p.create(t, func(r *provision.Request) { r.Inject = provision.InjectLayer })
	wantError(t, err, "the agent cannot go in as a layer", "cloudssh app --inject sidecar")
	_, err = p.create(t, func(r *provision.Request) { r.Target.Image = p.pushSchema1(t, "arm", "arm64") })
	wantError(t, err, "unsupported image")
}

// pushSchema1 writes a manifest that no current library writes.
func (p *platform) pushSchema1(t *testing.T, repo, architecture string) string {
	t.Helper()
	ref := p.push(t, repo, image(t, "/app")) // its layer
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(v1.ConfigFile{
		Architecture: architecture, OS: "linux", Config: v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"--port", "1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "name": tag.RepositoryStr(), "tag": "v1", "architecture": architecture,
		"fsLayers": []any{map[string]any{"blobSum": digest.String()}},
		"history":  []any{map[string]any{"v1Compatibility": string(config)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.put(t, "/v2/"+tag.RepositoryStr()+"/manifests/v1", string(types.DockerManifestSchema1), manifest)
	return tag.Context().Tag("v1").Name()
}

func (p *platform) put(t *testing.T, path, contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, "http://"+p.RegistryAddr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s %s", path, resp.Status, said)
	}
}

// Who may not read an image can say what it runs: a sidecar needs no more.
func TestImageUnreadable(t *testing.T) {
	var closed atomic.Bool
	p := newPlatform(t, emulator.Options{Faults: emulator.Faults{DenyPull: func(repo string) bool {
		return closed.Load() && strings.HasSuffix(repo, "/app")
	}}})
	p.deploy(t, "app", p.push(t, "app", image(t, "/app")))
	closed.Store(true)
	_, err := p.create(t, nil)
	wantError(t, err, "reading image", "roles/artifactregistry.reader", "cloudssh app --command PROGRAM")
	command := func(r *provision.Request) { r.Overrides.Command = []string{"/app"} }
	twin, env := p.enter(t, command)
	wantEnv(t, env, "WHICH=FIRST")
	if all := p.containers(t, twin.Name); len(all) != 2 || p.said("a sidecar brings the agent: reading image") != 1 {
		t.Errorf("containers %v, steps %q", all, p.steps)
	}
	_, err = p.create(t, func(r *provision.Request) { command(r); r.Inject = provision.InjectLayer })
	wantError(t, err, "the agent cannot go in as a layer: reading image", "cloudssh app --inject sidecar")
}
