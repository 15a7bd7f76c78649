package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// BinDir holds cloudssh-app and cloudssh-env and is appended to a session's PATH.
	BinDir = "/.cloudssh/bin"
	// defaultPath is what shells assume when there is no PATH.
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	maxClientEnv     = 256      // variables per session
	maxClientEnvSize = 64 << 10 // bytes of them
)

// appEnv is the app's environment out of the agent's: without our own variable
// and what a local emulator adds.
func appEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		emulator, ok := strings.CutPrefix(kv, emulatorVariable+"=")
		return strings.HasPrefix(kv, SettingsVariable+"=") || ok && emulatorOfInstance(emulator)
	})
}

// sessionEnv is a session's environment out of the agent's: the app's, with
// BinDir in the PATH, and with a HOME, since too much fails without one. What
// differs from the app's is in the table of differences, too.
func sessionEnv(environ []string) []string {
	env := appEnv(environ)
	path, ok := getenv(env, "PATH")
	if !ok || path == "" {
		path = defaultPath
	}
	env = setenv(env, "PATH", path+":"+BinDir)
	if home, ok := getenv(env, "HOME"); !ok || home == "" {
		env = setenv(env, "HOME", homeOf(os.Getuid(), "/etc/passwd"))
	}
	return env
}

// homeOf is the home directory of a user in a passwd file, "/" if it has none.
func homeOf(uid int, passwd string) string {
	text, err := os.ReadFile(passwd)
	if err != nil {
		return "/" // images without the file are common
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) == 7 && fields[2] == strconv.Itoa(uid) && fields[5] != "" {
			return fields[5]
		}
	}
	return "/"
}

func getenv(env []string, name string) (string, bool) {
	for _, kv := range slices.Backward(env) { // the last one counts, as in os/exec
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func setenv(env []string, name, value string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	return append(env, name+"="+value)
}

// envAllowed reports whether a client may set a variable. It is the user's own
// twin, so all may be set but those that say where the session is.
func envAllowed(name, value string) bool {
	reserved := name == "PORT" || name == SettingsVariable ||
		strings.HasPrefix(name, "CLOUDSSH_") || strings.HasPrefix(name, "K_") || strings.HasPrefix(name, "CLOUD_RUN_")
	return validName(name) && !reserved && !strings.ContainsRune(value, 0)
}

// validName reports whether a shell could use the variable.
func validName(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) < 256
}

// A program is what to execute: a file and its argument vector.
type program struct {
	path string
	args []string
}

// A startError is a program that cannot be started, with the status a shell
// would give for it: 127 not found, 126 found but not executable.
type startError struct {
	status int
	text   string
}

func (e *startError) Error() string { return e.text }

// executable is nil if path is a file that may be executed by someone.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir(), info.Mode()&0o111 == 0:
		return fs.ErrPermission
	}
	return nil
}

// lookPath finds a program as a shell in directory dir would.
func lookPath(name string, env []string, dir string) (string, error) {
	if name == "" {
		return "", &startError{127, "the command is empty"}
	}
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, lookError(name, executable(path))
	}
	list, _ := getenv(env, "PATH")
	found := fs.ErrNotExist
	for _, d := range filepath.SplitList(list) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		path := filepath.Join(d, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			found = err
		}
	}
	return "", lookError(name, found)
}

func lookError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &startError{126, name + ": not executable"}
	case errors.Is(err, fs.ErrNotExist):
		return &startError{127, name + ": not found"}
	}
	return &startError{126, fmt.Sprintf("%s: %v", name, err)}
}
