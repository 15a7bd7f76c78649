package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// GuardCommand is the first argument of a process that is a guard: what a
// plugin's main, whose arguments are another program's, looks for.
const GuardCommand = "guard"

// guardGoodbye is how long the end of a session may wait for its guard, which
// has nothing more to do then. Not waiting at all would leave a process behind
// that the caller of cloudssh sees.
const guardGoodbye = 250 * time.Millisecond

// guardMessage is what a session tells its guard, as one line of JSON. There
// are no secrets in it. The end of the pipe without a line that says how
// things stand means that the session's process has died.
type guardMessage struct {
	// Twin may exist from now on. It has no URL until it is ready.
	Twin *provision.Twin `json:"twin,omitempty"`
	// Keep: the twin stays after its sessions, until its lease ends.
	Keep bool `json:"keep,omitempty"`
	// Connection is the id of our SSH connection, which dies with us; Instance
	// the one that it leads to.
	Connection string `json:"connection,omitempty"`
	Instance   string `json:"instance,omitempty"`
	// Detached: the session goes on without us.
	Detached bool `json:"detached,omitempty"`
	// Delete: we could not delete the twin.
	Delete bool `json:"delete,omitempty"`
	// Released: nothing is left to guard.
	Released bool `json:"released,omitempty"`
}

// guard is a small process of ours that outlives us and takes the twin down
// when we die without doing so, and holds it while a detached session wants
// it. A nil guard, one that could not be started, does nothing.
type guard struct {
	app *app

	mu    sync.Mutex
	pipe  io.WriteCloser // nil when there is nobody to tell
	twin  provision.Twin // the last one told
	ended chan struct{}  // closed when the process has ended
}

// startGuard starts a guard for what c is about to make. That it cannot be
// started is worth a warning: everything else works without it.
func (a *app) startGuard(c *cloud, wire transport.Wire) *guard {
	g, err := a.spawnGuard(c, wire)
	if err != nil {
		a.ui.Warnf("no process guards the twin against our sudden death (its lease does): %v", err)
		return nil
	}
	return g
}

func (a *app) spawnGuard(c *cloud, wire transport.Wire) (*guard, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding our own program: %w", err)
	}
	cmd := exec.Command(exe, append(a.guardArgs(c), "--wire="+wire.String())...) //nolint:noctx // it is to outlive every context of ours
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = apart()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	// Standard output and error stay closed to it: whoever reads ours waits for
	// their end.
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", exe, err), pipe.Close())
	}
	g := &guard{app: a, pipe: pipe, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		if err := cmd.Wait(); err != nil {
			a.log.Debug("the guard ended", "error", err)
		}
	}()
	return g, nil
}

// guardArgs make the guard act as we do: the same settings of gcloud, from the
// same environment and the same flags.
func (a *app) guardArgs(c *cloud) []string {
	args := []string{GuardCommand, "--quiet", "--project=" + c.config.Project}
	for flag, value := range map[string]string{
		"region": c.config.Region, "account": a.global.account,
		"configuration": a.global.configuration, "impersonate-service-account": a.global.impersonate,
		"config-dir": a.folder,
	} {
		if value != "" {
			args = append(args, "--"+flag+"="+value)
		}
	}
	slices.Sort(args[3:])
	return args
}

// tell sends a line. A guard that does not read any more has died: that is
// known from its end, and the session goes on.
func (g *guard) tell(m guardMessage) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Twin != nil {
		g.twin = *m.Twin
	}
	if g.pipe == nil {
		return
	}
	line, err := json.Marshal(m)
	if err == nil {
		_, err = g.pipe.Write(append(line, '\n'))
	}
	if err != nil {
		g.app.log.Info("telling the guard", "error", err)
	}
}

// hangUp closes the pipe: from now on the guard acts on what it was told.
func (g *guard) hangUp() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil {
		return
	}
	if err := g.pipe.Close(); err != nil {
		g.app.log.Debug("closing the guard's pipe", "error", err)
	}
	g.pipe = nil
}

// handOver leaves the twin to the guard: a session goes on without us.
func (g *guard) handOver() {
	g.tell(guardMessage{Detached: true})
	g.hangUp()
}

// lives reports whether there is a guard.
func (g *guard) lives() bool {
	if g == nil {
		return false
	}
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// finish ends the guard's watch: err is what became of the session and of the
// deletion after it. What we could not delete the guard goes on with.
func (g *guard) finish(err error) {
	if g == nil || g.released() {
		return
	}
	var abandoned *provision.AbandonedError
	switch {
	case errors.As(err, &abandoned): // it sees us die
		return
	case g.left(err):
		g.tell(guardMessage{Delete: true})
		g.hangUp()
		return
	}
	g.tell(guardMessage{Released: true})
	g.hangUp()
	select {
	case <-g.ended:
	case <-time.After(guardGoodbye):
	}
}

// released reports whether the guard is on its own already.
func (g *guard) released() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pipe == nil
}

// left reports whether err says that the twin could not be deleted: then it
// carries the commands that do it by hand.
func (g *guard) left(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	commands := g.twin.Commands()
	return g.twin.Name != "" && slices.Contains(ui.Hints(err), commands[len(commands)-1])
}
