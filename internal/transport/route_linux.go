package transport

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// watchRoutes calls changed when interfaces, addresses or routes of this
// machine change, until ctx ends: nil then, else why it cannot watch.
func watchRoutes(ctx context.Context, changed func()) error {
	fd, err := routeSocket()
	if err != nil {
		return err
	}
	return watchSocket(ctx, fd, "netlink", changed)
}

// routeSocket is a socket on which the kernel tells of changes, see rtnetlink(7).
func routeSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("opening a netlink socket: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return -1, errors.Join(fmt.Errorf("joining netlink groups: %w", err), unix.Close(fd))
	}
	return fd, nil
}
