package cloudrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// target is what a twin is to be made of: whatever its kind, as a service and one of its revisions.
type target struct {
	asked    provision.Target
	service  *runpb.Service
	revision *runpb.Revision
	region   string
	// env is what the platform sets in the target and would not set in a service.
	env []*runpb.EnvVar
	// exporter is the full name of what the platform gives its own copy of the image of; empty: it does for none.
	exporter string
}

// find reads the target and, where there are such, the revision of it that runs, or the one asked for.
func (b *Backend) find(ctx context.Context, want provision.Target) (target, error) {
	if err := want.Check(); err != nil {
		return target{}, err
	}
	region := b.Region
	if region == "" {
		var err error
		if region, err = b.regionOf(ctx, want); err != nil {
			return target{}, err
		}
	}
	var t target
	var err error
	switch want.Kind {
	case provision.KindJob:
		t, err = b.findJob(ctx, want, region)
	case provision.KindWorkerPool:
		t, err = b.findPool(ctx, want, region)
	default:
		t, err = b.findService(ctx, want, region)
	}
	t.asked, t.region = want, region
	return t, err
}

func (b *Backend) findService(ctx context.Context, want provision.Target, region string) (target, error) {
	svc, err := b.services.GetService(ctx, &runpb.GetServiceRequest{Name: b.resource(region, want.Name)})
	switch {
	case status.Code(err) == codes.NotFound:
		return target{}, b.unknown(ctx, want, region)
	case err != nil:
		return target{}, b.explain(err, "reading service "+want.Name, "run.services.get")
	}
	if t, ok := b.twinOf(svc); ok {
		return target{}, provision.Hint(fmt.Errorf("%s is itself a twin, of %s", t.Name, t.Source), "cloudssh "+t.Source)
	}
	asked := want.Revision
	if want.Tag != "" {
		if asked, err = tagged(svc, want.Tag); err != nil {
			return target{}, err
		}
	}
	rev, err := b.revision(ctx, want, svc.GetName(), asked, running(svc))
	return target{service: svc, revision: rev, exporter: rev.GetName()}, err
}

// tagged is the revision that a traffic tag of a service points to.
func tagged(svc *runpb.Service, tag string) (string, error) {
	service := lastSegment(svc.GetName())
	tags := map[string]string{}
	for _, t := range svc.GetTraffic() { // what is asked for, where the platform does not say yet what it did
		if t.GetTag() != "" {
			tags[t.GetTag()] = t.GetRevision()
		}
	}
	for _, t := range svc.GetTrafficStatuses() {
		if t.GetTag() != "" {
			tags[t.GetTag()] = t.GetRevision()
		}
	}
	if rev, ok := tags[tag]; ok {
		return cmp.Or(rev, svc.GetLatestReadyRevision(), svc.GetLatestCreatedRevision()), nil // none is named: the newest
	}
	names := slices.Sorted(maps.Keys(tags))
	if len(names) == 0 {
		return "", provision.Hint(fmt.Errorf("no tag %s of service %s, which has none", tag, service),
			fmt.Sprintf("cloudssh %s --revision REVISION", service))
	}
	var hints []string
	for _, n := range names {
		hints = append(hints, fmt.Sprintf("cloudssh %s --tag %s", service, n))
	}
	return "", provision.Hint(fmt.Errorf("no tag %s of service %s; there is %s", tag, service, strings.Join(names, ", ")), hints...)
}

// revision reads the revision asked for of a service or worker pool, or else the one that runs.
func (b *Backend) revision(ctx context.Context, of provision.Target, resource, asked, running string) (*runpb.Revision, error) {
	name := cmp.Or(asked, running)
	if name == "" {
		return nil, fmt.Errorf("%s %s has no revision", of.Kind.Words(), of.Name)
	}
	rev, err := b.revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: resource + "/revisions/" + lastSegment(name)})
	if status.Code(err) == codes.NotFound && asked != "" {
		return nil, b.noRevision(ctx, of, resource, lastSegment(asked))
	}
	return rev, b.explain(err, "reading revision "+lastSegment(name), "run.revisions.get")
}

// running is the revision that gets the most traffic; else the newest that was ever ready; else, for a service that never
// came up, the newest.
func running(svc *runpb.Service) string {
	best, most := svc.GetLatestReadyRevision(), int32(0)
	for _, t := range svc.GetTrafficStatuses() {
		if t.GetRevision() != "" && t.GetPercent() > most {
			best, most = t.GetRevision(), t.GetPercent()
		}
	}
	return cmp.Or(best, svc.GetLatestCreatedRevision())
}

func (b *Backend) noRevision(ctx context.Context, of provision.Target, resource, asked string) error {
	const most = 5
	err := fmt.Errorf("no revision %s of %s %s", asked, of.Kind.Words(), of.Name)
	var hints []string
	it := b.revisions.ListRevisions(ctx, &runpb.ListRevisionsRequest{Parent: resource})
	for len(hints) < most {
		rev, lerr := it.Next()
		if lerr != nil {
			if !errors.Is(lerr, iterator.Done) {
				b.Logger.DebugContext(ctx, "listing revisions for a suggestion", "error", lerr)
			}
			break
		}
		hints = append(hints, fmt.Sprintf("cloudssh %s --revision %s", of, lastSegment(rev.GetName())))
	}
	return provision.Hint(err, hints...)
}

// has reports whether a region has something of this kind and name.
func (b *Backend) has(ctx context.Context, t provision.Target, region string) (bool, error) {
	var err error
	switch t.Kind {
	case provision.KindJob:
		_, err = b.jobs.GetJob(ctx, &runpb.GetJobRequest{Name: b.parent(region) + "/jobs/" + t.Name})
	case provision.KindWorkerPool:
		_, err = b.pools.GetWorkerPool(ctx, &runpb.GetWorkerPoolRequest{Name: b.parent(region) + "/workerPools/" + t.Name})
	default:
		var svc *runpb.Service
		svc, err = b.services.GetService(ctx, &runpb.GetServiceRequest{Name: b.resource(region, t.Name)})
		if _, ok := b.twinOf(svc); err == nil && ok {
			return false, nil
		}
	}
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	return err == nil, err
}

// namesOf are the names of the jobs or worker pools of a region.
func (b *Backend) namesOf(ctx context.Context, kind provision.Kind, region string) ([]string, error) {
	var next func() (string, error)
	if kind == provision.KindJob {
		it := b.jobs.ListJobs(ctx, &runpb.ListJobsRequest{Parent: b.parent(region)})
		next = func() (string, error) { j, err := it.Next(); return j.GetName(), err }
	} else {
		it := b.pools.ListWorkerPools(ctx, &runpb.ListWorkerPoolsRequest{Parent: b.parent(region)})
		next = func() (string, error) { p, err := it.Next(); return p.GetName(), err }
	}
	var names []string
	for {
		name, err := next()
		if errors.Is(err, iterator.Done) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, lastSegment(name))
	}
}
