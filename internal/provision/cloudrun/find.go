package cloudrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	// suggestTimeout bounds what is asked for nothing but a better error.
	suggestTimeout = 10 * time.Second
	// regionsAtOnce is how many regions are asked at the same time.
	regionsAtOnce = 16
)

// regionOf looks for a target in all regions.
func (b *Backend) regionOf(ctx context.Context, want provision.Target) (string, error) {
	all, err := b.survey(ctx, want, "")
	if err != nil {
		return "", err
	}
	switch regions := all.regionsOf(want.Name); len(regions) {
	case 0:
		return "", all.unknown("", b.namesakes(ctx, want, ""))
	case 1:
		return regions[0], nil
	default:
		var hints []string
		for _, r := range regions {
			hints = append(hints, fmt.Sprintf("cloudssh %s --region %s", want, r))
		}
		return "", provision.Hint(fmt.Errorf("%s %s is in several regions: %s; choose one with --region",
			want.Kind.Words(), want.Name, strings.Join(regions, ", ")), hints...)
	}
}

// unknown says that a region has no such target, and what there is. The listing only helps: without it the error is
// shorter.
func (b *Backend) unknown(ctx context.Context, want provision.Target, region string) error {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	others := b.namesakes(ctx, want, region)
	all, err := b.survey(ctx, want, region)
	if err != nil {
		b.Logger.DebugContext(ctx, "listing for a suggestion", "error", err)
		if len(others) == 0 {
			return fmt.Errorf("no %s %s in %s of project %s", want.Kind.Words(), want.Name, region, b.Project)
		}
	}
	return all.unknown(region, others)
}

// survey is what there is of a target's kind: all services of a project, or the jobs or worker pools of a region. Without
// a region, of the latter only those of the target's name.
type survey struct {
	want        provision.Target
	project     string
	there       []provision.Service
	unreachable []string
}

func (b *Backend) survey(ctx context.Context, want provision.Target, region string) (survey, error) {
	s := survey{project: b.Project, want: want}
	switch {
	case want.Kind == "" || want.Kind == provision.KindService:
		return b.allServices(ctx, s)
	case region == "":
		regions, unreachable, err := b.everywhere(ctx, want)
		for _, r := range regions {
			s.there = append(s.there, provision.Service{Name: want.Name, Region: r})
		}
		s.unreachable = unreachable
		return s, err
	}
	names, err := b.namesOf(ctx, want.Kind, region)
	for _, n := range names {
		s.there = append(s.there, provision.Service{Name: n, Region: region})
	}
	return s, err
}

func (b *Backend) allServices(ctx context.Context, s survey) (survey, error) {
	for k, err := range b.list(ctx, "") {
		var some *UnreachableError
		switch {
		case errors.As(err, &some):
			s.unreachable = some.Regions
		case err != nil:
			return s, err
		case !provision.IsTwin(k.Metadata.Labels):
			s.there = append(s.there, provision.Service{Name: k.Metadata.Name, Region: k.region()})
		}
	}
	return s, nil
}

