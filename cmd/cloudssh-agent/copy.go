//go:build linux || darwin

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
)

// The names of the programs, in the agent's image and in the volume.
const (
	agentName = "cloudssh-agent"
	shellName = "cloudssh-shell"
)

// copyCommand is `cloudssh-agent copy --to DIR --listen PORT`: the work of the
// sidecar that brings the agent into a container whose image stays as it is.
//
// It fills the volume, and only then listens: the startup probe of the port is
// what the other container waits for. It stays until it is told to end, because
// a sidecar that exits may take the instance with it.
func copyCommand(ctx context.Context, args []string) error {
	dir, port, err := copyArguments(args)
	if err != nil {
		return err
	}
	if err := fill(dir, filepath.Dir(besides(agentName))); err != nil {
		return err
	}
	if err := runsFrom(ctx, dir); err != nil {
		return err
	}
	ready, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("listening for the startup probe: %w", err)
	}
	newLogger().Info("agent copied", "version", buildVersion(), "to", dir, "address", ready.Addr().String())
	debug.FreeOSMemory()                                     // there is nothing more to do, and the memory is the app's by right
	defer context.AfterFunc(ctx, func() { ready.Close() })() //nolint:errcheck // wakes Accept, which says whether it is
	for {
		probe, err := ready.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answering the startup probe: %w", err)
		}
		probe.Close() //nolint:errcheck // that it was accepted is the answer
	}
}

func copyArguments(args []string) (dir string, port int, err error) {
	const usage = "usage: cloudssh-agent copy --to DIR --listen PORT"
	if len(args) != 4 || args[0] != "--to" || args[2] != "--listen" {
		return "", 0, errors.New(usage)
	}
	if dir = args[1]; !filepath.IsAbs(dir) {
		return "", 0, fmt.Errorf("%q is not an absolute path; %s", dir, usage)
	}
	if port, err = strconv.Atoi(args[3]); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port; %s", args[3], usage)
	}
	return dir, port, nil
}

// fill puts into dir what an image with the agent's layer has in /.cloudssh.
// Each file appears under its name when it is whole. All of them are for every
// user: the app's need not be ours.
func fill(dir, from string) error {
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil { //nolint:gosec // see above: for every user
		return fmt.Errorf("filling the volume: %w", err)
	}
	if err := os.Chmod(bin, 0o755); err != nil { //nolint:gosec // whatever our umask is
		return fmt.Errorf("filling the volume: %w", err)
	}
	for _, name := range []string{shellName, agentName} {
		err := replace(filepath.Join(dir, name), func(path string) error { return copyProgram(path, filepath.Join(from, name)) })
		if err != nil {
			return fmt.Errorf("copying %s into the volume: %w", name, explainSpace(err, dir, from))
		}
	}
	for name := range commands() {
		err := replace(filepath.Join(bin, name), func(path string) error { return os.Symlink("../"+agentName, path) })
		if err != nil {
			return fmt.Errorf("linking %s to the agent: %w", name, explainSpace(err, dir, from))
		}
	}
	return nil
}

// runsFrom tries a program in the volume: no platform documents that one may be
// run there, and nobody else would say in words that it may not.
func runsFrom(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, agentName), "--version").CombinedOutput() //nolint:gosec // our own copy, where we were told to put it
	if err != nil {
		return fmt.Errorf("no program can be run from the volume at %s, so use --inject=layer: %w%s", dir, err, out)
	}
	return nil
}

// replace has something made under another name, and gives it its own.
func replace(path string, create func(path string) error) (err error) {
	temporary := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	if err := os.RemoveAll(temporary); err != nil { // of one of us that was killed
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temporary))
		}
	}()
	if err := create(temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func copyProgram(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()                                                      //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755) //nolint:gosec // every user runs it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(0o755) // whatever our umask is
}

// explainSpace says how large a volume must be that was too small.
func explainSpace(err error, dir, from string) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	needed := int64(64 << 10) // names, links, and what the file system rounds up to
	for _, name := range []string{agentName, shellName} {
		if info, err := os.Stat(filepath.Join(from, name)); err == nil {
			needed += info.Size()
		}
	}
	const mib = 1 << 20
	has := ""
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) == nil {
		has = fmt.Sprintf(", and it has %d MiB", int64(fs.Blocks)*int64(fs.Bsize)/mib) //nolint:unconvert // darwin's Bsize is another type
	}
	return fmt.Errorf("the volume at %s is too small: the agent needs %d MiB%s; raise its size limit (%w)", dir, (needed+mib-1)/mib, has, err)
}
