package bench

import (
	"fmt"
	"os"
	"testing"
)

// TestMain also is the programs that the benchmarks run beside themselves: a
// process of its own for each server, client and remote command.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		if err := play(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[2], err)
			os.Exit(1) //nolint:forbidigo // this is a main
		}
		return
	}
	code := m.Run()
	results.print(os.Stdout)
	os.Exit(code) //nolint:forbidigo // so is this
}
