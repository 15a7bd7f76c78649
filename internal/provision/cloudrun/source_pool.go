package cloudrun

import (
	"cmp"
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func (b *Backend) findPool(ctx context.Context, want provision.Target, region string) (target, error) {
	pool, err := b.pools.GetWorkerPool(ctx, &runpb.GetWorkerPoolRequest{Name: b.parent(region) + "/workerPools/" + want.Name})
	switch {
	case status.Code(err) == codes.NotFound:
		return target{}, b.unknown(ctx, want, region)
	case err != nil:
		return target{}, b.explain(err, "reading worker pool "+want.Name, "run.workerpools.get")
	}
	rev, err := b.poolRevision(ctx, want, pool)
	if err != nil {
		return target{}, err
	}
	return target{service: fromPool(pool), revision: rev, env: poolEnv(want.Name, lastSegment(rev.GetName()))}, nil
}

// poolRevision is the pool's revision asked for, or the one that runs. A pool that has none yet is taken by its template.
func (b *Backend) poolRevision(ctx context.Context, want provision.Target, pool *runpb.WorkerPool) (*runpb.Revision, error) {
	if want.Revision == "" && runningInPool(pool) == "" {
		return fromPoolTemplate(pool), nil
	}
	rev, err := b.revision(ctx, want, pool.GetName(), want.Revision, runningInPool(pool))
	if err != nil {
		return nil, err
	}
	rev.ExecutionEnvironment = secondGeneration(rev.GetExecutionEnvironment())
	return rev, nil
}

// runningInPool is running for worker pools.
func runningInPool(pool *runpb.WorkerPool) string {
	best, most := pool.GetLatestReadyRevision(), int32(0)
	for _, s := range pool.GetInstanceSplitStatuses() {
		if s.GetRevision() != "" && s.GetPercent() > most {
			best, most = s.GetRevision(), s.GetPercent()
		}
	}
	return cmp.Or(best, pool.GetLatestCreatedRevision())
}

// fromPool makes a service of a worker pool.
func fromPool(pool *runpb.WorkerPool) *runpb.Service {
	return &runpb.Service{
		Name: pool.GetName(), Uid: pool.GetUid(), Generation: pool.GetGeneration(), Description: pool.GetDescription(),
		Labels: pool.GetLabels(), Annotations: pool.GetAnnotations(), LaunchStage: pool.GetLaunchStage(),
		BinaryAuthorization: pool.GetBinaryAuthorization(),
	}
}

func fromPoolTemplate(pool *runpb.WorkerPool) *runpb.Revision {
	t := pool.GetTemplate()
	rev := &runpb.Revision{
		Name: pool.GetName(), Uid: pool.GetUid(), Generation: pool.GetGeneration(), Labels: t.GetLabels(),
		Annotations: t.GetAnnotations(), LaunchStage: pool.GetLaunchStage(), VpcAccess: t.GetVpcAccess(),
		ServiceAccount: t.GetServiceAccount(), Containers: t.GetContainers(), Volumes: t.GetVolumes(),
		ExecutionEnvironment: secondGeneration(0), EncryptionKey: t.GetEncryptionKey(), ServiceMesh: t.GetServiceMesh(),
		EncryptionKeyRevocationAction: t.GetEncryptionKeyRevocationAction(),
		EncryptionKeyShutdownDuration: t.GetEncryptionKeyShutdownDuration(), NodeSelector: t.GetNodeSelector(),
	}
	if t != nil {
		rev.GpuZonalRedundancyDisabled = t.GpuZonalRedundancyDisabled // unset is not false
	}
	return rev
}

// poolEnv is what the platform sets in a worker pool (https://cloud.google.com/run/docs/container-contract).
func poolEnv(pool, revision string) []*runpb.EnvVar {
	return []*runpb.EnvVar{literal("CLOUD_RUN_WORKER_POOL", pool), literal("CLOUD_RUN_WORKER_POOL_REVISION", revision)}
}
