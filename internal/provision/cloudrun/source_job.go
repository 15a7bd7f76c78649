package cloudrun

import (
	"cmp"
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func (b *Backend) findJob(ctx context.Context, want provision.Target, region string) (target, error) {
	job, err := b.jobs.GetJob(ctx, &runpb.GetJobRequest{Name: b.parent(region) + "/jobs/" + want.Name})
	switch {
	case status.Code(err) == codes.NotFound:
		return target{}, b.unknown(ctx, want, region)
	case err != nil:
		return target{}, b.explain(err, "reading job "+want.Name, "run.jobs.get")
	}
	t := target{env: taskEnv(want)}
	t.service, t.revision = fromJob(job)
	if e := job.GetLatestCreatedExecution().GetName(); e != "" {
		t.exporter = job.GetName() + "/executions/" + lastSegment(e)
	}
	return t, nil
}

// fromJob makes a service of a job, and of the template of its tasks a revision. Jobs always run in the second generation
// of the execution environment (https://cloud.google.com/run/docs/about-execution-environments).
func fromJob(job *runpb.Job) (*runpb.Service, *runpb.Revision) {
	execution, task := job.GetTemplate(), job.GetTemplate().GetTemplate()
	svc := &runpb.Service{
		Name: job.GetName(), Uid: job.GetUid(), Generation: job.GetGeneration(), Labels: job.GetLabels(),
		Annotations: job.GetAnnotations(), LaunchStage: job.GetLaunchStage(), BinaryAuthorization: job.GetBinaryAuthorization(),
	}
	rev := &runpb.Revision{
		Name: job.GetName(), Uid: job.GetUid(), Generation: job.GetGeneration(), Labels: execution.GetLabels(),
		Annotations: execution.GetAnnotations(), LaunchStage: job.GetLaunchStage(), VpcAccess: task.GetVpcAccess(),
		Timeout: task.GetTimeout(), ServiceAccount: task.GetServiceAccount(), Containers: task.GetContainers(),
		Volumes: task.GetVolumes(), ExecutionEnvironment: secondGeneration(task.GetExecutionEnvironment()),
		EncryptionKey: task.GetEncryptionKey(), NodeSelector: task.GetNodeSelector(),
	}
	if task != nil {
		rev.GpuZonalRedundancyDisabled = task.GpuZonalRedundancyDisabled // unset is not false
	}
	return svc, rev
}

func secondGeneration(e runpb.ExecutionEnvironment) runpb.ExecutionEnvironment {
	return cmp.Or(e, runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2)
}

// taskEnv is what the platform sets in a job's tasks (https://cloud.google.com/run/docs/container-contract#jobs-env-vars):
// as for the first try of an only task. The execution is one that does not exist, so that nothing the application keeps
// under its name is another's.
func taskEnv(job provision.Target) []*runpb.EnvVar {
	return []*runpb.EnvVar{
		literal("CLOUD_RUN_JOB", job.Name),
		literal("CLOUD_RUN_EXECUTION", job.TwinName()),
		literal("CLOUD_RUN_TASK_INDEX", "0"),
		literal("CLOUD_RUN_TASK_ATTEMPT", "0"),
		literal("CLOUD_RUN_TASK_COUNT", "1"),
	}
}
