//go:build linux || darwin

// Cloudssh-shell is the shell for images that have none: an interactive shell
// and the everyday tools in one static program. Called by the name of a tool,
// it is that tool.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/cloudssh/cloudssh/internal/shell"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

func main() {
	if version == "" {
		version = "devel"
	}
	debug.SetGCPercent(400) // short runs: memory is cheaper than time
	os.Exit(shell.Run(context.Background(), shell.Config{
		Args: os.Args, Environ: os.Environ(), Version: version,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}
