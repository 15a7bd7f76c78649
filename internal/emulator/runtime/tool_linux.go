package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A tool is an OCI runtime's command with a state directory of ours.
// The command line is the one that runc defines and crun and runsc copy.
type tool struct {
	kind string // Runc, Crun or Runsc
	path string
	root string // --root
	// flags come before each subcommand.
	flags []string
}

// newTool returns the command for a kind of runtime.
func newTool(kind, path, root string, c cgroups) tool {
	t := tool{kind: kind, path: path, root: root}
	switch kind {
	case Crun:
		if c.memory == "" {
			t.flags = []string{"--cgroup-manager=disabled"}
		}
	case Runsc:
		// Its sockets are the kernel's, in the namespace that the configuration names: Dial and
		// Listen could not reach its own network stack. And it need not make the root file
		// system writable, because every container has an overlay already.
		t.flags = []string{"--platform=systrap", "--network=host", "--overlay2=none"}
		if c.memory == "" {
			t.flags = append(t.flags, "--ignore-cgroups")
		}
	}
	return t
}

// findTool looks for a runtime where distributions put it: an unprivileged user's PATH
// often lacks the sbin directories.
func findTool(kind string) (string, error) {
	if path, err := exec.LookPath(kind); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, kind)); err == nil {
			return path, nil
		}
	}
	return "", &fs.PathError{Op: "exec", Path: kind, Err: exec.ErrNotFound}
}

// command prepares a call of the runtime. Ctrl-C in the emulator's terminal must not reach it.
func (t tool) command(ctx context.Context, args ...string) *exec.Cmd {
	args = slices.Concat([]string{"--root", t.root}, t.flags, args)
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run starts a container and returns the process ID of its first process. It is short and is not
// interrupted: what a runtime leaves that was killed, not even the runtime knows.
func (t tool) run(ctx context.Context, id, bundle string, stdout, stderr *os.File) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	pidFile, log := filepath.Join(bundle, "pid"), filepath.Join(bundle, "log")
	cmd := t.command(ctx, "--log", log, "--log-format", "json", "run", "--detach", "--bundle", bundle, "--pid-file", pidFile, id)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return 0, runError(ctx, t.kind, log, err)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, fmt.Errorf("reading the process ID of container %s: %w", id, err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return 0, fmt.Errorf("reading the process ID of container %s: %w", id, err)
	}
	return pid, nil
}

// runError is what the runtime logged, or how its process ended when it logged nothing.
func runError(ctx context.Context, kind, log string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	message := lastMessage(log)
	if message == "" {
		return fmt.Errorf("running %s: %w", kind, err)
	}
	e := &toolError{kind: kind, message: message}
	switch {
	case strings.Contains(message, "no such file or directory"), strings.Contains(message, "executable file not found"):
		e.err = fs.ErrNotExist
	case strings.Contains(message, "permission denied"):
		e.err = fs.ErrPermission
	}
	return e
}

// lastMessage reads the last error of a log in the JSON form that runc defines.
func lastMessage(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	message := ""
	for line := range bytes.Lines(text) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			message = entry.Msg
		}
	}
	return message
}

// kill sends a signal to the first process of a container that runs.
func (t tool) kill(ctx context.Context, id string, sig syscall.Signal) error {
	output, err := t.command(ctx, "kill", id, strconv.Itoa(int(sig))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// remove kills a container's processes, if there are any left, and removes its state and control group.
func (t tool) remove(ctx context.Context, id string) error {
	if !t.knows(id) {
		return nil
	}
	var output bytes.Buffer
	cmd := t.command(ctx, "delete", "--force", id)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(output.String()); text != "" {
			err = errors.New(text)
		}
		return fmt.Errorf("removing container %s: %w", id, err)
	}
	return nil
}

// knows tells whether there is state of a container: runc and crun have a directory of
// its name, runsc has files that begin with it.
func (t tool) knows(id string) bool {
	entries, err := os.ReadDir(t.root)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), id) })
}

// ids lists the containers that the runtime knows.
func (t tool) ids() ([]string, error) {
	entries, err := os.ReadDir(t.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		id, isState := strings.CutSuffix(e.Name(), "_sandbox:"+strings.SplitN(e.Name(), "_sandbox:", 2)[0]+".state")
		if e.IsDir() || isState {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
