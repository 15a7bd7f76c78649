package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// stateDir is where cloudssh keeps what it may forget: the logs of its guards
// and when a project was swept. It is made when it is not there.
func (a *app) stateDir() (string, error) {
	dir, err := a.statePath()
	if err != nil {
		return "", fmt.Errorf("locating the state folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the state folder: %w", err)
	}
	return dir, nil
}

// statePath follows the XDG Base Directory Specification, and the habits of
// macOS and Windows, which have no folder for state.
func (a *app) statePath() (string, error) {
	if dir := a.env("CLOUDSSH_STATE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := a.env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cloudssh"), nil
	}
	switch runtime.GOOS {
	case "darwin", "windows":
		dir, err := os.UserCacheDir()
		return filepath.Join(dir, "cloudssh", "state"), err
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "cloudssh"), err
}
