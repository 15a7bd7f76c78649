package emulator

import (
	"context"
	"slices"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
)

// defaultServiceAccount is the identity that the platform gives a project's workloads when they name none.
func defaultServiceAccount(project string) string {
	return projectNumber(project) + "-compute@developer.gserviceaccount.com"
}

// project returns a project's policy. A project comes into being when it is first named: its default service account is
// an editor of it, as on the platform. The caller holds the mutex.
func (st *store) project(id string) *iampb.Policy {
	if p := st.projects[id]; p != nil {
		return p
	}
	p := &iampb.Policy{Version: 1, Etag: []byte(newEtag())}
	st.projects[id] = grant(p, "roles/editor", identity.Member(defaultServiceAccount(id)))
	return st.projects[id]
}

// grant returns a policy with one more member of a role.
func grant(p *iampb.Policy, role, member string) *iampb.Policy {
	p = proto.CloneOf(p)
	for _, b := range p.GetBindings() {
		if b.GetRole() == role && b.GetCondition() == nil {
			if !slices.Contains(b.GetMembers(), member) {
				b.Members = append(b.Members, member)
			}
			return p
		}
	}
	p.Bindings = append(p.Bindings, &iampb.Binding{Role: role, Members: []string{member}})
	return p
}

// policy is a resource's own policy. The caller holds the mutex.
func (st *store) policy(n scope) (*iampb.Policy, error) {
	switch n := n.(type) {
	case serviceName:
		s, err := st.find(n)
		if err != nil {
			return nil, err
		}
		return s.policy, nil
	case jobName:
		j, err := st.findJob(n)
		if err != nil {
			return nil, err
		}
		return j.policy, nil
	case resource:
		if p := st.granted[n.name]; p != nil {
			return p, nil
		}
		return &iampb.Policy{Version: 1, Etag: []byte{0, 0x20, 1}}, nil // in JSON "ACAB", the platform's for what has none yet
	case location:
		return st.project(n.project), nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "%v has no policy of its own.", n)
}

// setPolicy replaces a resource's own policy and returns the new one. A policy that carries the etag of another version
// is refused. The caller holds the mutex.
func (st *store) setPolicy(n scope, given *iampb.Policy) (*iampb.Policy, error) {
	old, err := st.policy(n)
	if err != nil {
		return nil, err
	}
	policy := proto.CloneOf(given)
	if policy == nil {
		policy = &iampb.Policy{}
	}
	if len(policy.GetEtag()) > 0 && string(policy.GetEtag()) != string(old.GetEtag()) {
		return nil, status.Error(codes.Aborted, "There were concurrent policy changes. "+
			"Please retry the whole read-modify-write with exponential backoff. "+
			"The request's ETag did not match the current policy's ETag.")
	}
	policy.Etag = []byte(newEtag())
	policy.Version = max(policy.GetVersion(), 1)
	switch n := n.(type) {
	case serviceName:
		st.table(n)[n].policy = policy
	case jobName:
		st.jobs[n].policy = policy
	case resource:
		st.granted[n.name] = policy
	case location:
		st.projects[n.project] = policy
	}
	return policy, nil
}

// guarded is a resource that has a policy of its own.
type guarded interface {
	scope
	namespaced() string
	permission(verb string) string
}

// guarded finds what an IAM request is about: a service, a worker pool or a job.
func (a *admin) guarded(resource string) (guarded, error) {
	if _, err := parsePool("resource", resource); err == nil {
		return a.pool("resource", resource)
	}
	if _, err := parseJob("resource", resource); err == nil {
		return a.job("resource", resource)
	}
	return a.service("resource", resource)
}

// GetIamPolicy returns a resource's own policy, without what it inherits.
func (a *admin) GetIamPolicy(ctx context.Context, req *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	n, err := a.guarded(req.GetResource())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("getIamPolicy"), n.namespaced(), n); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	return a.store.policy(n)
}

// SetIamPolicy replaces a resource's policy. A policy that carries the etag of another version is refused.
func (a *admin) SetIamPolicy(ctx context.Context, req *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	n, err := a.guarded(req.GetResource())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, n.permission("setIamPolicy"), n.namespaced(), n); err != nil {
		return nil, err
	}
	if err := identity.CheckPolicy(req.GetPolicy()); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	return a.store.setPolicy(n, req.GetPolicy())
}

// TestIamPermissions returns those of the permissions that the caller has.
func (a *admin) TestIamPermissions(ctx context.Context, req *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	n, err := a.guarded(req.GetResource())
	if err != nil {
		return nil, err
	}
	resp := &iampb.TestIamPermissionsResponse{}
	for _, p := range req.GetPermissions() {
		if a.allowed(ctx, p, n.namespaced(), n) {
			resp.Permissions = append(resp.Permissions, p)
		}
	}
	return resp, nil
}
