package emulator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// removalTimeout is how long the shutdown of a revision's instances may take: ten seconds after SIGTERM they are
// killed; the rest is for unmounting.
const removalTimeout = time.Minute

func key(n revisionName) serving.Key {
	return serving.Key{Project: n.project, Region: n.region, Service: n.service, Name: n.revision, Kind: n.kind}
}

// newRevision makes a revision of a service's template. The caller holds the mutex, settles, and starts it.
func (a *admin) newRevision(s *service) *revision {
	t := s.pb.GetTemplate()
	n, number := s.nextRevision(t.GetRevision())
	now := a.store.timestamp()
	pb := revisionOf(t)
	pb.Name, pb.Uid, pb.Generation, pb.Etag = n.String(), newUID(), 1, newEtag()
	pb.Service, pb.Creator, pb.CreateTime, pb.UpdateTime = s.name.service, s.pb.GetLastModifier(), now, now
	pb.LaunchStage, pb.Reconciling, pb.LogUri = s.pb.GetLaunchStage(), true, a.logURI(n)
	r := &revision{name: n, pb: pb, template: t, number: number, state: runpb.Condition_CONDITION_RECONCILING}
	s.revisions[n.revision] = r
	changed := proto.CloneOf(s.pb)
	changed.LatestCreatedRevision = n.String()
	s.pb = changed
	return r
}

// revisionOf takes into a Revision what it shares with its template.
func revisionOf(t *runpb.RevisionTemplate) *runpb.Revision {
	pb := &runpb.Revision{}
	from, to := proto.CloneOf(t).ProtoReflect(), pb.ProtoReflect()
	for i := range to.Descriptor().Fields().Len() {
		fd := to.Descriptor().Fields().Get(i)
		source := from.Descriptor().Fields().ByName(fd.Name())
		if source != nil && from.Has(source) {
			to.Set(fd, from.Get(source))
		}
	}
	return pb
}

func (a *admin) logURI(n fmt.Stringer) string {
	return "http://" + a.addr + logsPath + n.String()
}

// startDeploy deploys a revision from a goroutine of its own. The caller holds the mutex.
func (a *admin) startDeploy(s *service, r *revision) {
	ctx, cancel := context.WithCancel(s.ctx)
	r.cancel = cancel
	s.work.Add(1)
	a.work.Go(func() {
		defer s.work.Done()
		defer cancel()
		err := a.bringUp(ctx, s, r)
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		a.conclude(s, r, err)
	})
}

// bringUp imports a revision's images and starts its first instance.
func (a *admin) bringUp(ctx context.Context, s *service, r *revision) error {
	observe := func(c *runpb.Condition) { a.observe(s, r, c) }
	a.store.mu.Lock()
	binauthz := s.pb.GetBinaryAuthorization()
	a.store.mu.Unlock()
	if err := a.around.checkDeploy(projectNumber(r.name.project), binauthz, r.template); err != nil {
		return a.obstructed(err, observe)
	}
	template := a.images.pin(ctx, r.template)
	a.store.mu.Lock()
	r.template = template
	low, high := a.share(s, r)
	none := s.pb.GetScaling().GetManualInstanceCount() == 0
	a.store.mu.Unlock()
	// What the revision keeps warm counts only while traffic goes to it, which Scale tells the fleet.
	template = proto.CloneOf(template)
	if scaling := template.GetScaling(); scaling != nil {
		scaling.MinInstanceCount = 0
	}
	// A worker pool without instances has none to look at.
	template.HealthCheckDisabled = template.GetHealthCheckDisabled() || r.name.kind == serving.WorkerPool && none
	return a.fleet.Deploy(ctx, serving.Revision{
		Kind: r.name.kind, Env: r.name.poolEnv(), Project: r.name.project, ProjectNumber: projectNumber(r.name.project),
		Region: r.name.region, Service: r.name.service, Name: r.name.revision, Template: template,
		MinInstances: low, MaxInstances: high, LogURI: r.pb.GetLogUri(),
	}, observe)
}

// obstructed shows which condition an obstacle fails.
func (a *admin) obstructed(err error, observe func(*runpb.Condition)) error {
	var obstacle *serving.DeployError
	if errors.As(err, &obstacle) {
		c := &runpb.Condition{Type: obstacle.Condition}
		obstacle.Fail(c)
		observe(c)
	}
	return err
}

