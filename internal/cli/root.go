package cli

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const rootLong = `cloudssh SERVICE opens a shell in a twin of a Cloud Run service: a private,
short-lived copy with the same image, environment, secrets, volumes, network and
service account, but no production traffic. The service itself is only read.
The twin is deleted when the session ends.

With --exec, or with a command after --, it runs that command instead and exits
with its status. -L, -R, -D, -W, -N and -A forward connections as they do in ssh.
Without a service, and with a terminal, it offers a list.`

const rootExample = `  cloudssh hello                          # a shell in a twin of hello
  cloudssh hello --exec 'ls /app | wc -l'  # one command, through the twin's shell
  cloudssh hello -- printf '%s\n' 'a b'    # one command, exactly these arguments
  cloudssh hello -L 8080:localhost:8080   # the app here, once cloudssh-app runs in that shell
  cloudssh demo                           # try it, without any cloud`

// newRootCmd is the tree of commands.
func newRootCmd(a *app) *cobra.Command {
	root := newConnectCmd(a, "cloudssh [SERVICE]")
	root.Short = "A shell in a private, short-lived twin of a Cloud Run service"
	root.Long, root.Example = rootLong, rootExample
	root.Version = a.version
	root.SilenceErrors, root.SilenceUsage = true, true
	root.DisableAutoGenTag = true
	root.SetVersionTemplate("cloudssh {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.prepare() }
	a.global.register(root)

	connect := newConnectCmd(a, "ssh [SERVICE]")
	connect.Short = "The same, for a service that is named like a command"
	connect.Hidden = true
	for _, c := range []*cobra.Command{
		connect,
		newAttachCmd(a),
		newSessionsCmd(a),
		newListCmd(a),
		newProxyCmd(a),
		newCleanupCmd(a),
		newDemoCmd(a),
		newEmulatorCmd(a),
		newGuardCmd(a),
		newConfigCmd(a),
		newCpCmd(a),
		newDiffCmd(a),
		newDoctorCmd(a),
		newVersionCmd(a),
	} {
		root.AddCommand(c)
	}
	return root
}

var verbosities = []string{"debug", "info", "warning", "error", "critical", "none"} //nolint:gochecknoglobals // a constant list

func (g *globalFlags) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&g.project, "project", "", "Google Cloud project (default: gcloud's)")
	f.StringVar(&g.region, "region", "", "Cloud Run region (default: gcloud's; else the service is looked for in all)")
	f.StringVar(&g.account, "account", "", "account to act as (default: gcloud's)")
	f.StringVar(&g.configuration, "configuration", "", "gcloud configuration to read")
	f.StringVar(&g.impersonate, "impersonate-service-account", "", "service account to act as")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "no progress and no questions")
	f.StringVar(&g.verbosity, "verbosity", "warning", "log level on stderr: "+strings.Join(verbosities, ", "))
	f.StringVar(&g.format, "format", "", "output format of lists and reports: json, or text when not given")
}

// prepare checks the global flags and makes what depends on them.
func (a *app) prepare() error {
	if !slices.Contains(verbosities, a.global.verbosity) {
		return usagef("--verbosity is one of %s, not %q", strings.Join(verbosities, ", "), a.global.verbosity)
	}
	if f := a.global.format; f != "" && f != "text" && f != "json" {
		return usagef("--format is text or json, not %q", f)
	}
	a.ui = a.newUI()
	a.log = newLogger(a.err, a.global.verbosity)
	return nil
}

// json reports whether results are to be printed as JSON.
func (a *app) json() bool { return a.global.format == "json" }

func newLogger(w io.Writer, verbosity string) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError,
	}
	l, ok := level[verbosity]
	if !ok {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

// noArgs refuses arguments, as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, but got %q", cmd.CommandPath(), args)
	}
	return nil
}

// listed are the arguments in an error message.
func listed(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	return fmt.Sprintf("%q", args)
}

// remoteCommand is what the user asked to have run in the twin.
type remoteCommand struct {
	shell string
	argv  []string
}

func (c remoteCommand) interactive() bool { return c.shell == "" && len(c.argv) == 0 }

// splitArgs separates what stands before -- from the command after it.
func splitArgs(cmd *cobra.Command, args []string, exec string) (before []string, rc remoteCommand, err error) {
	before, rc.shell = args, exec
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		before, rc.argv = args[:dash], args[dash:]
		if len(rc.argv) == 0 {
			return nil, rc, usagef("no command after --")
		}
	}
	if cmd.Flags().Changed("exec") {
		if rc.shell == "" {
			return nil, rc, usagef("--exec needs a command")
		}
		if len(rc.argv) > 0 {
			return nil, rc, usagef("--exec and a command after -- exclude each other")
		}
	}
	return before, rc, nil
}

// errTooMany explains the arguments after the service's name.
func errTooMany(cmd *cobra.Command, args []string) error {
	return withHints(usagef("unexpected argument %q after the service %q", args[1], args[0]),
		fmt.Sprintf("to run a command: %s %s -- %s", cmd.CommandPath(), args[0], strings.Join(args[1:], " ")))
}
