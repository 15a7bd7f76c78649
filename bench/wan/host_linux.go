package wan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Host is a network namespace: interfaces, addresses, routes and ports of its
// own, on the file system and with the processes of this machine.
type Host struct {
	ns *os.File

	starting chan func() // runs on the thread that is the children's parent
	closing  sync.Once
	closed   chan struct{}
}

// NewHost makes a host that has a loopback interface and no other.
func NewHost() (*Host, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return newHost(ns), nil
}

// ThisHost is the one that the process itself is on.
func ThisHost() (*Host, error) {
	var ns *os.File
	err := onThread(func() (err error) {
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the process's network namespace: %w", err)
	}
	return newHost(ns), nil
}

func newHost(ns *os.File) *Host {
	h := &Host{ns: ns, starting: make(chan func()), closed: make(chan struct{})}
	go onThread(h.parent) //nolint:errcheck // it has none
	return h
}

// parent starts processes on a thread that lives as long as the host, because
// it is a thread's end that the kernel tells its children of, not the process's.
func (h *Host) parent() error {
	for {
		select {
		case start := <-h.starting:
			start()
		case <-h.closed:
			return nil
		}
	}
}

// onThread runs f on a thread that is thrown away afterwards, with all that f
// did to it. It is never the process's first: that one cannot end, and for the
// rest of the system its namespace is the process's.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and unlocked on the first thread only
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

func (h *Host) enter() error {
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

// Do runs f on the host: sockets that f opens, in its own goroutine, are the
// host's for ever.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.enter(); err != nil {
			return err
		}
		return f()
	})
}

// Start starts a process on the host. It is killed when the host is closed or
// this process ends, if it lives that long.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error, 1)
	start := func() {
		if err := h.enter(); err != nil {
			done <- err
			return
		}
		done <- cmd.Start()
	}
	select {
	case h.starting <- start:
		return <-done
	case <-h.closed:
		return errors.New("starting a process on a host that is closed")
	}
}

// Listen is net.Listen on the host.
func (h *Host) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// DialContext is net.Dial from the host. The address must be an IP address:
// names would be resolved, and several addresses be tried, on threads of
// another host.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Close kills the processes that the host started. Its links must have been
// closed before; connections stay until they are.
func (h *Host) Close() error {
	var err error
	h.closing.Do(func() {
		close(h.closed)
		err = h.ns.Close()
	})
	return err
}
