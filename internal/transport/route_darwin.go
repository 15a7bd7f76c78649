package transport

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// watchRoutes calls changed when interfaces, addresses or routes of this
// machine change, until ctx ends: nil then, else why it cannot watch. The
// routing socket says all of that, see route(4).
func watchRoutes(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("opening a routing socket: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(fmt.Errorf("setting up the routing socket: %w", err), unix.Close(fd))
	}
	return watchSocket(ctx, fd, "routing", changed)
}
