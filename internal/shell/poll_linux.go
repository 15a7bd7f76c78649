package shell

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// poll says whether fd can be read. It waits for fd, or for wake, if told to.
func poll(fd, wake int, wait bool) (ready bool, err error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	timeout := 0
	if wait {
		timeout = -1
	}
	for {
		_, err := unix.Poll(fds, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && fds[1].Revents == 0 && fds[0].Revents != 0, err
	}
}

// hungUp says whether fd is a pipe without a reader.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLERR != 0
}

// neverRan says whether a process that was just started has died before it became
// another program: of a signal to the process group of its parent, in which it
// was at first. (It has it pending while the child's signals are blocked.)
func neverRan(pid int) bool {
	const forkNoExec = 0x40 // the kernel's PF_FORKNOEXEC
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&forkNoExec != 0
}

const (
	getTermios      = unix.TCGETS
	setTermios      = unix.TCSETS
	setTermiosDrain = unix.TCSETSW
)

// setForeground makes a process group the terminal's. The signal that the
// kernel has for a background process that asks for this is kept away.
func setForeground(fd, group int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stop, old unix.Sigset_t
	stop.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &stop, &old); err != nil {
		return err
	}
	err := unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group)
	return errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil))
}
