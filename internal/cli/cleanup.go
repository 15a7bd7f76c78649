package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const cleanupLong = `Deletes the twins that were left behind: yours, or with --all-owners everybody's.

A twin whose lease has not expired may still be in use, or a detached session may
wait in it; cleanup names the sessions and asks before it deletes such twins,
unless --yes is given. Nothing but twins is ever deleted.`

type cleanupOptions struct {
	allOwners bool
	expired   bool
	dryRun    bool
	yes       bool
}

// newCleanupCmd deletes what was left behind.
func newCleanupCmd(a *app) *cobra.Command {
	o := &cleanupOptions{}
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Delete twins that were left behind",
		Long:  cleanupLong,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runCleanup(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.allOwners, "all-owners", false, "other people's twins too")
	f.BoolVar(&o.expired, "expired", false, "only those whose lease has expired")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "delete without asking")
	return cmd
}

func (a *app) runCleanup(ctx context.Context, o *cleanupOptions) error {
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	twins, err := a.twins(ctx, c)
	if err != nil {
		return err
	}
	now := time.Now()
	twins = slices.DeleteFunc(twins, func(t provision.Twin) bool {
		return (!o.allOwners && !t.Mine) || (o.expired && !t.Expired(now))
	})
	if !o.dryRun {
		o.yes = o.yes || a.global.quiet || c.config.DisablePrompts
		if err := a.confirmCleanup(ctx, c, o, twins, now); err != nil {
			return err
		}
	}
	results, failed := a.deleteTwins(ctx, c, twins, o.dryRun)
	if a.json() {
		return errors.Join(failed, ui.WriteJSON(output{a.out}, results))
	}
	if len(twins) == 0 {
		a.ui.Notef("nothing to clean up in project %s", c.config.Project)
	}
	return failed
}

// confirmCleanup asks before what may still be in use is deleted.
func (a *app) confirmCleanup(ctx context.Context, c *cloud, o *cleanupOptions, twins []provision.Twin, now time.Time) error {
	live := slices.DeleteFunc(slices.Clone(twins), func(t provision.Twin) bool { return t.Expired(now) })
	if len(live) == 0 || o.yes {
		return nil
	}
	names := twinNames(live, a.inUse(ctx, c, live))
	if !a.ui.Interactive() {
		return withHints(fmt.Errorf("%s may still be in use (%s), and there is no terminal to ask on", count(len(live), "twin"), names),
			"cloudssh cleanup --yes", "cloudssh cleanup --expired")
	}
	ok, err := a.ui.Confirm(ctx, fmt.Sprintf("%s may still be in use (%s). Delete?", count(len(live), "twin"), names))
	if err != nil {
		return err
	}
	if !ok {
		return ui.ErrCancelled
	}
	return nil
}

// inUse says, for each of our twins, what its agent says of the terminal
// sessions in it. No answer is no reason not to ask the person.
func (a *app) inUse(ctx context.Context, c *cloud, twins []provision.Twin) map[string]string {
	asking, err := a.newConnection(c, &connectOptions{})
	if err != nil {
		a.log.Info("asking the twins", "error", err)
		return nil
	}
	own := slices.DeleteFunc(slices.Clone(twins), func(t provision.Twin) bool { return !t.Mine })
	places, _ := a.sessionsIn(ctx, asking, own)
	use := map[string]string{}
	for _, p := range places {
		text := fmt.Sprintf("session %d, %s", p.info.ID, p.state(time.Now()))
		if before := use[p.twin.Name]; before != "" {
			text = before + "; " + text
		}
		use[p.twin.Name] = text
	}
	return use
}

// twinNames names twins, with what is known of their use.
func twinNames(twins []provision.Twin, use map[string]string) string {
	text := ""
	for i, t := range twins {
		if i == 5 {
			return fmt.Sprintf("%s and %d more", text, len(twins)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += t.Name
		if u := use[t.Name]; u != "" {
			text += " (" + u + ")"
		}
	}
	return text
}

// deleteTwins deletes them all, one failure notwithstanding.
func (a *app) deleteTwins(ctx context.Context, c *cloud, twins []provision.Twin, dryRun bool) (results []twinReport, failed error) {
	results = []twinReport{}
	for _, t := range twins {
		r := report(t, time.Now())
		err := a.deleteTwin(ctx, c, t, dryRun)
		deleted := err == nil && !dryRun
		r.Deleted = &deleted
		if err != nil {
			r.Error = err.Error()
			failed = errors.Join(failed, withHints(fmt.Errorf("deleting %s: %w", t.Name, err), t.Commands()[1:]...))
		}
		results = append(results, r)
	}
	return results, failed
}

func (a *app) deleteTwin(ctx context.Context, c *cloud, t provision.Twin, dryRun bool) error {
	verb, err := "deleted", error(nil)
	if dryRun {
		verb = "would delete"
	} else {
		_, done := a.ui.Progress("deleting " + t.Name)
		err = c.backend.Delete(ctx, t)
		done(err)
		a.ui.Settle("")
	}
	if err != nil || a.json() {
		return err
	}
	_, err = fmt.Fprintf(output{a.out}, "%s %s (a twin of %s in %s)\n", verb, t.Name, t.Source, t.Region)
	return err
}
