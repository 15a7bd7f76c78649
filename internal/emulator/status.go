package emulator

import (
	"fmt"
	"slices"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The condition types of services and revisions.
const (
	condReady          = "Ready"
	condConfigurations = "ConfigurationsReady"
	condRoutes         = "RoutesReady"
)

// settle puts into a service's message what its revisions' states amount to: conditions, readiness, traffic. It is
// called after every change; the caller holds the mutex. Being a pure function of specification and revisions it
// cannot drift from either.
func (st *store) settle(s *service) {
	pb := proto.CloneOf(s.pb)
	latest, ready := s.latest()
	if ready != nil {
		pb.LatestReadyRevision = ready.name.String()
	} else {
		pb.LatestReadyRevision = ""
	}
	configurations := configurationsCondition(latest)
	statuses, routes := st.route(s, latest, ready)
	pb.TrafficStatuses = statuses
	now := st.timestamp()
	pb.Conditions = []*runpb.Condition{
		transition(find(pb.GetConditions(), condRoutes), routes, now),
		transition(find(pb.GetConditions(), condConfigurations), configurations, now),
	}
	pb.TerminalCondition = transition(pb.GetTerminalCondition(), terminal(configurations, routes), now)
	pb.Reconciling = s.deleting || pb.GetTerminalCondition().GetState() == runpb.Condition_CONDITION_RECONCILING
	if !pb.GetReconciling() {
		pb.ObservedGeneration = pb.GetGeneration()
	}
	s.pb = pb
	st.answer(s)
	st.notify()
}

// answer ends the operations of a service that have nothing more to wait for.
func (st *store) answer(s *service) {
	s.waiting = slices.DeleteFunc(s.waiting, func(w waiter) bool {
		reconciling := s.pb.GetReconciling()
		if w.rev != nil {
			reconciling = w.rev.state == runpb.Condition_CONDITION_RECONCILING
		}
		if reconciling {
			return false
		}
		st.finish(w.op, s.show(), outcome(s.pb, w.rev))
		return true
	})
}

// outcome is the error of an operation on a service, in the words of the condition that failed.
func outcome(pb *runpb.Service, r *revision) error {
	c := pb.GetTerminalCondition()
	if r != nil && r.state == runpb.Condition_CONDITION_FAILED {
		c = find(r.pb.GetConditions(), condReady)
	}
	if c.GetState() != runpb.Condition_CONDITION_FAILED {
		return nil
	}
	return grpcstatus.Error(codes.FailedPrecondition, c.GetMessage())
}

// latest returns the newest revision and the newest that is ready.
func (s *service) latest() (created, ready *revision) {
	for _, r := range s.sorted() {
		if r.deleting {
			continue
		}
		created = r
		if r.state == runpb.Condition_CONDITION_SUCCEEDED {
			ready = r
		}
	}
	return created, ready
}

func configurationsCondition(latest *revision) *runpb.Condition {
	c := &runpb.Condition{Type: condConfigurations, State: runpb.Condition_CONDITION_RECONCILING}
	if latest == nil {
		return c
	}
	c.State = latest.state
	own := find(latest.pb.GetConditions(), condReady)
	c.Message = own.GetMessage()
	if latest.state == runpb.Condition_CONDITION_FAILED {
		c.Severity, c.Reasons = runpb.Condition_ERROR, own.GetReasons()
	}
	return c
}

// route resolves a service's traffic targets. The condition says whether all of them can be served.
func (st *store) route(s *service, latest, ready *revision) ([]*runpb.TrafficTargetStatus, *runpb.Condition) {
	c := &runpb.Condition{Type: condRoutes, State: runpb.Condition_CONDITION_SUCCEEDED}
	fail := func(state runpb.Condition_State, message string) {
		if c.GetState() != runpb.Condition_CONDITION_FAILED {
			c.State, c.Message = state, message
		}
		if state == runpb.Condition_CONDITION_FAILED {
			c.Severity = runpb.Condition_ERROR
			c.Reasons = &runpb.Condition_Reason{Reason: runpb.Condition_REVISION_FAILED}
		}
	}
	var statuses []*runpb.TrafficTargetStatus
	for _, t := range targets(s.pb) {
		status := &runpb.TrafficTargetStatus{Type: t.GetType(), Revision: t.GetRevision(), Percent: t.GetPercent(), Tag: t.GetTag()}
		if t.GetTag() != "" {
			status.Uri = st.uri(s.name, t.GetTag())
		}
		r := s.target(t, latest, ready)
		switch {
		case r == nil:
			fail(runpb.Condition_CONDITION_FAILED, fmt.Sprintf("Revision '%s' does not exist.", t.GetRevision()))
		case r.state == runpb.Condition_CONDITION_FAILED:
			fail(r.state, find(r.pb.GetConditions(), condReady).GetMessage())
		case r.state == runpb.Condition_CONDITION_RECONCILING:
			fail(r.state, fmt.Sprintf("Waiting for Revision '%s' to become ready.", r.name.revision))
		}
		statuses = append(statuses, status)
	}
	return statuses, c
}

// targets are a service's traffic targets; none given means everything to the latest ready revision.
func targets(pb *runpb.Service) []*runpb.TrafficTarget {
	if len(pb.GetTraffic()) > 0 {
		return pb.GetTraffic()
	}
	return []*runpb.TrafficTarget{{
		Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, Percent: 100,
	}}
}

// target is the revision that a traffic target means now. The latest is the latest that is ready: traffic stays where
// it is while the next revision starts, and when that fails.
func (s *service) target(t *runpb.TrafficTarget, latest, ready *revision) *revision {
	if t.GetType() == runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION {
		if r := s.revisions[t.GetRevision()]; r != nil && !r.deleting {
			return r
		}
		return nil
	}
	if ready != nil {
		return ready
	}
	return latest
}

// serving tells whether traffic goes to a revision.
func (s *service) serving(r *revision) bool {
	latest, ready := s.latest()
	return slices.ContainsFunc(targets(s.pb), func(t *runpb.TrafficTarget) bool {
		return s.target(t, latest, ready) == r
	})
}

// pick chooses the revision for a request: by tag or, without one, by percentages. n is random in [0, 100).
func (s *service) pick(tag string, n int32) *revision {
	latest, ready := s.latest()
	for _, t := range targets(s.pb) {
		if tag == "" && n < t.GetPercent() || tag != "" && t.GetTag() == tag {
			return s.target(t, latest, ready)
		}
		n -= t.GetPercent()
	}
	return nil
}

// terminal sums the parts up: failed when one is, else reconciling when one is, else succeeded.
func terminal(parts ...*runpb.Condition) *runpb.Condition {
	sum := &runpb.Condition{Type: condReady, State: runpb.Condition_CONDITION_SUCCEEDED}
	for _, state := range []runpb.Condition_State{runpb.Condition_CONDITION_RECONCILING, runpb.Condition_CONDITION_FAILED} {
		for _, p := range parts {
			if p.GetState() == state {
				sum.State, sum.Message, sum.Severity, sum.Reasons = state, p.GetMessage(), p.GetSeverity(), p.GetReasons()
				break
			}
		}
	}
	return sum
}

func find(conditions []*runpb.Condition, kind string) *runpb.Condition {
	for _, c := range conditions {
		if c.GetType() == kind {
			return c
		}
	}
	return nil
}

// transition gives a condition the time at which it took its state.
func transition(old, c *runpb.Condition, now *timestamppb.Timestamp) *runpb.Condition {
	c.LastTransitionTime = now
	if old.GetState() == c.GetState() && old.GetLastTransitionTime() != nil {
		c.LastTransitionTime = old.GetLastTransitionTime()
	}
	return c
}

// setCondition returns conditions with c in the place of the one of its type, or at the end.
func setCondition(conditions []*runpb.Condition, c *runpb.Condition, now *timestamppb.Timestamp) []*runpb.Condition {
	c = transition(find(conditions, c.GetType()), proto.CloneOf(c), now)
	out := slices.Clone(conditions)
	if i := slices.IndexFunc(out, func(o *runpb.Condition) bool { return o.GetType() == c.GetType() }); i >= 0 {
		out[i] = c
		return out
	}
	return append(out, c)
}
