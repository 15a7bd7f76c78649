package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const diffLong = `Shows what a twin would have otherwise than the service it is made of, field by
field, with the reason. It reads, and makes nothing. The flags are those of a
session; with --all, and in JSON, fields that are copied as they are appear too.

In the twin, cloudssh-env --diff does the same for the environment of a session.`

const diffExample = `  cloudssh diff hello
  cloudssh diff job:nightly --inject sidecar
  cloudssh diff hello --format json | jq '.fields[] | select(.decision == "drop")'`

type diffOptions struct {
	connect connectOptions
	all     bool
}

// newDiffCmd shows how a twin differs.
func newDiffCmd(a *app) *cobra.Command {
	o := &diffOptions{}
	cmd := &cobra.Command{
		Use:               "diff SERVICE",
		Short:             "Show what a twin would have otherwise than its service, and why",
		Long:              diffLong,
		Example:           diffExample,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.connect.service, err = oneService(cmd, args); err != nil {
				return err
			}
			if o.connect.service == "" {
				return usagef("%s wants a service", cmd.CommandPath())
			}
			if err := o.connect.validate(); err != nil {
				return err
			}
			return a.runDiff(cmd.Context(), o)
		},
	}
	o.connect.escape = "none"
	o.connect.registerTwin(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "show fields that are copied as they are, too")
	return cmd
}

// diffReport is what --format json prints.
type diffReport struct {
	Twin    string                 `json:"twin"`
	Service string                 `json:"service"`
	Project string                 `json:"project"`
	Region  string                 `json:"region"`
	Inject  provision.InjectMethod `json:"inject"`
	Fields  []provision.Field      `json:"fields"`
}

func (a *app) runDiff(ctx context.Context, o *diffOptions) error {
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	s, err := a.newConnection(c, &o.connect)
	if err != nil {
		return err
	}
	plan, err := c.backend.Plan(ctx, s.request(), a.ui.Progress)
	if err != nil {
		return err
	}
	a.ui.Settle("")
	if a.json() {
		t := plan.Twin
		return ui.WriteJSON(output{a.out}, diffReport{
			Twin: t.Name, Service: t.Source, Project: t.Project, Region: t.Region, Inject: plan.Inject, Fields: plan.Fields,
		})
	}
	return a.printPlan(plan, o.all)
}

// printPlan writes a line for each field, and its reason in the next: values
// may be long.
func (a *app) printPlan(plan *provision.Plan, all bool) error {
	var b strings.Builder
	fmt.Fprintln(&b, outline(plan))
	for _, f := range plan.Fields {
		if !all && !f.Differs() {
			continue
		}
		fmt.Fprintf(&b, "\n%-6s  %s\n", f.Decision, f.Path)
		switch {
		case !f.Differs() && f.From != "":
			fmt.Fprintf(&b, "        %s\n", clipped(f.From))
		case f.Differs():
			fmt.Fprintf(&b, "        %s -> %s\n", orNothing(f.From), orNothing(f.To))
		}
		fmt.Fprintf(&b, "        %s\n", f.Reason)
	}
	_, err := fmt.Fprint(output{a.out}, b.String())
	return err
}

// maxShown bounds how much of a value is shown to people, in characters; JSON
// has all of it.
const maxShown = 200

func clipped(value string) string {
	if r := []rune(value); len(r) > maxShown {
		return string(r[:maxShown]) + "..."
	}
	return value
}

func orNothing(value string) string {
	if value == "" {
		return "(none)"
	}
	return clipped(value)
}

// outline is a plan in a line.
func outline(plan *provision.Plan) string {
	changed, dropped := 0, 0
	for _, f := range plan.Fields {
		switch {
		case !f.Differs():
		case f.To == "":
			dropped++
		default:
			changed++
		}
	}
	how := map[provision.InjectMethod]string{
		provision.InjectLayer: "a layer of the image", provision.InjectSidecar: "a sidecar", provision.InjectNone: "the image itself",
	}[plan.Inject]
	return fmt.Sprintf("%s is %s with %d fields changed and %d left out; the agent comes in %s",
		plan.Twin.Name, plan.Twin.Source, changed, dropped, how)
}
