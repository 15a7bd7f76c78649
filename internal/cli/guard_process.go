package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// newGuardCmd is the process behind a guard. Nobody types it.
func newGuardCmd(a *app) *cobra.Command {
	var wire wireFlag
	cmd := &cobra.Command{
		Use:    GuardCommand,
		Short:  "Watch over a twin while another cloudssh uses it",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal that is closed and a Ctrl-C are the session's. SIGTERM,
			// which a log-out sends to all, is the session's too; when it is over
			// it ends the holding of a detached one, and no deletion.
			signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
			ctx := cmd.Context()
			return a.runGuard(context.WithoutCancel(ctx), wire.Wire, ctx.Done())
		},
	}
	cmd.Flags().Var(&wire, "wire", "what the session connects with")
	a.registerFolder(cmd)
	return cmd
}

// watched is what a guard knows of the session it watches.
type watched struct {
	twin     *provision.Twin
	keep     bool
	client   string // id of its SSH connection
	instance string // that it led to
	detached bool
	delete   bool
	released bool
}

// read follows a session until it releases the guard or ends.
func (w *watched) read(r io.Reader, told func()) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m guardMessage
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("reading what the session says: %w", err)
		}
		w.take(m)
		told()
		if w.released {
			return nil
		}
	}
	return lines.Err()
}

func (w *watched) take(m guardMessage) {
	if m.Twin != nil {
		if w.twin != nil && w.twin.Maker != m.Twin.Maker {
			w.client, w.instance = "", "" // that of the twin before
		}
		w.twin = m.Twin
	}
	if m.Connection != "" {
		w.client, w.instance = m.Connection, m.Instance
	}
	w.keep = w.keep || m.Keep
	w.detached = w.detached || m.Detached
	w.delete = w.delete || m.Delete
	w.released = w.released || m.Released
}

// runGuard watches the session at the other end of standard input and, when it
// has died, sees to its twin.
func (a *app) runGuard(ctx context.Context, wire transport.Wire, stop <-chan struct{}) error {
	cfg, err := a.config(ctx) // now: what is set later is not the session's
	if err != nil {
		return err
	}
	var w watched
	journal := &journal{app: a}
	defer journal.close()
	err = w.read(a.in, func() { journal.open(w.twin) })
	a.log = journal.logger()
	if w.released || w.twin == nil {
		journal.remove()
		return nil
	}
	if err != nil {
		a.log.Warn("the session speaks strangely", "error", err)
	}
	a.log.Info("the session is gone", "twin", w.twin.Name, "detached", w.detached, "connection", w.client)
	k := &keeper{watched: w, app: a, config: cfg, wire: wire, stop: stop}
	if err := k.takeOver(ctx); err != nil {
		a.log.Error("the twin may be left", "twin", w.twin.Name, "error", err, "delete it with", w.twin.Commands()[1])
		return err
	}
	journal.remove()
	return nil
}

// journal is the guard's log, a file of its own: there is no terminal that it
// could write to. It is there only while there is something to tell.
type journal struct {
	app  *app
	file *os.File
}

// open makes the log of a twin's guard; without one it goes on.
func (j *journal) open(t *provision.Twin) {
	if j.file != nil || t == nil {
		return
	}
	dir, err := j.app.stateDir()
	if err != nil {
		return
	}
	name := fmt.Sprintf("guard-%s-%d.log", t.Name, os.Getpid()) // a twin may have several
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	j.file = f
}

func (j *journal) logger() *slog.Logger {
	if j.file == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(j.file, nil))
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // nobody is left to be told
	}
}

func (j *journal) remove() {
	if j.file != nil {
		_ = os.Remove(j.file.Name()) // as above
	}
}
