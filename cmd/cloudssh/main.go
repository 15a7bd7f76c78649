// Command cloudssh gives a shell in a private, short-lived twin of a Cloud Run
// service.
package main

import (
	"os"

	"github.com/cloudssh/cloudssh/internal/cli"
)

// version is set by the linker.
var version = ""

func main() { os.Exit(cli.Main(version, os.Args[1:])) }
