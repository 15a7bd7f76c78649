// Package cli is the cloudssh command line: it turns flags into options, wires
// the packages that do the work, and turns errors into exit codes. It is a
// package, not a main, so that the cf and gcloud plugins are the same program.
package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// app is what every command is given: the process's streams and environment,
// the global flags, and what the user's signals mean.
type app struct {
	version  string
	in       *os.File
	out, err *os.File
	env      func(string) string
	global   globalFlags
	log      *slog.Logger
	ui       *ui.UI        // set once the flags are known
	terminal *tty.Terminal // nil unless stdin and stdout are terminals
	folder   string        // --config-dir; empty: the environment says where it is
	abandon  <-chan struct{}
}

// globalFlags are the flags of every command, named as gcloud names them.
type globalFlags struct {
	project       string
	region        string
	account       string
	configuration string
	impersonate   string
	quiet         bool
	verbosity     string
	format        string
}

// Main runs cloudssh with the process's streams and returns its exit code.
// version is the linker's, or empty.
func Main(version string, args []string) int {
	return MainAs(version, "cloudssh", args)
}

// MainAs is Main under the name that its own help and hints show, such as
// "cf cloudssh".
func MainAs(version, name string, args []string) int {
	a := &app{
		version: versionOf(version),
		in:      os.Stdin,
		out:     os.Stdout,
		err:     os.Stderr,
		env:     os.Getenv,
	}
	if t, ok := tty.Open(a.in, a.out); ok {
		a.terminal = t
	}
	ctx, signals := watchSignals(context.Background(), a.terminal)
	defer signals.stop()
	a.abandon = signals.abandon

	root := newRootCmd(a)
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name}
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, interrupted(ctx, err))
}

// interrupted adds the signal that ended the work to what became of the work:
// what a cancelled context made of it is less true. A command that had ended
// before keeps its status.
func interrupted(ctx context.Context, err error) error {
	var (
		signal *signalError
		remote *session.ExitError
		told   *toldError
	)
	if err == nil || !errors.As(context.Cause(ctx), &signal) || errors.As(err, &remote) || errors.As(err, &told) {
		return err
	}
	return errors.Join(signal, without(err, func(e error) bool {
		return errors.Is(e, context.Canceled) || errors.Is(e, signal)
	}))
}

// report prints err for the user and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	code, silent := exitCode(err)
	if err == nil || silent {
		return code
	}
	if a.ui == nil {
		a.ui = a.newUI()
	}
	var usage *usageError
	if errors.As(err, &usage) {
		err = withHints(err, helpOf(cmd))
	}
	a.ui.Error(withoutStatus(err))
	return code
}

// helpOf is the command line that shows a command's help. cf answers every
// --help itself, and so would another host.
func helpOf(cmd *cobra.Command) string {
	root := cmd.Root().DisplayName()
	if !strings.Contains(root, " ") {
		return cmd.CommandPath() + " --help"
	}
	return root + " help" + strings.TrimPrefix(cmd.CommandPath(), root)
}

// newUI is the user interface that the global flags ask for.
func (a *app) newUI() *ui.UI {
	o := ui.Options{NoColor: a.env("NO_COLOR") != ""}
	switch {
	case a.global.quiet:
		o.Format = ui.Quiet
	case a.env("TERM") == "dumb":
		o.Format = ui.Plain
	}
	return ui.New(a.in, a.err, o)
}

// versionOf is the linker's version, else the module's, else "devel".
func versionOf(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
