package cli

import (
	"fmt"
	"runtime"

	"github.com/cloudssh/cloudssh/internal/ui"
)

func (a *app) printVersion() error {
	if a.json() {
		return ui.WriteJSON(output{a.out}, map[string]string{
			"version": a.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	_, err := fmt.Fprintf(output{a.out}, "cloudssh %s (%s, %s/%s)\n", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
