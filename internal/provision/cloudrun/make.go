package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// errExists: another was faster with this name.
var errExists = errors.New("the service exists already")

// make creates a twin and waits until it is ready. If anything goes wrong after the platform may have begun, what there is
// of it is deleted.
func (m *making) make(ctx context.Context, name string) (*provision.Twin, error) {
	spec, fields, err := m.derive(ctx, name)
	if err != nil {
		return nil, err
	}
	t := m.twin(name, spec)
	if m.req.Planned != nil {
		m.req.Planned(m.plan(name, spec, fields))
	}
	if m.req.Confirm != nil {
		if err := m.req.Confirm(ctx, t); err != nil {
			return nil, err
		}
	}
	var op *run.CreateServiceOperation
	err = m.step("creating "+name, func(func(string)) (err error) {
		op, err = m.create(ctx, t, spec)
		return err
	})
	if doubt := (*doubtError)(nil); errors.As(err, &doubt) {
		return nil, m.discard(ctx, t, err)
	}
	if err != nil {
		return nil, err
	}
	var svc *runpb.Service
	err = m.step("waiting for Ready", func(update func(string)) (err error) {
		svc, err = m.await(ctx, t, op, update)
		return err
	})
	if err != nil {
		return nil, m.discard(ctx, t, err)
	}
	made, _ := m.twinOf(svc)
	made.Mine = true
	return &made, nil
}

// create asks the platform whether it would create the service, then to do so.
func (m *making) create(ctx context.Context, t provision.Twin, spec *runpb.Service) (*run.CreateServiceOperation, error) {
	req := &runpb.CreateServiceRequest{Parent: m.parent(t.Region), ServiceId: t.Name, Service: spec, ValidateOnly: true}
	trial, done := context.WithTimeout(ctx, createTimeout)
	defer done()
	op, err := m.services.CreateService(trial, req)
	if err == nil && op.Done() { // the verdict may come as the operation's
		_, err = op.Poll(trial)
	}
	if err != nil {
		return nil, m.createError(err, t)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("creating %s: %w", t.Name, context.Cause(ctx))
	}
	if m.req.Made != nil {
		m.req.Made(t)
	}
	req.ValidateOnly = false
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	op, err = m.services.CreateService(call, req)
	switch status.Code(err) {
	case codes.OK:
		return op, nil
	case codes.DeadlineExceeded, codes.Unavailable, codes.Canceled, codes.Unknown, codes.Internal:
		return nil, &doubtError{m.createError(err, t)}
	}
	return nil, m.createError(err, t)
}

// doubtError is a failed creation that may have begun all the same.
type doubtError struct{ error }

func (e *doubtError) Unwrap() error { return e.error }

func (m *making) createError(err error, t provision.Twin) error {
	if status.Code(err) == codes.AlreadyExists {
		return errExists
	}
	return m.explain(err, "creating "+t.Name, "run.services.create")
}

// await follows the operation, telling of conditions as they change, until the service is ready.
func (m *making) await(ctx context.Context, t provision.Twin, op *run.CreateServiceOperation, update func(string)) (*runpb.Service, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s is not ready after %s", t.Name, readyTimeout))
	defer cancel()
	conditions := newConditionLog(update)
	for pause := m.pauses(); ; {
		svc, err := op.Poll(ctx)
		switch {
		case err != nil && op.Done():
			return nil, m.notReady(ctx, t, err, nil)
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, context.Cause(ctx))
		case err != nil && !transient(err):
			return nil, m.explain(err, "waiting for "+t.Name, "run.operations.get")
		case svc != nil:
			return m.settle(ctx, t, svc, conditions)
		}
		if now, err := op.Metadata(); err == nil && now != nil {
			conditions.show(now)
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, err)
		}
	}
}

// settle waits until a service is ready or has failed. It serves the twin just created, whose operation may end a moment
// before, and the twin that another process is creating.
func (m *making) settle(ctx context.Context, t provision.Twin, svc *runpb.Service, conditions *conditionLog) (*runpb.Service, error) {
	for pause := m.pauses(); ; {
		conditions.show(svc)
		switch {
		case ready(svc):
			return svc, nil
		case broken(svc):
			return nil, m.notReady(ctx, t, nil, svc)
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, err)
		}
		now, err := m.services.GetService(ctx, &runpb.GetServiceRequest{Name: m.resource(t.Region, t.Name)})
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, context.Cause(ctx))
		case status.Code(err) == codes.NotFound:
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, errVanished)
		case err != nil && !transient(err):
			return nil, m.explain(err, "waiting for "+t.Name, "run.services.get")
		case err != nil: // and look again
		case m.vanished(now, t):
			return nil, fmt.Errorf("waiting for %s: %w", t.Name, errVanished)
		default:
			svc = now
		}
	}
}

