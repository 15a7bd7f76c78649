package emulator

import (
	"context"
	"sync"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// CreateService creates a service. The operation is done when its first revision is ready or has failed; in both cases
// the service is there.
func (a *admin) CreateService(ctx context.Context, req *runpb.CreateServiceRequest) (*longrunningpb.Operation, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	return a.create(ctx, serviceName{location: l, service: req.GetServiceId()}, req.GetService(), req.GetValidateOnly())
}

func (a *admin) create(ctx context.Context, n serviceName, given *runpb.Service, validateOnly bool) (*longrunningpb.Operation, error) {
	if err := a.authorize(ctx, n.permission("create"), n.namespaced(), n); err != nil {
		return nil, err
	}
	if err := n.checkCreate(given); err != nil {
		return nil, err
	}
	if err := a.checkIngress("CreateService", n, given); err != nil {
		return nil, err
	}
	s := writable(given)
	s.Name = n.String()
	s = n.complete(s)
	if err := a.authorizeRuntime(ctx, n, nil, s); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.store.table(n)[n] != nil {
		return nil, rules.AlreadyExists(n.service)
	}
	if validateOnly {
		return finished(n.location, n.show(s), n.show(s))
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	now := a.store.timestamp()
	s.Uid, s.CreateTime, s.UpdateTime, s.Generation = newUID(), now, now, 1
	s.Creator, s.LastModifier, s.Etag = a.who(ctx), a.who(ctx), newEtag()
	if n.kind == serving.Service {
		s.Uri = a.store.uri(n, "")
		s.Urls = []string{s.GetUri()}
	}
	svc := &service{
		name: n, pb: s, policy: &iampb.Policy{Version: 1, Etag: []byte(newEtag())},
		revisions: map[string]*revision{}, work: &sync.WaitGroup{},
	}
	svc.ctx, svc.cancel = context.WithCancel(a.ctx)
	a.store.table(n)[n] = svc
	return a.roll(svc)
}

// roll makes a revision of a service's new template and starts to deploy it. The caller holds the mutex.
func (a *admin) roll(s *service) (*longrunningpb.Operation, error) {
	r := a.newRevision(s)
	o := a.store.begin(s.name.location, s.show)
	s.waiting = append(s.waiting, waiter{o, r})
	a.store.settle(s)
	pb, err := o.proto()
	a.startDeploy(s, r)
	return pb, err
}

// GetService returns a service.
func (a *admin) GetService(ctx context.Context, req *runpb.GetServiceRequest) (*runpb.Service, error) {
	n, err := a.service("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.services.get", n.namespaced(), n); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s, err := a.store.find(n)
	if err != nil {
		return nil, err
	}
	return s.pb, nil
}

// ListServices lists the services of a region, newest first.
func (a *admin) ListServices(ctx context.Context, req *runpb.ListServicesRequest) (*runpb.ListServicesResponse, error) {
	l, err := a.location("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.services.list", l.String(), serviceName{location: l}); err != nil {
		return nil, err
	}
	services := a.store.list(func(n serviceName) bool { return n.location == l }, req.GetShowDeleted())
	query := "services " + l.String()
	if req.GetShowDeleted() {
		query += " deleted"
	}
	services, next, err := page(services, req.GetPageSize(), req.GetPageToken(), query, serviceKey, newerFirst)
	if err != nil {
		return nil, err
	}
	return &runpb.ListServicesResponse{Services: services, NextPageToken: next}, nil
}

// UpdateService changes a service. A changed template makes a new revision, for which the operation waits; other changes
// take effect at once.
func (a *admin) UpdateService(ctx context.Context, req *runpb.UpdateServiceRequest) (*longrunningpb.Operation, error) {
	n, err := a.service("service.name", req.GetService().GetName())
	if err != nil {
		return nil, err
	}
	return a.update(ctx, n, change{
		given: req.GetService(), allowMissing: req.GetAllowMissing(), validateOnly: req.GetValidateOnly(),
		apply: func(old *runpb.Service) (*runpb.Service, error) {
			return masked(old, req.GetService(), req.GetUpdateMask())
		},
	})
}

// change is what an update request asks for.
type change struct {
	given                      *runpb.Service // as the request has it
	apply                      func(old *runpb.Service) (*runpb.Service, error)
	allowMissing, validateOnly bool
}

func (a *admin) update(ctx context.Context, n serviceName, c change) (*longrunningpb.Operation, error) {
	for {
		old, exists := a.snapshot(n)
		if old == nil {
			if c.allowMissing {
				return a.create(ctx, n, c.given, c.validateOnly)
			}
			if err := a.authorize(ctx, n.permission("update"), n.namespaced(), n); err != nil {
				return nil, err
			}
			return nil, n.missing()
		}
		next, err := a.prepare(ctx, n, old, c, exists)
		if err != nil {
			return nil, err
		}
		if c.validateOnly {
			return finished(n.location, n.show(next), n.show(next))
		}
		if op, err := a.commit(ctx, n, old, next); op != nil || err != nil {
			return op, err
		}
	}
}

// snapshot returns a service and a function that knows its present revisions.
func (a *admin) snapshot(n serviceName) (*runpb.Service, func(revision string) bool) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s := a.store.table(n)[n]
	if s == nil {
		return nil, nil
	}
	names := make(map[string]bool, len(s.revisions))
	for name := range s.revisions {
		names[name] = true
	}
	return s.pb, func(revision string) bool { return names[revision] }
}

// prepare is the service that an update asks for, checked.
func (a *admin) prepare(ctx context.Context, n serviceName, old *runpb.Service, c change, exists func(string) bool) (*runpb.Service, error) {
	if err := a.authorize(ctx, n.permission("update"), n.namespaced(), n); err != nil {
		return nil, err
	}
	if e := c.given.GetEtag(); e != "" && e != old.GetEtag() {
		return nil, rules.EtagMismatch(n.service, e, old.GetEtag())
	}
	next, err := c.apply(old)
	if err != nil {
		return nil, err
	}
	next = n.complete(next)
	if err := n.checkUpdate(old, next, exists); err != nil {
		return nil, err
	}
	if err := a.checkIngress("UpdateService", n, next); err != nil {
		return nil, err
	}
	return next, a.authorizeRuntime(ctx, n, old, next)
}

// commit puts an updated service in the place of old. It returns nothing when old is no longer what is there.
func (a *admin) commit(ctx context.Context, n serviceName, old, next *runpb.Service) (*longrunningpb.Operation, error) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s := a.store.table(n)[n]
	if s == nil || s.pb.GetEtag() != old.GetEtag() {
		return nil, nil
	}
	if s.deleting {
		return nil, status.Errorf(codes.FailedPrecondition, "%s '%s' is being deleted.", n.noun(), n.service)
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	pb := merge(s.pb, next)
	pb.UpdateTime, pb.LastModifier, pb.Etag = a.store.timestamp(), a.who(ctx), newEtag()
	pb.Generation++
	s.pb = pb
	if rules.NewRevision(old, next) {
		return a.roll(s)
	}
	o := a.store.begin(n.location, s.show)
	s.waiting = append(s.waiting, waiter{op: o})
	a.store.settle(s)
	a.rescale(s)
	return o.proto()
}

// DeleteService deletes a service. The operation is done when nothing of it runs any more; only then is its name free.
// Deleting what is being deleted waits for the same end.
func (a *admin) DeleteService(ctx context.Context, req *runpb.DeleteServiceRequest) (*longrunningpb.Operation, error) {
	n, err := a.service("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return a.remove(ctx, n, req.GetEtag(), req.GetValidateOnly())
}

func (a *admin) remove(ctx context.Context, n serviceName, etag string, validateOnly bool) (*longrunningpb.Operation, error) {
	if err := a.authorize(ctx, n.permission("delete"), n.namespaced(), n); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s, err := a.store.find(n)
	if err != nil {
		return nil, err
	}
	if etag != "" && etag != s.pb.GetEtag() {
		return nil, rules.EtagMismatch(n.service, etag, s.pb.GetEtag())
	}
	if validateOnly {
		return finished(n.location, s.show(), s.show())
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	o := a.store.begin(n.location, s.show)
	s.deletions = append(s.deletions, o)
	if !s.deleting {
		a.startDelete(s)
	}
	return o.proto()
}
