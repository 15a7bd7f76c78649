package emulator

import (
	"context"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// show is a service as the API shows its kind.
func (n serviceName) show(pb *runpb.Service) proto.Message {
	if n.kind == serving.WorkerPool {
		return poolOf(pb)
	}
	return pb
}

// show is the service as it is now. The caller holds the mutex.
func (s *service) show() proto.Message { return s.name.show(s.pb) }

func (n serviceName) noun() string {
	if n.kind == serving.WorkerPool {
		return "Worker pool"
	}
	return "Service"
}

func (n serviceName) checkCreate(given *runpb.Service) error {
	if n.kind == serving.WorkerPool {
		return rules.CreateWorkerPool(n.service, poolOf(given))
	}
	return rules.Create(n.service, given)
}

func (n serviceName) checkUpdate(old, next *runpb.Service, exists func(revision string) bool) error {
	if n.kind == serving.WorkerPool {
		return rules.UpdateWorkerPool(n.service, poolOf(old), poolOf(next), exists)
	}
	return rules.Update(old, next, exists)
}

// complete fills in what the API fills in. The service may be changed.
func (n serviceName) complete(s *runpb.Service) *runpb.Service {
	if n.kind == serving.WorkerPool {
		p := poolOf(s)
		rules.WorkerPoolDefaults(n.service, p, defaultServiceAccount(n.project))
		return serviceOf(p)
	}
	rules.Defaults(s, defaultServiceAccount(n.project))
	return s
}

// checkIngress asks the organisation's policy about a service's ingress. Worker pools have none.
func (a *admin) checkIngress(method string, n serviceName, s *runpb.Service) error {
	if n.kind == serving.WorkerPool {
		return nil
	}
	return a.around.checkIngress(method, n.project, s)
}

// poolEnv is what the platform sets in the containers of a worker pool
// (https://docs.cloud.google.com/run/docs/container-contract#env-vars).
func (n revisionName) poolEnv() []string {
	if n.kind != serving.WorkerPool {
		return nil
	}
	return []string{"CLOUD_RUN_WORKER_POOL=" + n.service, "CLOUD_RUN_WORKER_POOL_REVISION=" + n.revision}
}

// poolOf is the worker pool that the store keeps as a service.
func poolOf(s *runpb.Service) *runpb.WorkerPool {
	p := rules.Share(&runpb.WorkerPool{}, s)
	if s.GetTemplate() != nil {
		p.Template = rules.Share(&runpb.WorkerPoolRevisionTemplate{}, s.GetTemplate())
	}
	if s.GetScaling() != nil {
		p.Scaling = &runpb.WorkerPoolScaling{ManualInstanceCount: s.GetScaling().ManualInstanceCount}
	}
	for _, t := range s.GetTraffic() {
		p.InstanceSplits = append(p.InstanceSplits, &runpb.InstanceSplit{
			Type: runpb.InstanceSplitAllocationType(t.GetType()), Revision: t.GetRevision(), Percent: t.GetPercent(),
		})
	}
	for _, t := range s.GetTrafficStatuses() {
		p.InstanceSplitStatuses = append(p.InstanceSplitStatuses, &runpb.InstanceSplitStatus{
			Type: runpb.InstanceSplitAllocationType(t.GetType()), Revision: t.GetRevision(), Percent: t.GetPercent(),
		})
	}
	return p
}

// serviceOf is what the store keeps of a worker pool: its splits, whose types have the numbers of the traffic's, are a
// service's traffic.
func serviceOf(p *runpb.WorkerPool) *runpb.Service {
	s := rules.Share(&runpb.Service{}, p)
	if p.GetTemplate() != nil {
		s.Template = rules.Share(&runpb.RevisionTemplate{}, p.GetTemplate())
	}
	if p.GetScaling() != nil {
		s.Scaling = &runpb.ServiceScaling{
			ScalingMode: runpb.ServiceScaling_MANUAL, ManualInstanceCount: p.GetScaling().ManualInstanceCount,
		}
	}
	for _, t := range p.GetInstanceSplits() {
		s.Traffic = append(s.Traffic, &runpb.TrafficTarget{
			Type: runpb.TrafficTargetAllocationType(t.GetType()), Revision: t.GetRevision(), Percent: t.GetPercent(),
		})
	}
	return s
}

// CreateWorkerPool creates a worker pool. The operation is done when the instances of its first revision run, or when
// that has failed; in both cases the worker pool is there.
func (a *admin) CreateWorkerPool(ctx context.Context, req *runpb.CreateWorkerPoolRequest) (*longrunningpb.Operation, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	n := serviceName{l, req.GetWorkerPoolId(), serving.WorkerPool}
	return a.create(ctx, n, serviceOf(proto.CloneOf(req.GetWorkerPool())), req.GetValidateOnly())
}

// GetWorkerPool returns a worker pool.
func (a *admin) GetWorkerPool(ctx context.Context, req *runpb.GetWorkerPoolRequest) (*runpb.WorkerPool, error) {
	n, err := a.pool("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("get"), n.namespaced(), n); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s, err := a.store.find(n)
	if err != nil {
		return nil, err
	}
	return poolOf(s.pb), nil
}

// ListWorkerPools lists the worker pools of a region, newest first.
func (a *admin) ListWorkerPools(ctx context.Context, req *runpb.ListWorkerPoolsRequest) (*runpb.ListWorkerPoolsResponse, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.workerpools.list", l.String(), l); err != nil {
		return nil, err
	}
	found := a.store.listIn(a.store.pools, parsePool, func(n serviceName) bool { return n.location == l }, req.GetShowDeleted())
	query := "worker pools " + l.String()
	if req.GetShowDeleted() {
		query += " deleted"
	}
	found, next, err := page(found, req.GetPageSize(), req.GetPageToken(), query, serviceKey, newerFirst)
	if err != nil {
		return nil, err
	}
	resp := &runpb.ListWorkerPoolsResponse{NextPageToken: next}
	for _, s := range found {
		resp.WorkerPools = append(resp.WorkerPools, poolOf(s))
	}
	return resp, nil
}

// UpdateWorkerPool changes a worker pool, as UpdateService does a service.
func (a *admin) UpdateWorkerPool(ctx context.Context, req *runpb.UpdateWorkerPoolRequest) (*longrunningpb.Operation, error) {
	n, err := a.pool("worker_pool.name", req.GetWorkerPool().GetName())
	if err != nil {
		return nil, err
	}
	given := proto.CloneOf(req.GetWorkerPool())
	return a.update(ctx, n, change{
		given: serviceOf(given), allowMissing: req.GetAllowMissing(), validateOnly: req.GetValidateOnly(),
		apply: func(old *runpb.Service) (*runpb.Service, error) {
			next, err := masked(poolOf(old), given, req.GetUpdateMask())
			if err != nil {
				return nil, err
			}
			return serviceOf(next), nil
		},
	})
}

// DeleteWorkerPool deletes a worker pool, as DeleteService does a service.
func (a *admin) DeleteWorkerPool(ctx context.Context, req *runpb.DeleteWorkerPoolRequest) (*longrunningpb.Operation, error) {
	n, err := a.pool("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return a.remove(ctx, n, req.GetEtag(), req.GetValidateOnly())
}
