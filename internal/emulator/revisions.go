package emulator

import (
	"context"
	"slices"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

func (a *admin) revision(field, name string) (revisionName, error) {
	n, err := parseRevision(field, name)
	if err != nil {
		return revisionName{}, err
	}
	n.location, err = a.checkLocation(field, n.location)
	return n, err
}

// GetRevision returns a revision.
func (a *admin) GetRevision(ctx context.Context, req *runpb.GetRevisionRequest) (*runpb.Revision, error) {
	n, err := a.revision("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.revisions.get", n.namespaced(), n.serviceName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	_, r, err := a.store.findRevision(n)
	if err != nil {
		return nil, err
	}
	return r.pb, nil
}

// ListRevisions lists the revisions of a service or worker pool, or with "-" of all of a region, newest first.
func (a *admin) ListRevisions(ctx context.Context, req *runpb.ListRevisionsRequest) (*runpb.ListRevisionsResponse, error) {
	n, err := a.pool("parent", req.GetParent())
	if n.kind != serving.WorkerPool {
		n, err = a.service("parent", req.GetParent())
	}
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.revisions.list", n.namespaced(), n); err != nil {
		return nil, err
	}
	revisions, err := a.store.revisionsOf(n)
	if err != nil {
		return nil, err
	}
	revisions, next, err := page(revisions, req.GetPageSize(), req.GetPageToken(), "revisions "+n.String(), revisionKey, newerFirst)
	if err != nil {
		return nil, err
	}
	return &runpb.ListRevisionsResponse{Revisions: revisions, NextPageToken: next}, nil
}

// revisionsOf returns the revisions of a service or, for the service "-", of its region, newest first.
func (st *store) revisionsOf(n serviceName) ([]*runpb.Revision, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n.service != "-" {
		if _, err := st.find(n); err != nil {
			return nil, err
		}
	}
	var found []*runpb.Revision
	for name, s := range st.table(n) {
		if name != n && (n.service != "-" || name.location != n.location) {
			continue
		}
		for _, r := range s.revisions {
			found = append(found, r.pb)
		}
	}
	slices.SortFunc(found, func(x, y *runpb.Revision) int { return newestFirst(revisionKey(x), revisionKey(y)) })
	return found, nil
}

// DeleteRevision deletes a revision that no traffic goes to and that is not the latest.
func (a *admin) DeleteRevision(ctx context.Context, req *runpb.DeleteRevisionRequest) (*longrunningpb.Operation, error) {
	n, err := a.revision("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.revisions.delete", n.namespaced(), n.serviceName); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	s, r, err := a.store.findRevision(n)
	if err != nil {
		return nil, err
	}
	if e := req.GetEtag(); e != "" && e != r.pb.GetEtag() {
		return nil, rules.EtagMismatch(n.revision, e, r.pb.GetEtag())
	}
	latest, _ := s.latest()
	switch {
	case r.deleting || s.deleting:
		return nil, grpcstatus.Errorf(codes.FailedPrecondition, "Revision '%s' is being deleted.", n.revision)
	case s.serving(r):
		return nil, grpcstatus.Errorf(codes.FailedPrecondition, "Revision '%s' cannot be deleted because it is serving traffic.", n.revision)
	case r == latest:
		return nil, grpcstatus.Errorf(codes.FailedPrecondition,
			"Revision '%s' cannot be deleted because it is the latest created revision of its service.", n.revision)
	case req.GetValidateOnly():
		return finished(n.location, r.pb, r.pb)
	}
	return a.startDeleteRevision(s, r)
}

// startDeleteRevision removes a revision's instances, then the revision. The caller holds the mutex.
func (a *admin) startDeleteRevision(s *service, r *revision) (*longrunningpb.Operation, error) {
	if err := a.open(); err != nil {
		return nil, err
	}
	r.deleting = true
	pb := proto.CloneOf(r.pb)
	pb.DeleteTime, pb.Reconciling = a.store.timestamp(), true
	r.pb = pb
	r.cancel()
	a.store.settle(s)
	o := a.store.begin(s.name.location, func() proto.Message { return r.pb })
	reply, err := o.proto()
	s.work.Add(1)
	a.work.Go(func() {
		defer s.work.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), removalTimeout)
		defer cancel()
		err := a.fleet.Remove(ctx, key(r.name))
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		pb := proto.CloneOf(r.pb)
		pb.Reconciling = false
		r.pb = pb
		if err != nil {
			r.deleting = false
			err = grpcstatus.Errorf(codes.Internal, "deleting revision '%s': %v", r.name.revision, err)
		} else {
			delete(s.revisions, r.name.revision)
		}
		a.store.finish(o, r.pb, err)
	})
	return reply, err
}
