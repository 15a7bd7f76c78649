package cloudrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// target is what a twin is to be made of.
type target struct {
	service  *runpb.Service
	revision *runpb.Revision
	region   string
}

func (t target) name() string { return lastSegment(t.service.GetName()) }

// find reads the service and the revision of it that runs, or the one asked for.
func (b *Backend) find(ctx context.Context, req provision.Request) (target, error) {
	if err := provision.CheckName(req.Target.Name); err != nil {
		return target{}, err
	}
	region := b.Region
	if region == "" {
		var err error
		if region, err = b.regionOf(ctx, req.Target.Name); err != nil {
			return target{}, err
		}
	}
	svc, err := b.services.GetService(ctx, &runpb.GetServiceRequest{Name: b.resource(region, req.Target.Name)})
	switch {
	case status.Code(err) == codes.NotFound:
		return target{}, b.unknown(ctx, req.Target.Name, region)
	case err != nil:
		return target{}, b.explain(err, "reading service "+req.Target.Name, "run.services.get")
	}
	if t, ok := b.twinOf(svc); ok {
		return target{}, provision.Hint(fmt.Errorf("%s is itself a twin, of %s", t.Name, t.Source), "cloudssh "+t.Source)
	}
	rev, err := b.revision(ctx, svc, req.Target.Revision)
	return target{service: svc, revision: rev, region: region}, err
}

// regionOf looks for a service in all regions.
func (b *Backend) regionOf(ctx context.Context, service string) (string, error) {
	all, err := b.survey(ctx)
	if err != nil {
		return "", err
	}
	switch regions := all.regionsOf(service); len(regions) {
	case 0:
		return "", all.unknown(service, "")
	case 1:
		return regions[0], nil
	default:
		var hints []string
		for _, r := range regions {
			hints = append(hints, fmt.Sprintf("cloudssh %s --region %s", service, r))
		}
		return "", provision.Hint(fmt.Errorf("service %s is in several regions: %s; choose one with --region",
			service, strings.Join(regions, ", ")), hints...)
	}
}

// unknown says that a region has no such service, and what there is. The listing only helps: without it the error is
// shorter.
func (b *Backend) unknown(ctx context.Context, service, region string) error {
	all, err := b.survey(ctx)
	if err != nil {
		b.Logger.DebugContext(ctx, "listing services for a suggestion", "error", err)
		return fmt.Errorf("no service %s in %s of project %s", service, region, b.Project)
	}
	return all.unknown(service, region)
}

// survey is all services of a project.
type survey struct {
	project     string
	services    []provision.Service
	unreachable []string
}

func (b *Backend) survey(ctx context.Context) (survey, error) {
	s := survey{project: b.Project}
	for k, err := range b.list(ctx, "") {
		var some *UnreachableError
		switch {
		case errors.As(err, &some):
			s.unreachable = some.Regions
		case err != nil:
			return survey{}, err
		case !provision.IsTwin(k.Metadata.Labels):
			s.services = append(s.services, provision.Service{Name: k.Metadata.Name, Region: k.region()})
		}
	}
	return s, nil
}

func (s survey) regionsOf(service string) []string {
	var regions []string
	for _, svc := range s.services {
		if svc.Name == service {
			regions = append(regions, svc.Region)
		}
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}

// unknown is the error for a service that is not in region, or in any when that is empty.
func (s survey) unknown(service, region string) error {
	where := "any region of project " + s.project
	if region != "" {
		where = region + " of project " + s.project
	}
	msg := fmt.Sprintf("no service %s in %s", service, where)
	if len(s.unreachable) > 0 {
		msg += " (no answer from " + strings.Join(s.unreachable, ", ") + ")"
	}
	var hints []string
	for _, elsewhere := range s.regionsOf(service) {
		hints = append(hints, fmt.Sprintf("cloudssh %s --region %s", service, elsewhere))
	}
	if len(hints) == 0 {
		near := s.near(service, region)
		if len(near) > 0 {
			msg += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		for _, n := range near {
			hints = append(hints, "cloudssh "+n)
		}
	}
	if len(s.services) == 0 {
		msg += "; the project has no services"
		hints = append(hints, "cloudssh demo   (needs no project)")
	}
	if len(hints) == 0 {
		hints = append(hints, "gcloud run services list --project "+s.project)
	}
	return provision.Hint(errors.New(msg), hints...)
}

// near are the up to three names most like the one given.
func (s survey) near(service, region string) []string {
	const most = 3
	type candidate struct {
		name string
		d    int
	}
	var found []candidate
	for _, svc := range s.services {
		if region != "" && svc.Region != region {
			continue
		}
		d := distance(service, svc.Name)
		within := len(service) >= 3 && (strings.Contains(svc.Name, service) || strings.Contains(service, svc.Name))
		if d <= max(2, len(service)/3) || within {
			found = append(found, candidate{svc.Name, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.d, b.d), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range slices.Compact(found) {
		names = append(names, c.name)
	}
	return names[:min(most, len(names))]
}

// distance is the number of letters to add, leave out or replace to make a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// revision reads the revision asked for, or else the one that runs.
func (b *Backend) revision(ctx context.Context, svc *runpb.Service, asked string) (*runpb.Revision, error) {
	name := asked
	if name == "" {
		name = running(svc)
	}
	if name == "" {
		return nil, fmt.Errorf("service %s has no revision", lastSegment(svc.GetName()))
	}
	full := svc.GetName() + "/revisions/" + lastSegment(name)
	rev, err := b.revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: full})
	if status.Code(err) == codes.NotFound && asked != "" {
		return nil, b.noRevision(ctx, svc, asked)
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

func (b *Backend) noRevision(ctx context.Context, svc *runpb.Service, asked string) error {
	const most = 5
	err := fmt.Errorf("no revision %s of service %s", asked, lastSegment(svc.GetName()))
	var hints []string
	it := b.revisions.ListRevisions(ctx, &runpb.ListRevisionsRequest{Parent: svc.GetName()})
	for len(hints) < most {
		rev, lerr := it.Next()
		if lerr != nil {
			if !errors.Is(lerr, iterator.Done) {
				b.Logger.DebugContext(ctx, "listing revisions for a suggestion", "error", lerr)
			}
			break
		}
		hints = append(hints, fmt.Sprintf("cloudssh %s --revision %s", lastSegment(svc.GetName()), lastSegment(rev.GetName())))
	}
	return provision.Hint(err, hints...)
}
