package serving

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

type status int

func (s status) Error() string { return "status" }
func (s status) ExitCode() int { return int(s) }

// ofTask makes a fixture's revision an attempt of a task.
func ofTask(change func(*runpb.RevisionTemplate)) func(*fixture) {
	return func(f *fixture) {
		f.rev.Kind, f.rev.Env = Job, []string{"CLOUD_RUN_JOB=hello"}
		if change != nil {
			change(f.rev.Template)
		}
	}
}

func TestRunTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, p runtime.Proc) error {
			if p.Getenv("CLOUD_RUN_JOB") != "hello" || p.Getenv("PORT") != "" || p.Getenv("K_SERVICE") != "" {
				return status(2)
			}
			pass(24 * time.Hour) // it is never taken for idle
			return nil
		}, ofTask(nil))
		started := 0
		if err := f.fleet.Run(t.Context(), f.rev, func() { started++ }); err != nil || started != 1 {
			t.Errorf("started %d times: %v", started, err)
		}
		f.wantLog("Container called exit(0).")
		if err := f.fleet.Run(t.Context(), f.rev, func() { started++ }); err != nil || started != 2 {
			t.Errorf("another time: started %d times: %v", started, err)
		}
	})
}

func TestRunTaskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(context.Context, runtime.Proc) error { return status(9) }, ofTask(nil))
		var exit *ExitError
		if err := f.fleet.Run(t.Context(), f.rev, func() {}); !errors.As(err, &exit) || exit.Exit.Success() {
			t.Errorf("error %v", err)
		}
		f.rev.Template.Containers[0].Command = []string{"/nothing"}
		var failed *DeployError
		if err := f.fleet.Run(t.Context(), f.rev, func() { t.Error("started") }); !errors.As(err, &failed) {
			t.Errorf("error %v", err)
		}
	})
}

// The end of a task's main container is the task's: its sidecar, which would run for ever, is told to end.
func TestRunTaskWithSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan syscall.Signal, 1)
		f := newFixture(t, func(context.Context, runtime.Proc) error { return nil }, ofTask(func(r *runpb.RevisionTemplate) {
			r.Containers[0].DependsOn = []string{"proxy"}
			r.Containers = append(r.Containers, &runpb.Container{Name: "proxy", Image: "proxy"})
		}), func(f *fixture) {
			f.runtime.programs["proxy"] = func(_ context.Context, p runtime.Proc) error {
				told <- <-p.Signals
				return nil
			}
		})
		if err := f.fleet.Run(t.Context(), f.rev, func() {}); err != nil {
			t.Error(err)
		}
		if sig := <-told; sig != syscall.SIGTERM {
			t.Errorf("the sidecar got %v", sig)
		}
	})
}

// A task is ended with SIGTERM when its context is, and says why.
func TestRunTaskCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, p runtime.Proc) error {
			<-p.Signals
			return nil
		}, ofTask(nil))
		why := errors.New("too long")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, why)
		defer cancel()
		if err := f.fleet.Run(ctx, f.rev, func() {}); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
	})
}

// A worker pool has exactly as many instances as it is told, and replaces those that end.
func TestWorkerPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, p runtime.Proc) error {
			select {
			case <-p.Signals:
				return nil
			case <-time.After(time.Hour):
				return status(1)
			}
		}, func(f *fixture) { f.rev.Kind, f.rev.MinInstances = WorkerPool, 1 })
		f.deploy()
		f.wantInstances(1)
		f.fleet.Scale(f.rev.Key(), 3, 0)
		synctest.Wait()
		f.wantInstances(3)
		pass(90 * time.Minute)
		synctest.Wait()
		f.wantInstances(3)
		f.fleet.Scale(f.rev.Key(), 0, 0)
		synctest.Wait()
		f.wantInstances(0)
		pass(time.Hour)
		f.wantInstances(0)
	})
}
