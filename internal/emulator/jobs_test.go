package emulator_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// chores are the programs that the tests' jobs and worker pools run. Each instance of /forever is told of.
func chores(started chan<- []string) func(*emulator.Options) {
	return func(o *emulator.Options) {
		o.Programs["/print"] = func(_ context.Context, p runtime.Proc) error {
			fmt.Fprintln(p.Stdout, strings.Join(slices.Concat(p.Args, platformEnv(p.Env)), " "))
			return nil
		}
		o.Programs["/flaky"] = func(_ context.Context, p runtime.Proc) error {
			if p.Getenv("CLOUD_RUN_TASK_ATTEMPT") == "0" {
				return exitStatus(3)
			}
			return nil
		}
		o.Programs["/fail"] = func(context.Context, runtime.Proc) error { return exitStatus(7) }
		o.Programs["/forever"] = func(ctx context.Context, p runtime.Proc) error {
			started <- platformEnv(p.Env)
			for {
				select {
				case sig := <-p.Signals:
					if sig == syscall.SIGTERM {
						fmt.Fprintln(p.Stdout, "goodbye")
						return nil
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
}

type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
func (e exitStatus) ExitCode() int { return int(e) }

// platformEnv is what of an environment the platform or the tests have set.
func platformEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		return !slices.ContainsFunc([]string{"CLOUD_RUN_", "K_", "PORT=", "MODE="}, func(p string) bool { return strings.HasPrefix(e, p) })
	})
}

// pushChores pushes an image for each program and returns a function that names them.
func pushChores(t *testing.T, s *emulator.Server) func(name string) string {
	t.Helper()
	for _, name := range []string{"print", "flaky", "fail", "forever"} {
		if _, err := s.Push(t.Context(), "demo/"+name, image(t, "/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return s.RegistryAddr + "/demo/" + name }
}

func jobs(t *testing.T, s *emulator.Server) *run.JobsClient {
	t.Helper()
	c, err := run.NewJobsClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func executions(t *testing.T, s *emulator.Server) *run.ExecutionsClient {
	t.Helper()
	c, err := run.NewExecutionsClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newJob(image string, retries int32) *runpb.Job {
	return &runpb.Job{Template: &runpb.ExecutionTemplate{Template: &runpb.TaskTemplate{
		Containers: []*runpb.Container{{Image: image}},
		Retries:    &runpb.TaskTemplate_MaxRetries{MaxRetries: retries},
	}}}
}

func createJob(t *testing.T, c *run.JobsClient, id string, j *runpb.Job) (*runpb.Job, error) {
	t.Helper()
	op, err := c.CreateJob(t.Context(), &runpb.CreateJobRequest{Parent: parent, JobId: id, Job: j})
	if err != nil {
		return nil, err
	}
	return op.Wait(t.Context())
}

func mustCreateJob(t *testing.T, c *run.JobsClient, id string, j *runpb.Job) *runpb.Job {
	t.Helper()
	made, err := createJob(t, c, id, j)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func completed(e *runpb.Execution) *runpb.Condition {
	for _, c := range e.GetConditions() {
		if c.GetType() == "Completed" {
			return c
		}
	}
	return nil
}

// The life of a job, over both dialects.
func TestJob(t *testing.T) {
	t.Parallel()
	s := start(t, chores(nil))
	img := pushChores(t, s)
	rest, err := run.NewJobsRESTClient(t.Context(), restOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rest.Close() })
	for dialect, c := range map[string]*run.JobsClient{"grpc": jobs(t, s), "rest": rest} {
		t.Run(dialect, func(t *testing.T) {
			id := "chore-" + dialect
			name := parent + "/jobs/" + id
			made := mustCreateJob(t, c, id, newJob(img("print"), 0))
			task := made.GetTemplate().GetTemplate()
			if made.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_SUCCEEDED || made.GetReconciling() ||
				task.GetTimeout().GetSeconds() != 600 || made.GetTemplate().GetTaskCount() != 1 ||
				task.GetExecutionEnvironment() != runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2 ||
				task.GetContainers()[0].GetName() != id+"-1" || len(task.GetContainers()[0].GetPorts()) != 0 {
				t.Errorf("made %v", made)
			}
			if _, err := createJob(t, c, id, newJob(img("print"), 0)); err == nil || !strings.Contains(err.Error(), "already exists") {
				t.Errorf("creating it twice: %v", err)
			}
			made.Template.TaskCount = 3
			made.Template.Template.Containers[0].Args = []string{"one", "two"}
			up, err := c.UpdateJob(t.Context(), &runpb.UpdateJobRequest{Job: made})
			if err != nil {
				t.Fatal(err)
			}
			if made, err = up.Wait(t.Context()); err != nil || made.GetGeneration() != 2 {
				t.Fatalf("updated to %v: %v", made, err)
			}
			ran, err := c.RunJob(t.Context(), &runpb.RunJobRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			e, err := ran.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.GetSucceededCount() != 3 || e.GetRunningCount() != 0 || e.GetReconciling() || completed(e).GetState() != runpb.Condition_CONDITION_SUCCEEDED {
				t.Errorf("execution %v", e)
			}
			short := e.GetName()[strings.LastIndex(e.GetName(), "/")+1:]
			_, log := do(t, s, http.MethodGet, strings.TrimPrefix(e.GetLogUri(), "http://"+s.Addr), "")
			for i := range 3 {
				line := fmt.Sprintf("/print one two CLOUD_RUN_JOB=%s CLOUD_RUN_EXECUTION=%s CLOUD_RUN_TASK_INDEX=%d CLOUD_RUN_TASK_ATTEMPT=0 CLOUD_RUN_TASK_COUNT=3\n", id, short, i)
				if !strings.Contains(log, line) {
					t.Errorf("log %q has no line %q", log, line)
				}
			}
			got, err := c.GetJob(t.Context(), &runpb.GetJobRequest{Name: name})
			if err != nil || got.GetExecutionCount() != 1 || got.GetLatestCreatedExecution().GetName() != short ||
				got.GetLatestCreatedExecution().GetCompletionStatus() != runpb.ExecutionReference_EXECUTION_SUCCEEDED {
				t.Errorf("job %v: %v", got, err)
			}
			first, err := c.ListJobs(t.Context(), &runpb.ListJobsRequest{Parent: parent}).Next()
			if err != nil || first.GetName() != name {
				t.Errorf("newest job %v: %v", first, err)
			}
			del, err := c.DeleteJob(t.Context(), &runpb.DeleteJobRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := del.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.GetJob(t.Context(), &runpb.GetJobRequest{Name: name}); status.Code(err) != codes.NotFound && !strings.Contains(err.Error(), "404") {
				t.Errorf("after deletion: %v", err)
			}
		})
	}
}

// Tasks that fail are retried as often as the job says; what fails for good fails the execution and says how.
func TestJobFails(t *testing.T) {
	t.Parallel()
	s := start(t, chores(nil))
	img := pushChores(t, s)
	c := jobs(t, s)
	run := func(id string) (*runpb.Execution, error) {
		op, err := c.RunJob(t.Context(), &runpb.RunJobRequest{Name: parent + "/jobs/" + id})
		if err != nil {
			t.Fatal(err)
		}
		_, failure := op.Wait(t.Context())
		e, err := op.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		return e, failure
	}
	mustCreateJob(t, c, "flaky", newJob(img("flaky"), 1))
	if e, err := run("flaky"); err != nil || e.GetRetriedCount() != 1 || e.GetSucceededCount() != 1 {
		t.Errorf("flaky: %v, %v", e, err)
	}
	mustCreateJob(t, c, "fail", newJob(img("fail"), 1))
	e, err := run("fail")
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "-task0 failed with message: The container exited with an error.") {
		t.Errorf("fail: %v", err)
	}
	if e.GetFailedCount() != 1 || e.GetRetriedCount() != 1 || completed(e).GetExecutionReason() != runpb.Condition_NON_ZERO_EXIT_CODE {
		t.Errorf("fail: %v", e)
	}
	tasks, err := newTasks(t, s).ListTasks(t.Context(), &runpb.ListTasksRequest{Parent: e.GetName()}).Next()
	if err != nil || tasks.GetLastAttemptResult().GetExitCode() != 7 || tasks.GetRetried() != 1 {
		t.Errorf("task %v: %v", tasks, err)
	}
	if _, err := createJob(t, c, "missing", newJob(img("nothing"), 0)); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "not found") {
		t.Errorf("missing image: %v", err)
	}
	missing, err := c.GetJob(t.Context(), &runpb.GetJobRequest{Name: parent + "/jobs/missing"})
	if err != nil || missing.GetTerminalCondition().GetReason() != runpb.Condition_CONTAINER_MISSING {
		t.Errorf("missing image: %v, %v", missing, err)
	}
}

func newTasks(t *testing.T, s *emulator.Server) *run.TasksClient {
	t.Helper()
	c, err := run.NewTasksClient(t.Context(), grpcOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// An execution that is cancelled, and one whose job is deleted, end with SIGTERM; one that takes too long fails.
func TestJobEnds(t *testing.T) {
	t.Parallel()
	started := make(chan []string, 10)
	s := start(t, chores(started))
	img := pushChores(t, s)
	c, ec := jobs(t, s), executions(t, s)
	mustCreateJob(t, c, "endless", newJob(img("forever"), 0))
	name := parent + "/jobs/endless"
	begin := func(o *runpb.RunJobRequest_Overrides) (*run.RunJobOperation, string) {
		op, err := c.RunJob(t.Context(), &runpb.RunJobRequest{Name: name, Overrides: o})
		if err != nil {
			t.Fatal(err)
		}
		e, err := op.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		return op, e.GetName()
	}
	mode := func(value string) *runpb.RunJobRequest_Overrides {
		return &runpb.RunJobRequest_Overrides{ContainerOverrides: []*runpb.RunJobRequest_Overrides_ContainerOverride{{
			Env: []*runpb.EnvVar{{Name: "MODE", Values: &runpb.EnvVar_Value{Value: value}}},
		}}}
	}
	_, first := begin(mode("first"))
	if env := <-started; !slices.Contains(env, "MODE=first") {
		t.Errorf("environment %q", env)
	}
	cancel, err := ec.CancelExecution(t.Context(), &runpb.CancelExecutionRequest{Name: first})
	if err != nil {
		t.Fatal(err)
	}
	e, err := cancel.Wait(t.Context())
	if err != nil || e.GetCancelledCount() != 1 || completed(e).GetExecutionReason() != runpb.Condition_CANCELLED {
		t.Errorf("cancelled: %v, %v", e, err)
	}
	if _, log := do(t, s, http.MethodGet, strings.TrimPrefix(e.GetLogUri(), "http://"+s.Addr), ""); !strings.Contains(log, "goodbye") {
		t.Errorf("log of the cancelled execution: %q", log)
	}
	slow, _ := begin(&runpb.RunJobRequest_Overrides{Timeout: durationpb.New(1e9)})
	if _, err := slow.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "The configured timeout was reached.") {
		t.Errorf("too slow: %v", err)
	}
	last, _ := begin(mode("last"))
	for env := range started { // the slow one may have started or not
		if slices.Contains(env, "MODE=last") {
			break
		}
	}
	del, err := c.DeleteJob(t.Context(), &runpb.DeleteJobRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := del.Wait(t.Context()); err != nil {
		t.Errorf("deleting: %v", err)
	}
	if _, err := last.Wait(t.Context()); err == nil {
		t.Error("the execution of a deleted job succeeded")
	}
	if _, err := ec.GetExecution(t.Context(), &runpb.GetExecutionRequest{Name: first}); status.Code(err) != codes.NotFound {
		t.Errorf("execution of a deleted job: %v", err)
	}
}

// Who may do what with jobs.
func TestJobPermissions(t *testing.T) {
	t.Parallel()
	s := start(t, chores(nil))
	img := pushChores(t, s)
	owner := jobs(t, s)
	mustCreateJob(t, owner, "mine", newJob(img("print"), 0))
	name := parent + "/jobs/mine"
	token, _ := s.Issuer().AccessToken("alice@example.com")
	alice, err := run.NewJobsClient(t.Context(), tokenOptions(s, token)...)
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	if _, err := alice.GetJob(t.Context(), &runpb.GetJobRequest{Name: name}); status.Code(err) != codes.PermissionDenied ||
		!strings.Contains(err.Error(), "Permission 'run.jobs.get' denied on resource 'namespaces/cloudssh-demo/jobs/mine'") {
		t.Errorf("a stranger: %v", err)
	}
	policy := &iampb.Policy{Bindings: []*iampb.Binding{{Role: "roles/run.invoker", Members: []string{"user:alice@example.com"}}}}
	if _, err := owner.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: name, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	has, err := alice.TestIamPermissions(t.Context(), &iampb.TestIamPermissionsRequest{Resource: name, Permissions: []string{"run.jobs.run", "run.jobs.get"}})
	if err != nil || !slices.Equal(has.GetPermissions(), []string{"run.jobs.run"}) {
		t.Errorf("an invoker has %v: %v", has, err)
	}
	if _, err := alice.RunJob(t.Context(), &runpb.RunJobRequest{Name: name}); err != nil {
		t.Errorf("an invoker: %v", err)
	}
}
