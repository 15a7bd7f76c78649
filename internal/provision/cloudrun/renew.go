package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// Renew implements provision.Backend. Only the service's own labels are written: those of the template stay, since a
// changed template is a new revision, whose instance would replace the one that the session is in. The etag keeps two
// renewals, or a renewal and a deletion, from undoing each other.
func (b *Backend) Renew(ctx context.Context, t provision.Twin, expires time.Time) error {
	doing := "renewing the lease of " + t.Name
	pause := b.pauses()
	var last error
	for range maxTries {
		svc, err := b.services.GetService(ctx, &runpb.GetServiceRequest{Name: b.resource(t.Region, t.Name)})
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("%s: %w", doing, provision.ErrTwinGone)
		}
		if err == nil {
			there, ok := b.twinOf(svc)
			switch {
			case !ok:
				return fmt.Errorf("%s: service %s is no twin", doing, t.Name)
			case !same(there, t) || svc.GetDeleteTime() != nil:
				return fmt.Errorf("%s: %w", doing, provision.ErrTwinGone)
			case !there.Expires.Before(expires.Truncate(time.Second)):
				return nil
			}
			there.Expires = expires
			err = b.relabel(ctx, svc, there.Labels(there.Source))
		}
		switch {
		case err == nil:
			return nil
		case !again(err):
			return b.explain(err, doing, "run.services.update")
		}
		last = b.explain(err, doing, "run.services.update")
		if err := pause(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", doing, err), last)
		}
	}
	return last
}

// relabel writes labels of a service that was just read, and waits until that is done. Its errors are the API's.
func (b *Backend) relabel(ctx context.Context, svc *runpb.Service, lease map[string]string) error {
	labels := maps.Clone(svc.GetLabels())
	maps.Copy(labels, lease)
	op, err := b.services.UpdateService(ctx, &runpb.UpdateServiceRequest{
		Service:    &runpb.Service{Name: svc.GetName(), Labels: labels, Etag: svc.GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
	})
	if err != nil {
		return err
	}
	return b.updated(ctx, op)
}

func (b *Backend) updated(ctx context.Context, op *run.UpdateServiceOperation) error {
	for pause := b.pauses(); ; {
		_, err := op.Poll(ctx)
		switch {
		case status.Code(err) == codes.NotFound:
			return errLook
		case err != nil && !transient(err):
			return err
		case op.Done():
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}
