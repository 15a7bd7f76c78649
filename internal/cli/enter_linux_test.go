package cli_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

// An entry is something that was deployed, and what a person sees who enters it.
type entry struct {
	name   string // what cloudssh is given, first its name
	args   []string
	deploy func(t *testing.T, w *world)
	// bare: the image has no shell, and an emulator whose roots are read-only.
	bare bool
	// lists is in what `ls /` prints, env in `env`, text in the file.
	lists, env, file, text string
}

// entries are the kinds of things there are.
func entries() []entry {
	return []entry{
		{name: "crashing", deploy: deployCrashing, lists: "app", env: "MARK=crashing", file: "/app/README", text: "The sample service"},
		{
			name: "idle", args: []string{"--revision", "idle-old"}, deploy: deployIdle,
			lists: "app", env: "MARK=old", file: "/app/README", text: "The sample service",
		},
		{name: "three", deploy: deployThree, lists: "app", env: "MARK=ingress", file: "/shared/first", text: "written by first"},
		{name: "job:nightly", deploy: deployJob, lists: "app", env: "CLOUD_RUN_JOB=nightly", file: "/app/README", text: "The sample service"},
		{name: "worker-pool:pullers", deploy: deployPool, lists: "app", env: "MARK=pool", file: "/app/README", text: "The sample service"},
		{name: "scratch", deploy: deployScratch, bare: true, lists: "hello", env: "MARK=scratch", file: "/etc/hosts", text: "localhost"},
	}
}

// TestEnter: whatever was deployed, a person gets a prompt in it, looks around
// and leaves nothing behind; with the agent in a layer, and in a sidecar.
func TestEnter(t *testing.T) {
	for _, bare := range []bool{false, true} {
		w := emptyWorld(t, emulator.Options{ReadOnlyRoot: bare})
		w.pushAgent(t)
		for _, e := range entries() {
			if e.bare != bare {
				continue
			}
			e.deploy(t, w)
			for _, inject := range []string{"layer", "sidecar"} {
				t.Run(e.name+" by "+inject, func(t *testing.T) { w.enter(t, e, inject) })
			}
		}
	}
}

// enter looks around in a twin.
func (w *world) enter(t *testing.T, e entry, inject string) {
	t.Helper()
	before := w.services(t)
	m := w.terminal(t, append([]string{e.name, "--inject", inject}, e.args...)...)
	m.sees("a prompt", prompts(1))
	m.types("ls /\r")
	m.sees(e.lists, word(e.lists))
	m.sees("the next prompt", prompts(2))
	m.types("clear; ps\r") // a screen has 24 lines
	m.shows("cloudssh-agent")
	m.types("clear; env | grep " + strings.Split(e.env, "=")[0] + "=\r")
	m.sees(e.env, word(e.env))
	m.types("clear; cat " + e.file + "\r")
	m.shows(e.text)
	m.types("exit\r")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, m.screen.String())
	}
	w.demandOnly(t, before...)
}

// prompts reports whether a screen has that many lines that begin with a prompt.
func prompts(n int) func(string) bool {
	prompt := regexp.MustCompile(`(?m)^[^ ]* ?[#$] `)
	return func(screen string) bool { return len(prompt.FindAllString(screen, -1)) >= n }
}

// word reports whether a line of the screen, or a column of it, is a word.
func word(w string) func(string) bool {
	alone := regexp.MustCompile(`(?m)(^|\s)` + regexp.QuoteMeta(w) + `/?(\s|$)`)
	return func(screen string) bool { return alone.MatchString(screen) }
}

// pushAgent puts the agent's own image into the registry, as releases do.
func (w *world) pushAgent(t *testing.T) {
	t.Helper()
	img, err := images.AgentImage(t.Context(), "amd64", "test")
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "CLOUDSSH_AGENT_IMAGE="+w.push(t, "cloudssh-agent", img))
}

// options are those of Google's clients of the emulator.
func (w *world) options() []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(w.Addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func env(name, value string) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
}

// helloImage is the sample's image.
func helloImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// deployCrashing deploys a service that has never come up.
func deployCrashing(t *testing.T, w *world) {
	t.Helper()
	s := &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{
		Image: w.push(t, "crashing", helloImage(t)), Command: []string{"/bin/sh", "-c", "echo no database >&2; exit 3"},
		Env: []*runpb.EnvVar{env("MARK", "crashing")},
	}}}}
	op, err := w.client.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: w.parent(), ServiceId: "crashing", Service: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err == nil {
		t.Fatal("a service that crashes became ready")
	}
}

