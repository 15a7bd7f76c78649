//go:build linux || darwin

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// AppCommand is the name under which the agent's binary starts the app.
const AppCommand = "cloudssh-app"

// RunApp becomes the program that the container would run without us: the
// original entrypoint and arguments, in the app's directory, with the
// environment of the session. Arguments given here take the place of the
// original ones, as with docker run. It returns only on failure.
//
// The agent itself listens on the port of the service. If that is the port the
// app is told to use, it is told the next free one, and stderr says which.
func RunApp(args, environ []string, stderr io.Writer) error {
	settings, err := findSettings(os.Getppid(), "/proc")
	if err != nil {
		return err
	}
	prog, env, note, err := appProgram(settings.App, args, environ, portFree)
	if err != nil {
		return err
	}
	if note != "" {
		fmt.Fprintf(stderr, "%s: %s\n", AppCommand, note) //nolint:errcheck // nobody else to tell
	}
	if err := os.Chdir(settings.App.workingDir()); err != nil {
		return fmt.Errorf("entering the app's directory: %w", err)
	}
	if err := syscall.Exec(prog.path, prog.args, env); err != nil {
		return explainStart(prog, err)
	}
	return nil
}

// ExitStatus is the status a shell would give for an error of RunApp.
func ExitStatus(err error) int {
	var start *startError
	if errors.As(err, &start) {
		return start.status
	}
	return 1
}

// appProgram is what RunApp executes, with which environment, and what to tell.
func appProgram(app App, args, environ []string, free func(port int) bool) (prog program, env []string, note string, err error) {
	if len(args) == 0 {
		args = app.Args
	}
	argv := slices.Concat(app.Entrypoint, args)
	if len(argv) == 0 {
		return program{}, nil, "", &startError{127, "the app's command is not known: neither the service nor its image names an entrypoint"}
	}
	env = withoutBinDir(environ)
	path, err := lookPath(argv[0], env, app.workingDir())
	if err != nil {
		return program{}, nil, "", err
	}
	env, note = withPort(app, env, free)
	return program{path, argv}, env, note, nil
}

// withoutBinDir takes our directory out of the PATH again.
func withoutBinDir(env []string) []string {
	path, ok := getenv(env, "PATH")
	if !ok {
		return env
	}
	dirs := slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool { return dir == BinDir })
	return setenv(env, "PATH", strings.Join(dirs, string(filepath.ListSeparator)))
}

// withPort makes sure that the app is told a port it can have. A PORT that the
// user set in the session counts.
func withPort(app App, env []string, free func(port int) bool) ([]string, string) {
	value, _ := getenv(env, "PORT")
	wanted, err := strconv.Atoi(value)
	if err != nil {
		wanted = app.Port
	}
	if wanted <= 0 || wanted > 65535 {
		return env, ""
	}
	port := wanted
	for !free(port) {
		if port++; port > 65535 {
			return env, fmt.Sprintf("port %d is in use and so are all above it", wanted)
		}
	}
	env = setenv(setenv(env, "PORT", strconv.Itoa(port)), appPortVariable, strconv.Itoa(port))
	if port == wanted {
		return env, ""
	}
	if wanted != app.Port {
		return env, fmt.Sprintf("port %d is in use in the twin, so the app gets PORT=%d", wanted, port)
	}
	return env, fmt.Sprintf("port %d is in use in the twin (the agent serves on it), so the app gets PORT=%d; what is forwarded to localhost:%[1]d reaches it", wanted, port)
}

// portFree reports whether a server could listen on all addresses.
func portFree(port int) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", ":"+strconv.Itoa(port))
	return err == nil && l.Close() == nil
}

// findSettings finds the agent's settings from inside a session.
func findSettings(pid int, proc string) (Settings, error) {
	environ, err := findAgent(pid, proc)
	if err != nil {
		return Settings{}, err
	}
	text, _ := getenv(environ, SettingsVariable)
	return ParseSettings(text)
}

// findAgent finds the agent's environment, which is the container's. The
// settings in it are kept from the session's, but processes of one user may read
// each other's from /proc, so the agent is looked for among the ancestors of
// pid, up to PID 1. No file, socket or extra variable needs to exist for it.
func findAgent(pid int, proc string) ([]string, error) {
	var denied error
	for seen := 0; pid > 0 && seen < 1000; seen++ {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		text, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			denied = errors.Join(denied, err)
		}
		environ := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		if _, ok := getenv(environ, SettingsVariable); ok {
			return environ, nil
		}
		if pid, err = parent(dir); err != nil {
			return nil, fmt.Errorf("looking for the agent: %w", err)
		}
	}
	if denied != nil {
		return nil, fmt.Errorf("looking for the agent (is this its user?): %w", denied)
	}
	return nil, errors.New("no agent above this process: this works inside a session of cloudssh only")
}

// parent reads the parent's process id from a directory of /proc. In stat, the
// command's name stands in parentheses and may contain anything; state and
// parent follow the last of them.
func parent(dir string) (int, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("parsing %s/stat", dir)
	}
	return strconv.Atoi(fields[1])
}
