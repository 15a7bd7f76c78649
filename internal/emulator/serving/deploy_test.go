package serving

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// told are the conditions that were reported, short.
func (f *fixture) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, c := range f.conditions {
		out = append(out, c.GetType()+" "+strings.TrimPrefix(c.GetState().String(), "CONDITION_"))
	}
	return out
}

func TestDeployConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, p runtime.Proc) error {
			pass(1500 * time.Millisecond)
			return web(text("ok"), nil)(ctx, p)
		}
		f := newFixture(t, slow)
		f.deploy()
		if diff := cmp.Diff([]string{
			"Ready RECONCILING",
			"ContainerReady RECONCILING", "ContainerReady SUCCEEDED",
			"ResourcesAvailable RECONCILING", "ResourcesAvailable SUCCEEDED",
			"ContainerHealthy RECONCILING", "ContainerHealthy SUCCEEDED",
			"Active SUCCEEDED", "Ready SUCCEEDED",
		}, f.told()); diff != "" {
			t.Errorf("conditions (-want +got):\n%s", diff)
		}
		if m := f.conditions[6].GetMessage(); !strings.HasPrefix(m, "Containers became healthy in 1.") {
			t.Errorf("message %q", m)
		}
		f.wantLog(`Default STARTUP TCP probe succeeded after 1 attempt for container "hello-1" on port 8080.`)
		f.wantAnswer(f.get("/"), 200, "ok")
		if err := f.tryDeploy(); !errors.Is(err, ErrExists) {
			t.Errorf("deploying twice: %v, want ErrExists", err)
		}
	})
}

const healthText = "Revision 'hello-00001-abc' is not ready and cannot serve traffic. The user-provided container failed to start and " +
	"listen on the port defined provided by the PORT=8080 environment variable within the allocated timeout. This can happen when the " +
	"container port is misconfigured or if the timeout is too short. The health check timeout can be extended. Logs for this revision " +
	"might contain more information.\n\nLogs URL: http://logs\nFor more troubleshooting guidance, see " +
	"https://cloud.google.com/run/docs/troubleshooting#container-failed-to-start"

type failure struct {
	name      string
	app       runtime.Program
	change    func(*fixture)
	condition string
	common    runpb.Condition_CommonReason
	revision  runpb.Condition_RevisionReason
	message   string // the whole of it, or with ... at its end the start
	log       string
	after     time.Duration
}

func pulling(err error) func(*fixture) {
	return func(f *fixture) {
		f.options.Pull = func(context.Context, string) (v1.Image, error) { return nil, err }
	}
}

func exits(e runtime.Exit) runtime.Program {
	return func(context.Context, runtime.Proc) error { return memExit{e} }
}

// deaf runs and never listens.
func deaf(ctx context.Context, p runtime.Proc) error {
	select {
	case <-ctx.Done():
	case <-p.Signals:
	}
	return nil
}

