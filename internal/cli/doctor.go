package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const doctorLong = `Checks whether cloudssh can do its job: credentials, the way to Google, the APIs
that must be enabled, each permission, policies of the organisation, the clock.
With a service it also reads that service and its image, asks the registry
whether it would take a layer, and has Cloud Run judge the twin in a dry run. It
changes nothing.

What is missing is named with the role that has it and the command that grants
it. The exit code is 1 when the job cannot be done.`

const doctorExample = `  cloudssh doctor
  cloudssh doctor hello --region us-central1
  cloudssh doctor hello --format json | jq '.checks[] | select(.verdict != "ok")'`

// newDoctorCmd says what is missing.
func newDoctorCmd(a *app) *cobra.Command {
	o := &connectOptions{escape: "none"}
	cmd := &cobra.Command{
		Use:               "doctor [SERVICE]",
		Short:             "Check what cloudssh needs, and name what is missing",
		Long:              doctorLong,
		Example:           doctorExample,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.service, err = oneService(cmd, args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			return a.runDoctor(cmd.Context(), o)
		},
	}
	o.registerTwin(cmd)
	return cmd
}

// doctorReport is what --format json prints.
type doctorReport struct {
	OK     bool              `json:"ok"`
	Checks []provision.Check `json:"checks"`
}

// errUnwell is the doctor's result; what is wrong has been said.
var errUnwell = errors.New("cloudssh cannot do its job here: see what failed above")

func (a *app) runDoctor(ctx context.Context, o *connectOptions) error {
	report := doctorReport{OK: true, Checks: []provision.Check{}}
	note := func(c provision.Check) {
		report.OK = report.OK && c.Verdict != provision.Failed
		report.Checks = append(report.Checks, c)
	}
	a.examine(ctx, o, note)
	a.ui.Settle("")
	var err error
	if a.json() {
		err = ui.WriteJSON(output{a.out}, report)
	} else {
		err = a.printChecks(report.Checks)
	}
	if err == nil && !report.OK {
		err = errUnwell
	}
	return err
}

// examine makes the checks of this machine, then those of the cloud.
func (a *app) examine(ctx context.Context, o *connectOptions, note func(provision.Check)) {
	fail := func(name string, err error) {
		note(provision.Check{Name: name, Verdict: provision.Failed, Detail: err.Error(), Commands: ui.Hints(err)})
	}
	a.examineProxy(fail, note)
	c, err := a.cloud(ctx)
	if err != nil {
		fail("settings and credentials", err)
		return
	}
	note(provision.Check{Name: "settings", Verdict: provision.OK, Detail: settings(c)})
	if err := a.examineTokens(ctx, c); err != nil {
		fail("credentials", err)
		return
	}
	note(provision.Check{Name: "credentials", Verdict: provision.OK, Detail: c.creds.String()})
	s, err := a.newConnection(c, o)
	if err != nil {
		fail(cmp.Or(o.service, "SSH key"), err)
		return
	}
	c.backend.Examine(ctx, s.request(), note)
}

// settings is where the project and the region come from.
func settings(c *cloud) string {
	text := "project " + c.config.Project
	if from := c.config.Source("core/project"); from != "" {
		text += " (" + from + ")"
	}
	if c.config.Region == "" {
		return text + ", services are looked for in all regions"
	}
	text += ", region " + c.config.Region
	if from := c.config.Source("run/region"); from != "" {
		text += " (" + from + ")"
	}
	return text
}

// examineTokens gets both kinds of token: the API wants the one, the twin's
// front door the other.
func (a *app) examineTokens(ctx context.Context, c *cloud) error {
	_, done := a.ui.Progress("getting tokens")
	_, err := c.creds.AccessToken(ctx)
	if err == nil {
		_, err = c.creds.IDToken(ctx, "https://cloudssh.invalid")
	}
	done(err)
	return err
}

// examineProxy says which proxy is used, and which setting cannot be read.
func (a *app) examineProxy(fail func(string, error), note func(provision.Check)) {
	const check = "proxy"
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		value := a.env(name)
		if value == "" {
			continue
		}
		if u, err := url.Parse(value); err != nil || u.Host == "" && strings.Contains(value, "://") {
			fail(check, withHints(fmt.Errorf("%s is no URL of a proxy", name), "export "+name+"=http://HOST:PORT")) // its value may hold a password
			return
		}
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: "run.googleapis.com"}})
	switch {
	case err != nil:
		fail(check, errors.New("the proxy in the environment cannot be read"))
	case proxy == nil:
		note(provision.Check{Name: check, Verdict: provision.OK, Detail: "none"})
	default:
		note(provision.Check{Name: check, Verdict: provision.OK, Detail: proxy.Redacted() + "; where it lets no WebSocket through, plain HTTPS is used (--wire http)"})
	}
}

// printChecks writes a line for each check, and below it what helps.
func (a *app) printChecks(checks []provision.Check) error {
	var b strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&b, "%-8s %s", c.Verdict, c.Name)
		if c.Detail != "" {
			fmt.Fprintf(&b, ": %s", strings.ReplaceAll(c.Detail, "\n", "\n         "))
		}
		fmt.Fprintln(&b)
		if c.Role != "" {
			fmt.Fprintf(&b, "         role: %s\n", c.Role)
		}
		for _, command := range c.Commands {
			fmt.Fprintf(&b, "         %s\n", command)
		}
	}
	_, err := fmt.Fprint(output{a.out}, b.String())
	return err
}
