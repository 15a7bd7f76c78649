//go:build linux || darwin

package agent

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// EnvCommand is the name under which the agent's binary shows the app's
// environment.
const EnvCommand = "cloudssh-env"

// RunEnv prints the environment of the container, which is what the app would
// get if we were not there, sorted, as env(1) does. With --diff it prints in
// what this session's environment, environ, differs from that, and why.
func RunEnv(args, environ []string, stdout io.Writer) error {
	diff := len(args) == 1 && args[0] == "--diff"
	if len(args) > 0 && !diff {
		return &startError{2, "usage: cloudssh-env [--diff]"}
	}
	container, err := findAgent(os.Getppid(), "/proc")
	if err != nil {
		return err
	}
	app := appEnv(container)
	out := bufio.NewWriter(stdout)
	if diff {
		printDifferences(out, app, environ)
	} else {
		slices.Sort(app)
		for _, kv := range app {
			out.WriteString(kv + "\n") //nolint:errcheck // Flush tells
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("printing the environment: %w", err)
	}
	return nil
}

// A difference is a variable that a session may have otherwise than the app,
// and why. The table is that of docs/environment.md.
type difference struct{ name, why string }

// differences are in the order in which they are looked up; a name that ends in
// * stands for all that begin so. Whatever is not among them is not our doing.
func differences() []difference {
	return []difference{
		{"PATH", "cloudssh-app and cloudssh-env are in " + BinDir},
		{"HOME", "of the user in /etc/passwd, or /: the app has none"},
		{"SHELL", "the shell of this session, since it is not the image's own choice"},
		{"TERM", "of your terminal"},
		{"SSH_AUTH_SOCK", "leads to your SSH agent, as asked by -A"},
		{"LANG", "sent by your client"},
		{"LC_*", "sent by your client"},
		{"COLORTERM", "sent by your client"},
		{"PWD", "set by the shell"},
		{"OLDPWD", "set by the shell"},
		{"SHLVL", "set by the shell"},
		{"_", "set by the shell"},
		{"*", "set by you, your client, or a file that your shell has read"},
	}
}

func why(name string) string {
	for _, d := range differences() {
		prefix, all := strings.CutSuffix(d.name, "*")
		if name == d.name || all && strings.HasPrefix(name, prefix) {
			return d.why
		}
	}
	return "" // cannot happen: the last one is for all
}

// printDifferences prints a line for each variable: + is the session's alone, -
// the app's alone, ~ is in both.
func printDifferences(out io.Writer, app, session []string) {
	names := map[string]bool{}
	for _, kv := range slices.Concat(app, session) {
		name, _, _ := strings.Cut(kv, "=")
		names[name] = true
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		was, before := getenv(app, name)
		is, now := getenv(session, name)
		switch {
		case !before:
			fmt.Fprintf(out, "+ %s=%s  (%s)\n", name, visible(is), why(name)) //nolint:errcheck // Flush tells
		case !now:
			fmt.Fprintf(out, "- %s=%s  (%s)\n", name, visible(was), why("*")) //nolint:errcheck // as above
		case was != is:
			fmt.Fprintf(out, "~ %s=%s  (%s; the app has %s)\n", name, visible(is), why(name), visible(was)) //nolint:errcheck // as above
		}
	}
}

// visible is a value on one line.
func visible(value string) string {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}
