// Command cloudssh-cf-plugin is cloudssh as a plugin of the Cloud Foundry
// command line: `cf cloudssh ARGS` is `cloudssh ARGS`.
//
//	cf install-plugin cloudssh-cf-plugin
//
// cf starts a plugin with the port of its RPC server, the command's name, even
// if the user typed the alias, and the user's arguments. What cf itself does to
// them (read in cf 7.1.0 to 8.18.4: cf/cmd/cmd.go, plugin/rpc/run_plugin.go):
//
//   - Any exit status but 0 becomes 1. The plugin's own is the true one; a
//     script that needs it runs cloudssh.
//   - -h, --h and --help anywhere, even after --, show cf's page about the
//     command, and the first -v is taken away. Inside --exec's one string they
//     are safe: cf cloudssh hello --exec 'ls -h'.
//   - Ctrl-C outside a session ends cf at once, while the plugin goes on to
//     delete the twin and to say so.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"code.cloudfoundry.org/cli/plugin"

	"github.com/cloudssh/cloudssh/internal/cli"
)

// version is set by the linker.
var version = ""

// uninstalling is what cf says instead of a command's name before it deletes
// the plugin.
const uninstalling = "CLI-MESSAGE-UNINSTALL"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "error: this is a plugin of the cf command line\n  hint: cf install-plugin %s\n", os.Args[0])
		os.Exit(2)
	}
	// A session's own helper, and what config write has told ssh to run. cf's
	// first argument is a number.
	if os.Args[1] == cli.GuardCommand || os.Args[1] == cli.ProxyCommand {
		os.Exit(cli.MainAs(version, "cf cloudssh", os.Args[1:]))
	}
	var p cloudssh
	plugin.Start(&p)
	os.Exit(p.status)
}

// cloudssh is the plugin. cf's interface has no room for an exit status.
type cloudssh struct{ status int }

// Run is called with the name of the command and its arguments, or with cf's
// message. Cloudssh keeps nothing that uninstalling would have to take away.
func (c *cloudssh) Run(_ plugin.CliConnection, args []string) {
	if args[0] == uninstalling {
		return
	}
	c.status = cli.MainAs(version, "cf cloudssh", args[1:])
}

// GetMetadata is what cf stores and shows about the plugin.
func (c *cloudssh) GetMetadata() plugin.PluginMetadata {
	return plugin.PluginMetadata{
		Name:    "cloudssh",
		Version: versionType(buildVersion()),
		Commands: []plugin.Command{{
			Name:     "cloudssh",
			Alias:    "cssh",
			HelpText: "Open a shell in a private, short-lived twin of a Cloud Run service",
			UsageDetails: plugin.Usage{
				Usage: `Open a shell in a private, short-lived twin of a Cloud Run service, or run one command there

   cf cloudssh SERVICE
   cf cloudssh SERVICE --exec COMMAND
   cf cloudssh SERVICE -- PROGRAM [ARGUMENT...]
   cf cloudssh attach | sessions | list | cleanup | demo | emulator | version | help

   cf exits with 1 for whatever status the command had; use cloudssh itself where that matters.
   All commands and flags: cf cloudssh help`,
				// cf adds the dashes.
				Options: map[string]string{
					"-exec":    "Command for the shell of the twin",
					"-project": "Google Cloud project (default: gcloud's)",
					"-region":  "Cloud Run region (default: gcloud's; else the service is looked for in all)",
				},
			},
		}},
	}
}

// buildVersion is the linker's version, else the module's.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}

// versionType is the release in v, such as v1.2.3-4-gabcdef. A build that is no
// release has none: cf shows 0.0.0 as N/A.
func versionType(v string) plugin.VersionType {
	var t plugin.VersionType
	if n, err := fmt.Sscanf(strings.TrimPrefix(v, "v"), "%d.%d.%d", &t.Major, &t.Minor, &t.Build); n < 3 || err != nil {
		return plugin.VersionType{}
	}
	return t
}
