package cli_test

import (
	"context"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// A refusal is something that cannot be entered, or not in that way.
type refusal struct {
	name   string
	change func(t *testing.T, w *world, s *runpb.Service)
	args   []string
	want   []string // in what cloudssh says
}

func refusals() []refusal {
	return []refusal{
		{name: "unknown container", args: []string{"--container", "none"}, want: []string{"none", "main, side"}, change: withSide},
		{name: "cpu", args: []string{"--cpu", "3"}, want: []string{"--cpu"}},
		{name: "memory for the cpu", args: []string{"--cpu", "1", "--memory", "16Gi"}, want: []string{"--memory"}},
		{name: "reserved variable", args: []string{"--update-env-vars", "K_SERVICE=x"}, want: []string{"K_SERVICE"}},
		{name: "egress without a network", args: []string{"--vpc-egress", "all-traffic"}, want: []string{"--vpc-egress"}},
		{name: "no such tag", args: []string{"--tag", "canary"}, want: []string{"canary"}},
		{name: "no such revision", args: []string{"--revision", "nope"}, want: []string{"no revision nope", "--revision target-"}},
		{name: "no such image", args: []string{"--image", "REGISTRY/demo/none:latest"}, want: []string{"REGISTRY/demo/none"}},
		{
			name: "secret", args: []string{"--set-secrets", "KEY=locked:latest"},
			want: []string{"locked", "roles/secretmanager.secretAccessor", "gcloud secrets add-iam-policy-binding"},
		},
		{
			name: "agent's image gone", args: []string{"--inject", "sidecar", "--agent-image", "REGISTRY/demo/none:latest"},
			want: []string{"REGISTRY/demo/none", "--agent-image"},
		},
	}
}

// TestRefused: what cannot be done is said, with what helps, and leaves nothing.
func TestRefused(t *testing.T) {
	w := emptyWorld(t, emulator.Options{Secret: func(context.Context, string, string) ([]byte, error) { return nil, fs.ErrPermission }})
	w.pushAgent(t)
	w.deploy(t, "target", helloImage(t), func(s *runpb.Service) { withSide(t, w, s) })
	for _, r := range refusals() {
		t.Run(r.name, func(t *testing.T) {
			args := []string{"target"}
			for _, a := range append(r.args, "--exec", "true") {
				args = append(args, strings.ReplaceAll(a, "REGISTRY", w.RegistryAddr))
			}
			got := w.cloudssh(t, args...)
			if got.code != 255 && got.code != 2 {
				t.Errorf("exit code %d", got.code)
			}
			for _, want := range r.want {
				if want = strings.ReplaceAll(want, "REGISTRY", w.RegistryAddr); !strings.Contains(got.stderr, want) {
					t.Errorf("no %q in:\n%s", want, got.stderr)
				}
			}
			w.demandOnly(t, "target")
		})
	}
}

// withSide adds a container to a service.
func withSide(_ *testing.T, _ *world, s *runpb.Service) {
	main := s.Template.Containers[0]
	main.Name, main.Ports = "main", []*runpb.ContainerPort{{ContainerPort: 8080}}
	s.Template.Containers = append(s.Template.Containers[:1], &runpb.Container{
		Name: "side", Image: main.Image, Command: []string{"/bin/sh", "-c", serves(7000)},
	})
}

// TestRefusedImages: images that Cloud Run does not run, or that take no layer.
func TestRefusedImages(t *testing.T) {
	w := emptyWorld(t, emulator.Options{})
	w.pushAgent(t)
	w.deploy(t, "target", helloImage(t))
	arm := w.push(t, "arm", armImage(t))
	got := w.cloudssh(t, "target", "--image", arm, "--exec", "true")
	got.demand(t, 255, "arm64")
	w.demandOnly(t, "target")
}

// armImage is the sample for another processor.
func armImage(t *testing.T) v1.Image {
	t.Helper()
	img := helloImage(t)
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.Architecture = "arm64"
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// TestRefusedPush: where the registry takes no push a sidecar brings the agent,
// unless a layer was asked for.
func TestRefusedPush(t *testing.T) {
	var deny atomic.Bool
	w := emptyWorld(t, emulator.Options{Faults: emulator.Faults{DenyPush: func(string) bool { return deny.Load() }}})
	w.pushAgent(t)
	w.deploy(t, "target", helloImage(t))
	deny.Store(true)
	got := w.cloudssh(t, "target", "--exec", "ls /.cloudssh")
	got.demand(t, 0, "sidecar")
	if !strings.Contains(got.stdout, "cloudssh-agent") {
		t.Errorf("no agent in %q", got.stdout)
	}
	got = w.cloudssh(t, "target", "--inject", "layer", "--exec", "true")
	got.demand(t, 255, "pushing")
	w.demandOnly(t, "target")
}

// TestRefusedByPolicy: an organisation forbids what a twin needs.
func TestRefusedByPolicy(t *testing.T) {
	w := emptyWorld(t, emulator.Options{Policies: map[string][]string{"run.allowedIngress": {"internal"}}})
	w.deploy(t, "inside", helloImage(t), func(s *runpb.Service) { s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY })
	got := w.cloudssh(t, "inside", "--exec", "true")
	got.demand(t, 255, "run.allowedIngress")
	if !strings.Contains(got.stderr, "administrator") {
		t.Errorf("nobody to ask in:\n%s", got.stderr)
	}
	w.demandOnly(t, "inside")
}
