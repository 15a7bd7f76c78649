package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/ui"
)

// newVersionCmd prints the version.
func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.printVersion()
		},
	}
}

func (a *app) printVersion() error {
	if a.json() {
		return ui.WriteJSON(output{a.out}, map[string]string{
			"version": a.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	_, err := fmt.Fprintf(output{a.out}, "cloudssh %s (%s, %s/%s)\n", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
