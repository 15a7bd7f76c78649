package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// discardTimeout bounds the removal of what a failed Create made.
const discardTimeout = 60 * time.Second

// Delete implements provision.Backend.
func (b *Backend) Delete(ctx context.Context, t provision.Twin) error {
	pause := b.pauses()
	var last error // why the deletion was not accepted, to be told when patience ends
	for refusals := 0; refusals < maxTries; {
		svc, err := b.services.GetService(ctx, &runpb.GetServiceRequest{Name: b.resource(t.Region, t.Name)})
		switch {
		case status.Code(err) == codes.NotFound:
			return nil
		case err != nil:
			return b.explain(err, "reading twin "+t.Name, "run.services.get")
		}
		there, ok := b.twinOf(svc)
		if !ok {
			return fmt.Errorf("service %s is no twin: not deleting it", t.Name)
		}
		if !same(there, t) {
			return nil
		}
		if svc.GetDeleteTime() == nil {
			if err = b.deleteService(ctx, svc); !again(err) {
				return b.explain(err, "deleting "+t.Name, "run.services.delete")
			}
			last = b.explain(err, "deleting "+t.Name, "")
			refusals++
		}
		if err := pause(ctx); err != nil {
			return errors.Join(fmt.Errorf("waiting for %s to be deleted: %w", t.Name, err), last)
		}
	}
	return last
}

// same reports whether a twin that is there is the one that is meant, and not a later one of that name.
func same(there, meant provision.Twin) bool {
	switch {
	case meant.Maker != "":
		return there.Maker == meant.Maker
	case meant.UID != "":
		return there.UID == meant.UID
	}
	return true
}

// errLook: it is not known whether the service is gone.
var errLook = errors.New("the operation is not known any more")

// again: the etag sent is not the service's any more, or something else goes on with it, or a look is needed: after a lost
// connection nobody knows whether the call arrived.
func again(err error) bool {
	c := status.Code(err)
	return c == codes.Aborted || c == codes.FailedPrecondition || transient(err) || errors.Is(err, errLook)
}

// deleteService deletes the very service that was read, and waits until it is gone. Its errors are the API's.
func (b *Backend) deleteService(ctx context.Context, svc *runpb.Service) error {
	op, err := b.services.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: svc.GetName(), Etag: svc.GetEtag()})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	for pause := b.pauses(); ; {
		if _, err := op.Poll(ctx); err != nil && !transient(err) {
			if status.Code(err) == codes.NotFound {
				return errLook
			}
			return err
		}
		if op.Done() {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for %s to be deleted: %w", lastSegment(svc.GetName()), err)
		}
	}
}

// transient errors say nothing about what was asked.
func transient(err error) bool { return status.Code(err) == codes.Unavailable }

// discard deletes what a failed Create made, whatever became of ctx, and joins its own failure to the cause.
func (m *making) discard(ctx context.Context, t provision.Twin, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	err := m.step("deleting "+t.Name, func(func(string)) error { return m.Delete(ctx, t) })
	if err == nil {
		return cause
	}
	return provision.Hint(errors.Join(cause, fmt.Errorf("deleting %s after that: %w", t.Name, err)), t.Commands()...)
}
