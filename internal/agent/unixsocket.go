//go:build linux || darwin

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// maxSocketPath is what fits into sockaddr_un, less its NUL: 107 bytes on Linux.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

var errNoSocketPath = errors.New("no path for a socket")

// checkSocketPath refuses what the kernel would, in words, and what would not be
// a file: Go's net takes a leading @ for Linux's abstract sockets.
func checkSocketPath(path string) error {
	switch {
	case path == "" || path[0] != '/':
		return errNoSocketPath
	case len(path) > maxSocketPath:
		return fmt.Errorf("the path of a socket may have %d bytes, this one has %d", maxSocketPath, len(path))
	}
	return nil
}

// listenUnix listens on a socket that only the user whom we run as can connect
// to. An existing file is an error, as with sshd. Closing removes the file.
func listenUnix(path string) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// On Linux the file gets the socket's own mode, so that there is no
		// moment with another. Elsewhere this may fail; see below.
		return raw.Control(func(fd uintptr) { syscall.Fchmod(int(fd), 0o600) }) //nolint:errcheck // see below
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protecting %s: %w", path, err), l.Close())
	}
	return l, nil
}
