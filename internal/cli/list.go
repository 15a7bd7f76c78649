package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// newListCmd lists the twins there are.
func newListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the twins in the project, in all regions",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runList(cmd.Context()) },
	}
}

func (a *app) runList(ctx context.Context) error {
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	twins, err := a.twins(ctx, c)
	if err != nil {
		return err
	}
	defer a.sweep(ctx, c)() // now: what is expired was to be listed
	if a.json() {
		return ui.WriteJSON(output{a.out}, reports(twins, time.Now()))
	}
	if len(twins) == 0 {
		a.ui.Notef("no twins in project %s", c.config.Project)
		return nil
	}
	return a.printTwins(twins)
}

// twins are the twins of the project, sorted. A region that does not answer
// is named, and does not hide the others.
func (a *app) twins(ctx context.Context, c *cloud) ([]provision.Twin, error) {
	var (
		twins  []provision.Twin
		failed error
	)
	for t, err := range c.backend.Twins(ctx) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if c.config.Source("run/region") == "--region" && t.Region != c.config.Region {
			continue
		}
		twins = append(twins, t)
	}
	if failed != nil && len(twins) == 0 {
		return nil, failed
	}
	if failed != nil {
		a.ui.Warnf("the list is incomplete: %v", failed)
	}
	slices.SortFunc(twins, func(x, y provision.Twin) int {
		return cmp.Or(cmp.Compare(x.Region, y.Region), cmp.Compare(x.Name, y.Name))
	})
	return twins, nil
}

// twinReport is a twin as JSON.
type twinReport struct {
	Name    string    `json:"name"`
	Service string    `json:"service"`
	Project string    `json:"project"`
	Region  string    `json:"region"`
	URL     string    `json:"url"`
	Account string    `json:"account"`
	Mine    bool      `json:"mine"`
	Reason  string    `json:"reason,omitempty"`
	Ready   bool      `json:"ready"`
	Keep    bool      `json:"keep"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	// CostUSD is an estimate of what the twin has cost so far: list price of
	// the region's price tier. Both are null when they are not known.
	CostUSD   *float64 `json:"cost_usd"`
	PriceTier *int     `json:"price_tier"`
	Deleted   *bool    `json:"deleted,omitempty"` // set by cleanup
	Error     string   `json:"error,omitempty"`
}

func report(t provision.Twin, now time.Time) twinReport {
	r := twinReport{
		Name: t.Name, Service: t.Source, Project: t.Project, Region: t.Region, URL: t.URL,
		Account: t.Account, Mine: t.Mine, Reason: t.Reason, Ready: t.Ready, Keep: t.Keep,
		Created: t.Created.UTC(), Expires: t.Expires.UTC(), Expired: t.Expired(now),
	}
	if t.Shape != (provision.Shape{}) {
		cost := provision.Cost(t.Region, t.Shape, lived(t, now))
		r.CostUSD = &cost
	}
	if tier, known := provision.Tier(t.Region); known {
		r.PriceTier = &tier
	}
	return r
}

// reports is never nil, so that no twins is [] in JSON.
func reports(twins []provision.Twin, now time.Time) []twinReport {
	out := make([]twinReport, 0, len(twins))
	for _, t := range twins {
		out = append(out, report(t, now))
	}
	return out
}

func (a *app) printTwins(twins []provision.Twin) error {
	now := time.Now()
	var rows [][]string
	for _, t := range twins {
		owner := t.Account
		if t.Mine {
			owner = "you"
		}
		expires := "expired"
		if !t.Expired(now) {
			expires = "in " + short(t.Expires.Sub(now))
		}
		cost := "?"
		if t.Shape != (provision.Shape{}) {
			cost = fmt.Sprintf("~$%.2f", provision.Cost(t.Region, t.Shape, lived(t, now)))
		}
		state := "ready"
		if !t.Ready {
			state = "not ready"
		}
		rows = append(rows, []string{t.Name, t.Source, t.Region, owner, state, short(now.Sub(t.Created)), expires, cost, t.Reason})
	}
	return ui.Table(output{a.out}, []string{"TWIN", "SERVICE", "REGION", "OWNER", "STATE", "AGE", "EXPIRES", "COST", "REASON"}, rows)
}

// short is a duration as people say it, cut off after what matters: 45s, 12m,
// 7h59m, 30h, 3d. kubectl does likewise.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour && d.Truncate(time.Minute)%time.Hour != 0:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// count is a number of things in words: 1 session, 2 sessions.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
