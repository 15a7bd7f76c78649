package shell

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// poll says whether fd can be read. It waits for fd, or for wake, if told to.
// It uses select because Darwin's poll does not support terminals.
func poll(fd, wake int, wait bool) (ready bool, err error) {
	if max(fd, wake) >= unix.FD_SETSIZE {
		return false, fmt.Errorf("descriptor %d is too large for select", max(fd, wake))
	}
	for {
		var set unix.FdSet
		set.Set(fd)
		timeout := &unix.Timeval{}
		if wait {
			set.Set(wake)
			timeout = nil
		}
		_, err := unix.Select(max(fd, wake)+1, &set, nil, nil, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && (wake < 0 || !set.IsSet(wake)) && set.IsSet(fd), err
	}
}

// hungUp says whether fd is a pipe without a reader.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// neverRan says whether a process that was just started has died before it became
// another program. This system does not tell.
func neverRan(int) bool { return false }

const (
	getTermios      = unix.TIOCGETA
	setTermios      = unix.TIOCSETA
	setTermiosDrain = unix.TIOCSETAW
)

// setForeground makes a process group the terminal's.
func setForeground(fd, group int) error {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	return unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group)
}
