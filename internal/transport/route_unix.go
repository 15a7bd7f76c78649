//go:build linux || darwin

package transport

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watchSocket reads messages of the kernel from a non-blocking socket, which
// it owns, and calls changed for them until ctx ends. What they say does not
// matter: the answer to any of them is to probe the connection.
func watchSocket(ctx context.Context, fd int, name string, changed func()) error {
	socket := os.NewFile(uintptr(fd), name)
	stop := context.AfterFunc(ctx, func() { socket.Close() }) //nolint:errcheck // it was only read from
	defer stop()
	defer socket.Close() //nolint:errcheck // it was only read from
	events := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() {
		defer close(events)
		buf := make([]byte, 64<<10)
		for {
			// ENOBUFS: there were more messages than the socket could hold.
			if _, err := socket.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				failed <- err
				return
			}
			notify(events)
		}
	}()
	reportChanges(ctx, events, changed)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("reading from the %s socket: %w", name, <-failed)
}