// everywhere are the regions that have a job or worker pool of this name, and those that did not answer. Neither version
// of the API lists them across regions.
func (b *Backend) everywhere(ctx context.Context, t provision.Target) (regions, unreachable []string, err error) {
	all, err := b.regions(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var last error
	var g errgroup.Group
	g.SetLimit(regionsAtOnce)
	for _, r := range all {
		g.Go(func() error {
			there, err := b.has(ctx, t, r)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				last = err
				unreachable = append(unreachable, r)
			case there:
				regions = append(regions, r)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	slices.Sort(unreachable)
	slices.Sort(regions)
	if len(unreachable) == len(all) {
		return nil, nil, b.explain(last, "looking for "+t.String(), "")
	}
	return regions, unreachable, nil
}

// regions are those that Cloud Run has for the project.
func (b *Backend) regions(ctx context.Context) ([]string, error) {
	var all []string
	for token := ""; ; {
		var page struct {
			Locations []struct {
				LocationID string `json:"locationId"`
			} `json:"locations"`
			NextPageToken string `json:"nextPageToken"`
		}
		path := "/v1/projects/" + b.Project + "/locations"
		if token != "" {
			path += "?" + url.Values{"pageToken": {token}}.Encode()
		}
		if err := b.get(ctx, path, &page); err != nil {
			return nil, b.explain(err, "listing the regions of "+b.Project, "run.locations.list")
		}
		for _, l := range page.Locations {
			all = append(all, l.LocationID)
		}
		if token = page.NextPageToken; token == "" {
			return all, nil
		}
	}
}

// namesakes are the targets of other kinds that have this name.
func (b *Backend) namesakes(ctx context.Context, want provision.Target, region string) []provision.Target {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	var found []provision.Target
	for _, kind := range []provision.Kind{provision.KindService, provision.KindJob, provision.KindWorkerPool} {
		other := provision.Target{Kind: kind, Name: want.Name}
		if other.String() == want.String() || other.Check() != nil {
			continue
		}
		there, err := false, error(nil)
		if region != "" {
			there, err = b.has(ctx, other, region)
		} else {
			var regions []string
			regions, _, err = b.everywhere(ctx, other)
			there = len(regions) > 0
		}
		if err != nil {
			b.Logger.DebugContext(ctx, "looking for a namesake", "target", other, "error", err)
		}
		if there {
			found = append(found, other)
		}
	}
	return found
}

func (s survey) regionsOf(name string) []string {
	var regions []string
	for _, svc := range s.there {
		if svc.Name == name {
			regions = append(regions, svc.Region)
		}
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}

// unknown is the error for a target that is not in region, or in any when that is empty. others are of its name and of
// other kinds.
func (s survey) unknown(region string, others []provision.Target) error {
	where := "any region of project " + s.project
	if region != "" {
		where = region + " of project " + s.project
	}
	msg := fmt.Sprintf("no %s %s in %s", s.want.Kind.Words(), s.want.Name, where)
	if len(s.unreachable) > 0 {
		msg += " (no answer from " + strings.Join(s.unreachable, ", ") + ")"
	}
	var hints []string
	for _, other := range others {
		msg += fmt.Sprintf("; there is a %s of that name", other.Kind.Words())
		hints = append(hints, "cloudssh "+other.String())
	}
	for _, elsewhere := range s.regionsOf(s.want.Name) {
		hints = append(hints, fmt.Sprintf("cloudssh %s --region %s", s.want, elsewhere))
	}
	if len(hints) == 0 {
		meant, more := s.suggest(region)
		msg, hints = msg+meant, more
	}
	return provision.Hint(errors.New(msg), hints...)
}

// suggest adds to an error what may have been meant, and where to look.
func (s survey) suggest(region string) (text string, hints []string) {
	var near []string
	for _, name := range s.near(s.want.Name, region) {
		near = append(near, provision.Target{Kind: s.want.Kind, Name: name}.String())
	}
	if len(near) > 0 {
		text = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	for _, n := range near {
		hints = append(hints, "cloudssh "+n)
	}
	collection := map[provision.Kind]string{provision.KindJob: "jobs", provision.KindWorkerPool: "worker-pools"}[s.want.Kind]
	if collection == "" {
		collection = "services"
		if len(s.there) == 0 {
			text += "; the project has no services"
			hints = append(hints, "cloudssh demo   (needs no project)")
		}
	}
	if len(hints) == 0 {
		hints = append(hints, fmt.Sprintf("gcloud run %s list --project %s", collection, s.project))
	}
	return text, hints
}

// near are the up to three names most like the one given.
func (s survey) near(name, region string) []string {
	const most = 3
	type candidate struct {
		name string
		d    int
	}
	var found []candidate
	for _, svc := range s.there {
		if region != "" && svc.Region != region {
			continue
		}
		d := distance(name, svc.Name)
		within := len(name) >= 3 && (strings.Contains(svc.Name, name) || strings.Contains(name, svc.Name))
		if d <= max(2, len(name)/3) || within {
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