// deployIdle deploys a service whose first revision has no traffic any more.
func deployIdle(t *testing.T, w *world) {
	t.Helper()
	w.deploy(t, "idle", helloImage(t), func(s *runpb.Service) {
		s.Template.Revision = "idle-old"
		s.Template.Containers[0].Env = []*runpb.EnvVar{env("MARK", "old")}
	})
	s, err := w.client.GetService(t.Context(), &runpb.GetServiceRequest{Name: w.parent() + "/services/idle"})
	if err != nil {
		t.Fatal(err)
	}
	s.Template.Revision = "idle-new"
	s.Template.Containers[0].Env = []*runpb.EnvVar{env("MARK", "new")}
	op, err := w.client.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// deployThree deploys three containers that start one after the other and share
// a volume.
func deployThree(t *testing.T, w *world) {
	t.Helper()
	image := w.push(t, "three", helloImage(t))
	mount := []*runpb.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	limits := func() *runpb.ResourceRequirements {
		return &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "1", "memory": "512Mi"}}
	}
	side := func(name string, port int32, script string, after ...string) *runpb.Container {
		return &runpb.Container{
			Name: name, Image: image, Command: []string{"/bin/sh", "-c", script}, DependsOn: after, VolumeMounts: mount, Resources: limits(),
			StartupProbe: &runpb.Probe{ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: port}}, PeriodSeconds: 1, FailureThreshold: 60},
		}
	}
	w.deploy(t, "three", helloImage(t), func(s *runpb.Service) {
		s.Template.Volumes = []*runpb.Volume{{Name: "shared", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
			Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "16Mi",
		}}}}
		app := s.Template.Containers[0]
		app.Name, app.Ports = "app", []*runpb.ContainerPort{{ContainerPort: 8080}}
		app.Env, app.VolumeMounts, app.DependsOn, app.Resources = []*runpb.EnvVar{env("MARK", "ingress")}, mount, []string{"second"}, limits()
		s.Template.Containers = append(s.Template.Containers,
			side("first", 7001, "echo written by first >/shared/first; "+serves(7001)),
			side("second", 7002, "cat /shared/first >/shared/second && "+serves(7002), "first"))
	})
}

// serves is a script that listens, and ends at once when it is told to.
func serves(port int) string {
	return fmt.Sprintf("trap 'exit 0' TERM; nc -ll -p %d -e true & wait", port)
}

// deployJob makes a job that has never run.
func deployJob(t *testing.T, w *world) {
	t.Helper()
	c, err := run.NewJobsClient(t.Context(), w.options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	op, err := c.CreateJob(t.Context(), &runpb.CreateJobRequest{Parent: w.parent(), JobId: "nightly", Job: &runpb.Job{
		Template: &runpb.ExecutionTemplate{Template: &runpb.TaskTemplate{Containers: []*runpb.Container{{
			Image: w.push(t, "nightly", helloImage(t)), Command: []string{"/bin/false"},
		}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// deployPool makes a worker pool.
func deployPool(t *testing.T, w *world) {
	t.Helper()
	c, err := run.NewWorkerPoolsClient(t.Context(), w.options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	op, err := c.CreateWorkerPool(t.Context(), &runpb.CreateWorkerPoolRequest{Parent: w.parent(), WorkerPoolId: "pullers", WorkerPool: &runpb.WorkerPool{
		Template: &runpb.WorkerPoolRevisionTemplate{Containers: []*runpb.Container{{
			Image: w.push(t, "pullers", helloImage(t)), Command: []string{"/bin/sh", "-c", serves(7000)}, Env: []*runpb.EnvVar{env("MARK", "pool")},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A pool that runs would keep the emulator busy to the end.
	t.Cleanup(func() {
		op, err := c.DeleteWorkerPool(context.WithoutCancel(t.Context()), &runpb.DeleteWorkerPoolRequest{Name: w.parent() + "/workerPools/pullers"})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := op.Wait(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// deployScratch deploys one static binary in an empty image, which runs as UID
// 65532.
func deployScratch(t *testing.T, w *world) {
	t.Helper()
	img, err := images.HelloBare(t.Context(), "amd64", "test")
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "scratch", img, func(s *runpb.Service) { s.Template.Containers[0].Env = []*runpb.EnvVar{env("MARK", "scratch")} })
}