// observe shows a condition that changed. Readiness itself is for conclude to tell.
func (a *admin) observe(s *service, r *revision, c *runpb.Condition) {
	a.logger.Debug("condition", "revision", r.name.revision, "type", c.GetType(), "state", c.GetState(), "message", c.GetMessage())
	if c.GetType() == condReady && c.GetState() != runpb.Condition_CONDITION_RECONCILING {
		return
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	pb := proto.CloneOf(r.pb)
	pb.Conditions = setCondition(pb.GetConditions(), c, a.store.timestamp())
	r.pb = pb
	a.store.settle(s)
}

// conclude records how a deployment ended. The caller holds the mutex.
func (a *admin) conclude(s *service, r *revision, err error) {
	if r.deleting || s.deleting || a.ctx.Err() != nil {
		r.state = runpb.Condition_CONDITION_FAILED // nobody looks at it any more
		return
	}
	c := &runpb.Condition{Type: condReady, State: runpb.Condition_CONDITION_SUCCEEDED}
	if err != nil {
		failed := &serving.DeployError{Message: err.Error(), Common: runpb.Condition_UNKNOWN}
		errors.As(err, &failed)
		failed.Fail(c)
		c.Message = notReady(r.name.revision, c.GetMessage())
	}
	now := a.store.timestamp()
	pb := proto.CloneOf(r.pb)
	pb.Conditions = setCondition(pb.GetConditions(), c, now)
	pb.UpdateTime, pb.Reconciling, pb.ObservedGeneration = now, false, pb.GetGeneration()
	r.pb, r.state = pb, c.GetState()
	a.store.settle(s)
	a.rescale(s)
	a.logger.Info("revision settled", "revision", r.name.revision, "state", r.state, "message", c.GetMessage())
}

// notReady is the platform's sentence for a revision that failed.
func notReady(revision, message string) string {
	prefix := fmt.Sprintf("Revision '%s' is not ready and cannot serve traffic. ", revision)
	if strings.HasPrefix(message, prefix) {
		return message
	}
	return prefix + message
}

// rescale tells the fleet each revision's part of the service's scaling. The caller holds the mutex.
func (a *admin) rescale(s *service) {
	for _, r := range s.revisions {
		low, high := a.share(s, r)
		a.fleet.Scale(key(r.name), low, high)
	}
}

// share is what a revision gets of its own and its service's scaling: minimums only while traffic goes to it, and the
// service's minimum by its part of the traffic, rounded up. The caller holds the mutex.
func (a *admin) share(s *service, r *revision) (low, high int) {
	scaling := s.pb.GetScaling()
	whole, high := int(scaling.GetMinInstanceCount()), int(scaling.GetMaxInstanceCount())
	if scaling.GetScalingMode() == runpb.ServiceScaling_MANUAL {
		whole, high = int(scaling.GetManualInstanceCount()), int(scaling.GetManualInstanceCount())
	}
	latest, ready := s.latest()
	percent, served := 0, false
	for _, t := range targets(s.pb) {
		if s.target(t, latest, ready) == r {
			percent, served = percent+int(t.GetPercent()), true
		}
	}
	if served {
		low = max(int(r.template.GetScaling().GetMinInstanceCount()), (whole*percent+99)/100)
	}
	return low, high
}

// startDelete shuts a service down from a goroutine of its own. The caller holds the mutex.
func (a *admin) startDelete(s *service) {
	s.deleting = true
	pb := proto.CloneOf(s.pb)
	pb.DeleteTime, pb.Reconciling = a.store.timestamp(), true
	s.pb = pb
	gone := grpcstatus.Errorf(codes.Aborted, "%s '%s' was deleted.", s.name.noun(), s.name.service)
	for _, w := range s.waiting {
		a.store.finish(w.op, nil, gone)
	}
	s.waiting = nil
	s.cancel()
	a.store.notify()
	a.work.Go(func() {
		s.work.Wait()
		err := a.removeAll(s)
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		a.concludeDelete(s, err)
	})
}

// concludeDelete ends the deletions of a service. One that could not be shut down stays, to be deleted again. The
// caller holds the mutex.
func (a *admin) concludeDelete(s *service, err error) {
	result := s.pb
	if err == nil {
		result = a.store.bury(s)
	} else {
		s.deleting = false
		s.ctx, s.cancel = context.WithCancel(a.ctx)
		pb := proto.CloneOf(s.pb)
		pb.DeleteTime = nil
		s.pb = pb
		a.store.settle(s)
		err = grpcstatus.Errorf(codes.Internal, "deleting %s: %v", s.name, err)
		a.logger.Error("deleting a service", "service", s.name.String(), "error", err)
	}
	for _, o := range s.deletions {
		a.store.finish(o, s.name.show(result), err)
	}
	s.deletions = nil
}

// removeAll removes the instances of all revisions at once.
func (a *admin) removeAll(s *service) error {
	a.store.mu.Lock()
	revisions := s.sorted()
	a.store.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), removalTimeout)
	defer cancel()
	errs := make(chan error, len(revisions))
	for _, r := range revisions {
		go func() { errs <- a.fleet.Remove(ctx, key(r.name)) }()
	}
	var err error
	for range revisions {
		err = errors.Join(err, <-errs)
	}
	return err
}
