package cli

import (
	"context"
	"fmt"
	"net"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
)

// session forwards what is to be forwarded, and runs the command or the shell
// meanwhile.
func (s *connection) session(ctx context.Context, l *link, twin *provision.Twin) error {
	stop, err := s.forward(ctx, l, twin)
	if err != nil {
		return err
	}
	defer stop()
	switch {
	case s.options.forward.only:
		return s.forwardOnly(ctx, l, twin)
	case s.options.forward.stdio != "":
		return s.stdio(ctx, l)
	}
	return s.command(ctx, l, twin)
}

// command runs the command or the shell.
func (s *connection) command(ctx context.Context, l *link, twin *provision.Twin) error {
	cmd := session.Command{
		Shell:  s.options.command.shell,
		Argv:   s.options.command.argv,
		Env:    s.clientEnv(),
		Stdin:  s.in,
		Stdout: output{s.out},
		Stderr: output{s.err},
		Attach: s.options.attach,
		Share:  s.options.share.mode,
		Notice: func(text string) { s.ui.Notef("%s", text) },
	}
	if s.options.forward.agent {
		cmd.ForwardAgent = func() (net.Conn, error) { return dialAgent(ctx, s.options.forward.agentAt) }
	}
	if !s.wantsTerminal() {
		s.ui.Settle("")
		return s.runPlainly(ctx, l, cmd)
	}
	if s.options.persist {
		cmd.Persist = s.options.idle
	}
	if s.terminal == nil {
		s.ui.Settle("")
		cmd.Terminal = &session.Terminal{Term: s.term(), Size: tty.Size{Cols: 80, Rows: 24}}
		cmd.Started = func(number uint32) { s.started(number, twin, s.ui.Notef) }
		return s.runPlainly(ctx, l, cmd)
	}
	s.ui.Settle(fmt.Sprintf("%s, a twin of %s in %s. Leave with exit or ~. ; ~? helps.", twin.Name, twin.Source, twin.Region))
	return s.runInTerminal(ctx, l, twin, cmd)
}

// runPlainly runs a session without a terminal of the person's; outages are
// told in lines.
func (s *connection) runPlainly(ctx context.Context, l *link, cmd session.Command) error {
	defer s.tellOutages(ctx, l)()
	return s.runOn(ctx, l, cmd)
}

// runOn runs a session. One that persists outlives a closed terminal: its
// connection ends before anybody can tell the session to hang up.
func (s *connection) runOn(ctx context.Context, l *link, cmd session.Command) error {
	if cmd.Persist == 0 && cmd.Attach == nil {
		return l.Run(ctx, cmd)
	}
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		if !s.persists(ctx) {
			cancel(context.Cause(ctx))
			return
		}
		if err := l.Close(); err != nil {
			s.log.Info("closing the connection", "error", err)
		}
	})
	defer stop()
	return l.Run(running, cmd)
}

// started notes the number of our session and tells how others join it.
func (s *connection) started(number uint32, twin *provision.Twin, say func(format string, args ...any)) {
	s.number.Store(number)
	if s.options.share.mode != session.ShareOff {
		say("session %d is shared (%s); a colleague with access to the project joins it with:", number, s.options.share.mode)
		say("  %s", joinCommand(twin, number, s.options.share.mode))
	}
}

// wantsTerminal decides as ssh does: a shell gets a pseudo-terminal where
// there is a terminal, a command does not, -t and -T decide otherwise.
func (s *connection) wantsTerminal() bool {
	switch {
	case s.options.tty:
		return true
	case s.options.noTTY:
		return false
	}
	return s.options.command.interactive() && s.terminal != nil
}

func (s *connection) term() string {
	if t := s.env("TERM"); t != "" {
		return t
	}
	return "dumb"
}

// shellVariable tells the agent which shell to start; it keeps it to itself.
const shellVariable = "CLOUDSSH_SHELL"

// clientEnv is what ssh_config's SendEnv is in most distributions.
func (s *connection) clientEnv() map[string]string {
	env := map[string]string{}
	for _, name := range []string{
		"LANG", "COLORTERM", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME",
	} {
		if v := s.env(name); v != "" {
			env[name] = v
		}
	}
	if s.options.shell != "" {
		env[shellVariable] = s.options.shell
	}
	return env
}
