package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// lookTimeout bounds the question what sessions are in a twin; an instance
// that was stopped has to start for an answer.
const lookTimeout = 10 * time.Second

const sessionsLong = `Lists the terminal sessions in your twins, or in those of one service, as the
agents in them tell: those in use, and those that wait to be attached.`

// newSessionsCmd lists terminal sessions.
func newSessionsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "sessions [SERVICE]",
		Short:             "List the terminal sessions in your twins",
		Long:              sessionsLong,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := oneService(cmd, args)
			if err != nil {
				return err
			}
			return a.runSessions(cmd.Context(), service)
		},
	}
}

func (a *app) runSessions(ctx context.Context, service string) error {
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	defer a.sweep(ctx, c)()
	asking, err := a.newConnection(c, &connectOptions{})
	if err != nil {
		return err
	}
	twins, err := a.twins(ctx, c)
	if err != nil {
		return err
	}
	twins = slices.DeleteFunc(twins, func(t provision.Twin) bool {
		return !t.Mine || t.Expired(time.Now()) || (service != "" && t.Source != service)
	})
	a.noteStopped(service)
	places := a.tell(a.sessionsIn(ctx, asking, twins))
	if a.json() {
		return ui.WriteJSON(output{a.out}, sessionReports(places))
	}
	if len(places) == 0 {
		a.ui.Notef("no terminal sessions in project %s", c.config.Project)
		return nil
	}
	return a.printSessions(places)
}

// tell passes sessions on and warns of the twins that could not be asked.
func (a *app) tell(places []place, failed error) []place {
	if failed != nil {
		a.ui.Warnf("the list is incomplete: %v", failed)
	}
	return places
}

// sessionsIn asks the agents of all these twins at once. One that does not
// answer in time is named in the error, and does not hide the others.
func (a *app) sessionsIn(ctx context.Context, s *connection, twins []provision.Twin) (places []place, failed error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("no answer in time"))
	defer cancel()
	answers, errs := make([][]session.Info, len(twins)), make([]error, len(twins))
	var asking sync.WaitGroup
	for i, t := range twins {
		asking.Go(func() {
			if answers[i], errs[i] = s.look(ctx, t); errs[i] != nil {
				errs[i] = fmt.Errorf("asking %s: %w", t.Name, errs[i])
			}
		})
	}
	asking.Wait()
	for i, infos := range answers {
		for _, info := range infos {
			places = append(places, place{twin: twins[i], info: info})
		}
	}
	return places, errors.Join(errs...)
}

// look asks one agent. It comes as one that only holds the instance, so that a
// session that ends meanwhile does not take us for another user of the twin.
func (s *connection) look(ctx context.Context, t provision.Twin) ([]session.Info, error) {
	conn, err := transport.Dial(ctx, s.endpoint(&t))
	if err != nil {
		return nil, err
	}
	client, err := s.handshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // it has only asked
	if err := client.Hold(ctx); err != nil {
		return nil, err
	}
	return client.Sessions(ctx)
}

// sessionReport is a terminal session as JSON.
type sessionReport struct {
	Session  uint32     `json:"session"`
	Twin     string     `json:"twin"`
	Service  string     `json:"service"`
	Project  string     `json:"project"`
	Region   string     `json:"region"`
	Title    string     `json:"title"`
	Command  string     `json:"command"`
	Owner    string     `json:"owner"`
	Cols     int        `json:"cols"`
	Rows     int        `json:"rows"`
	Started  time.Time  `json:"started"`
	Attached bool       `json:"attached"`
	Detached *time.Time `json:"detached,omitempty"` // since when
	Until    *time.Time `json:"until,omitempty"`    // when it ends if nobody attaches it
	Share    string     `json:"share"`              // "", "read" or "write"
	Viewers  []string   `json:"viewers"`
}

// sessionReports is never nil, so that no sessions are [] in JSON.
func sessionReports(places []place) []sessionReport {
	out := make([]sessionReport, 0, len(places))
	for _, p := range places {
		r := sessionReport{
			Session: p.info.ID, Twin: p.twin.Name, Service: p.twin.Source, Project: p.twin.Project, Region: p.twin.Region,
			Title: p.info.Title, Command: p.info.Command, Owner: p.info.Owner, Cols: p.info.Cols, Rows: p.info.Rows,
			Started: p.info.Started.UTC(), Attached: p.info.Detached.IsZero(), Share: p.info.Share.String(),
			Detached: stamp(p.info.Detached), Until: stamp(p.info.Until), Viewers: append([]string{}, p.info.Viewers...),
		}
		out = append(out, r)
	}
	return out
}

// stamp is nil for no time.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (a *app) printSessions(places []place) error {
	now := time.Now()
	var rows [][]string
	for _, p := range places {
		what, until := p.info.Title, ""
		if what == "" {
			what = p.info.Command
		}
		if !p.info.Until.IsZero() {
			until = clock(p.info.Until)
		}
		shared := p.info.Share.String()
		if len(p.info.Viewers) > 0 {
			shared += ": " + strings.Join(p.info.Viewers, ", ")
		}
		rows = append(rows, []string{fmt.Sprint(p.info.ID), p.twin.Name, p.twin.Source, what, short(now.Sub(p.info.Started)), p.state(now), until, shared})
	}
	return ui.Table(output{a.out}, []string{"SESSION", "TWIN", "SERVICE", "TITLE", "AGE", "STATE", "UNTIL", "SHARED"}, rows)
}