func failures() []failure {
	const unready = "Revision 'hello-00001-abc' is not ready and cannot serve traffic. "
	health := runpb.Condition_HEALTH_CHECK_CONTAINER_ERROR
	return []failure{
		{
			name: "exit", app: exits(runtime.Exit{Code: 1}), condition: "ContainerHealthy", revision: health,
			message: healthText, log: "Container called exit(1).",
		},
		{
			name: "exit with 0", app: exits(runtime.Exit{}), condition: "ContainerHealthy", revision: health,
			message: healthText, log: "The instance was not started. Connection failed with status CANCELLED.",
		},
		{
			name: "signal", app: exits(runtime.Exit{Code: 139, Signal: "SIGSEGV"}), condition: "ContainerHealthy", revision: health,
			message: healthText, log: "Container terminated on signal 11.",
		},
		{
			name: "out of memory", app: exits(runtime.Exit{Code: 137, Signal: "SIGKILL", OOM: true}), condition: "ContainerHealthy",
			revision: health, message: healthText, log: "Memory limit of 512 MiB exceeded with 512 MiB used.",
		},
		{
			name: "does not listen", app: deaf, condition: "ContainerHealthy", revision: health, message: healthText,
			log: `Default STARTUP TCP probe failed 1 time consecutively for container "hello-1" on port 8080. ` +
				"The instance was not started. Connection failed with status DEADLINE_EXCEEDED.",
			after: 240 * time.Second,
		},
		{
			name: "no such command", change: template(func(t *runpb.RevisionTemplate) { t.Containers[0].Command = []string{"/nope"} }),
			condition: "ContainerHealthy", revision: health, message: healthText,
			log: `terminated: Application failed to start: exec "/nope": file does not exist`,
		},
		{
			name: "configured probe", app: deaf, condition: "ContainerHealthy", revision: health,
			change: template(func(t *runpb.RevisionTemplate) {
				t.Containers[0].StartupProbe = &runpb.Probe{InitialDelaySeconds: 5, PeriodSeconds: 4, TimeoutSeconds: 2, FailureThreshold: 3}
			}),
			message: unready + "The user-provided container failed the configured startup probe checks. Logs for this revision might...",
			log:     `STARTUP TCP probe failed 3 times consecutively for container "hello-1" on port 8080.`,
			after:   (5 + 4 + 4 + 2) * time.Second,
		},
		{
			name: "no image", change: pulling(fmt.Errorf("pulling: %w", &transport.Error{StatusCode: http.StatusNotFound})),
			condition: "ContainerReady", common: runpb.Condition_CONTAINER_MISSING, message: unready + "Image 'app' not found.",
		},
		{
			name: "no permission", change: pulling(&transport.Error{StatusCode: http.StatusForbidden}),
			condition: "ContainerReady", common: runpb.Condition_CONTAINER_PERMISSION_DENIED,
			message: unready + "Google Cloud Run Service Agent service-123456789012@serverless-robot-prod.iam.gserviceaccount.com " +
				"must have permission to read the image, app. ...",
		},
		{
			name: "registry down", change: pulling(errors.New("connection refused")), condition: "ContainerReady",
			common: runpb.Condition_INTERNAL, message: unready + "The emulator could not pull image 'app': connection refused.",
		},
		{
			name: "other platform", change: otherPlatform, condition: "ContainerReady", common: runpb.Condition_CONTAINER_MISSING,
			message: unready + "Cloud Run does not support image 'app': Container manifest must support amd64/linux.",
		},
		{
			name: "no secret", change: secretEnv(fs.ErrNotExist), condition: "ResourcesAvailable",
			common: runpb.Condition_SECRETS_ACCESS_CHECK_FAILED,
			message: unready + "spec.template.spec.containers[0].env[0].value_from.secret_key_ref.name: " +
				"Secret projects/123456789012/secrets/key/versions/latest was not found",
		},
		{
			name: "secret denied", change: secretEnv(fs.ErrPermission), condition: "ResourcesAvailable",
			common:  runpb.Condition_SECRETS_ACCESS_CHECK_FAILED,
			message: unready + "spec.template.spec.containers[0].env[0].value_from.secret_key_ref.name: Permission denied on secret: ...",
		},
		{
			name: "runtime broken", condition: "ResourcesAvailable", common: runpb.Condition_INTERNAL,
			change: func(f *fixture) {
				f.runtime.listen = errors.New("no space left on device")
				f.options.Metadata = func(Revision, string) http.Handler { return text("") }
			},
			message: unready + "The emulator could not run it: starting the metadata server of an instance: no space left on device.",
			log:     "no space left on device",
		},
		{
			name: "held back", app: web(text("ok"), nil), condition: "ContainerHealthy", common: runpb.Condition_INTERNAL,
			change: func(f *fixture) {
				f.options.BeforeReady = func(_ context.Context, revision string) error { return errors.New("not " + revision) }
			},
			message: unready + "The emulator could not run it: not hello-00001-abc.",
		},
	}
}

func otherPlatform(f *fixture) {
	f.options.Pull = func(context.Context, string) (v1.Image, error) {
		return mutate.ConfigFile(imageOf(f.t, v1.Config{}), &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	}
}

func secretEnv(err error) func(*fixture) {
	return func(f *fixture) {
		f.options.Secret = func(context.Context, Revision, string, string) ([]byte, error) { return nil, err }
		f.rev.Template.Containers[0].Env = []*runpb.EnvVar{{Name: "KEY", Values: &runpb.EnvVar_ValueSource{
			ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: "key"}},
		}}}
	}
}

func TestDeployFailures(t *testing.T) {
	for _, tc := range failures() {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, tc.app)
				if tc.change != nil {
					f = newFixture(t, tc.app, tc.change)
				}
				begin := time.Now()
				var e *DeployError
				if err := f.tryDeploy(); !errors.As(err, &e) {
					t.Fatalf("error %v, want a DeployError", err)
				}
				if d := time.Since(begin); d < tc.after || d > tc.after+time.Second {
					t.Errorf("it took %s, want %s", d, tc.after)
				}
				f.wantFailure(e, tc)
			})
		})
	}
}

func (f *fixture) wantFailure(e *DeployError, tc failure) {
	f.t.Helper()
	if e.Condition != tc.condition || e.Common != tc.common || e.Revision != tc.revision {
		f.t.Errorf("%s fails with %v, %v; want %s with %v, %v", e.Condition, e.Common, e.Revision, tc.condition, tc.common, tc.revision)
	}
	if prefix, short := strings.CutSuffix(tc.message, "..."); e.Message != tc.message && (!short || !strings.HasPrefix(e.Message, prefix)) {
		f.t.Errorf("message %q\nwant %q", e.Message, tc.message)
	}
	if tc.log != "" {
		f.wantLog(tc.log)
	}
	told := f.told()
	if want := []string{tc.condition + " FAILED", "Ready FAILED"}; len(told) < 2 || !cmp.Equal(told[len(told)-2:], want) {
		f.t.Errorf("conditions %q, want %q at the end", told, want)
	}
	ready := f.conditions[len(f.conditions)-1]
	if ready.GetMessage() != e.Message || ready.GetReason() != tc.common || ready.GetRevisionReason() != tc.revision {
		f.t.Errorf("Ready is %v", ready)
	}
	f.wantInstances(0)
	if open, _ := f.runtime.counts(); open != 0 {
		f.t.Errorf("%d sandboxes are left", open)
	}
	f.wantAnswer(f.get("/"), 503, "Service Unavailable")
}

func TestDeployEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, deaf)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if err := f.fleet.Deploy(ctx, f.rev, f.report); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want DeadlineExceeded", err)
		}
		f.wantInstances(0)
	})
}

func TestRemoveDuringDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, deaf)
		deployed := make(chan error, 1)
		go func() { deployed <- f.tryDeploy() }()
		pass(time.Second)
		if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
			t.Error(err)
		}
		if err := <-deployed; !errors.Is(err, ErrRemoved) {
			t.Errorf("error %v, want ErrRemoved", err)
		}
		if open, _ := f.runtime.counts(); open != 0 {
			t.Errorf("%d sandboxes are left", open)
		}
	})
}

func TestDependsOnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		at := map[string]time.Duration{}
		program := func(name string, ready time.Duration) runtime.Program {
			return func(ctx context.Context, p runtime.Proc) error {
				at[name] = time.Since(begin).Truncate(time.Second)
				pass(ready)
				return web(text(name), nil)(ctx, p)
			}
		}
		f := newFixture(t, program("app", 0), template(func(t *runpb.RevisionTemplate) {
			probe := &runpb.Probe{PeriodSeconds: 1, FailureThreshold: 60, ProbeType: &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: 9000}}}
			t.Containers = []*runpb.Container{
				{Name: "app", Image: "app", Ports: []*runpb.ContainerPort{{ContainerPort: 8080}}, DependsOn: []string{"cache"}},
				{Name: "cache", Image: "cache", DependsOn: []string{"init"}, StartupProbe: probe, Env: []*runpb.EnvVar{{Name: "PORT", Values: &runpb.EnvVar_Value{Value: "9000"}}}},
				{Name: "init", Image: "init"}, // without a probe: it has started when it runs
			}
		}))
		f.runtime.programs["cache"] = program("cache", 4*time.Second)
		f.runtime.programs["init"] = deaf
		f.deploy()
		if at["cache"] != 0 || at["app"] != 4*time.Second {
			t.Errorf("started after %v, want cache at once and app when cache listens", at)
		}
		f.wantAnswer(f.get("/"), 200, "app")
		f.wantLog(`STARTUP TCP probe succeeded after 5 attempts for container "cache" on port 9000.`)
		if c := f.runtime.container(0); c.Name != "init" {
			t.Errorf("container %s started first, want init", c.Name)
		}
	})
}

// TestStartupBoost: who asks for it has more CPU until ten seconds after the start.
func TestStartupBoost(t *testing.T) {
	for cpu, want := range map[string][]float64{"500m": {2, 0.5}, "1": {2, 1}, "2": {4, 2}, "4": {8, 4}, "8": {8, 8}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, web(text("ok"), nil), template(func(t *runpb.RevisionTemplate) {
				t.Containers[0].Resources = &runpb.ResourceRequirements{StartupCpuBoost: true, Limits: map[string]string{"cpu": cpu}}
			}))
			f.deploy()
			pass(boostTime - time.Second)
			if diff := cmp.Diff(want[:1], f.runtime.limits()); diff != "" {
				t.Errorf("%s CPU, at the start (-want +got):\n%s", cpu, diff)
			}
			pass(2 * time.Second)
			if diff := cmp.Diff(want, f.runtime.limits()); diff != "" {
				t.Errorf("%s CPU, later (-want +got):\n%s", cpu, diff)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(text("ok"), nil))
		f.deploy()
		pass(time.Minute)
		if got := f.runtime.limits(); len(got) > 0 {
			t.Errorf("limits %v without a boost", got)
		}
	})
}

func TestSidecarExitEndsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		f := newFixture(t, web(text("ok"), nil), template(func(t *runpb.RevisionTemplate) {
			t.Containers = []*runpb.Container{
				{Name: "app", Image: "app", Ports: []*runpb.ContainerPort{{ContainerPort: 8080}}},
				{Name: "side", Image: "side"},
			}
		}))
		f.runtime.programs["side"] = func(context.Context, runtime.Proc) error { return <-exit }
		f.deploy()
		f.wantInstances(1)
		exit <- nil
		synctest.Wait()
		f.wantInstances(0)
		if open, _ := f.runtime.counts(); open != 0 {
			t.Errorf("%d sandboxes are left", open)
		}
	})
}

func TestExitByItselfIsNotRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		f := newFixture(t, web(text("ok"), exit))
		f.deploy()
		exit <- nil
		pass(time.Hour)
		f.wantInstances(0)
		f.wantLog("Container called exit(0).")
		if _, made := f.runtime.counts(); made != 1 {
			t.Errorf("%d instances were made, want 1", made)
		}
		f.wantAnswer(f.get("/"), 200, "ok")
	})
}
