//go:build linux || darwin

// Cloudssh-shell is the shell for images that have none.
package main

import (
	"fmt"
	"os"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "devel"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("cloudssh-shell", version)
		return
	}
	fmt.Fprintln(os.Stderr, "cloudssh-shell: no commands yet")
	os.Exit(127)
}