// errVanished: somebody deleted the twin while we waited for it.
var errVanished = errors.New("it was deleted")

// vanished reports whether a twin is being deleted, or another service has its name now.
func (m *making) vanished(svc *runpb.Service, t provision.Twin) bool {
	there, ok := m.twinOf(svc)
	return !ok || !same(there, t) || svc.GetDeleteTime() != nil
}

// join waits for a twin that is there.
func (m *making) join(ctx context.Context, svc *runpb.Service) (*provision.Twin, error) {
	t, _ := m.twinOf(svc)
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s is not ready after %s", t.Name, readyTimeout))
	defer cancel()
	err := m.step("joining "+t.Name, func(update func(string)) (err error) {
		svc, err = m.settle(ctx, t, svc, newConditionLog(update))
		return err
	})
	var failed *NotReadyError
	switch {
	case errors.Is(err, errVanished):
		return nil, errVanished
	case errors.As(err, &failed): // nobody can be in it, and its maker may be dead
		return nil, m.discard(ctx, t, err)
	case err != nil:
		return nil, err
	}
	joined, _ := m.twinOf(svc)
	joined.Joined = true
	if m.req.Made != nil {
		m.req.Made(joined)
	}
	return &joined, nil
}

// notReady gathers what the platform says about a twin that did not come up: err is the operation's, svc the service, if
// it was read. It is called before the twin is deleted, and has time even when ctx has ended.
func (m *making) notReady(ctx context.Context, t provision.Twin, err error, svc *runpb.Service) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	e := &NotReadyError{Twin: t.Name, err: err}
	if svc == nil {
		read, gerr := m.services.GetService(ctx, &runpb.GetServiceRequest{Name: m.resource(t.Region, t.Name)})
		if gerr != nil {
			m.Logger.DebugContext(ctx, "reading the twin that failed", "error", gerr)
		}
		svc = read
	}
	e.Message = svc.GetTerminalCondition().GetMessage()
	if st, ok := status.FromError(err); ok && err != nil && st.Message() != "" {
		e.Message = text(st)
	}
	if e.Message == "" {
		e.Message = describe(svc.GetTerminalCondition())
	}
	if name := svc.GetLatestCreatedRevision(); name != "" {
		m.explainRevision(ctx, e, svc.GetName()+"/revisions/"+lastSegment(name))
	}
	e.hints = m.helps(strings.Join(append(e.Conditions, e.Message), "\n"))
	return e
}

// helps is what to try after the platform said this about a twin that did not come up.
func (m *making) helps(said string) []string {
	hints := remedies(said, m.Project)
	if m.sidecar != "" && strings.Contains(said, repositoryOf(m.sidecar)) { // it cannot read that image
		hints = append(hints, fmt.Sprintf("cloudssh %s --agent-image IMAGE", m.req.Target))
	}
	all := m.target.revision.GetContainers()
	if len(hints) > 0 || len(all) == 1 || m.req.NoSidecars {
		return hints
	}
	// The agent starts in any image; of the target's own programs those of the other containers are the only ones that run.
	hints = append(hints, fmt.Sprintf("cloudssh %s --no-sidecars", m.req.Target))
	for i, c := range all {
		if i != m.images.main && c.GetName() != "" {
			hints = append(hints, fmt.Sprintf("cloudssh %s --container %s", m.req.Target, c.GetName()))
		}
	}
	return hints
}

func (m *making) explainRevision(ctx context.Context, e *NotReadyError, name string) {
	const lines = 20
	rev, err := m.revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: name})
	if err != nil {
		m.Logger.DebugContext(ctx, "reading the revision that failed", "error", err)
		return
	}
	for _, c := range rev.GetConditions() {
		if c.GetState() != runpb.Condition_CONDITION_SUCCEEDED {
			e.Conditions = append(e.Conditions, describe(c))
		}
	}
	e.LogURI = rev.GetLogUri()
	if m.Logs == nil || e.LogURI == "" {
		return
	}
	logs, err := m.Logs(ctx, e.LogURI)
	if err != nil {
		m.Logger.DebugContext(ctx, "reading the logs of the revision that failed", "error", err)
	}
	e.Logs = logs[max(0, len(logs)-lines):]
}
