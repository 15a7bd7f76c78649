package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// threadNamespace is the network namespace of the calling thread.
const threadNamespace = "/proc/thread-self/ns/net"

// A netNS is a network namespace, kept by an open file and, where others have to find it, by
// a bind mount.
type netNS struct {
	path string // what others open; empty if there is no mount
	file *os.File
}

// newNetNS makes a namespace with a loopback interface and mounts it on a new file, unless the path is empty.
func newNetNS(path string) (*netNS, error) {
	n := &netNS{path: path}
	if path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("creating network namespace: %w", err)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := setUpLoopback(); err != nil {
			return err
		}
		if path != "" {
			if err := unix.Mount(threadNamespace, path, "", unix.MS_BIND, ""); err != nil {
				return err
			}
		}
		n.file, err = os.Open(threadNamespace)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating network namespace %s: %w", path, err), n.remove())
	}
	return n, nil
}

// openNetNS opens the namespace of a process.
func openNetNS(path string) (*netNS, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening network namespace: %w", err)
	}
	return &netNS{file: f}, nil
}

// setUpLoopback starts the loopback interface of the calling thread's namespace and lets
// everybody bind low ports, as Docker does: Cloud Run's port is free to choose.
func setUpLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
}

// onOwnThread runs a function that changes the network namespace of its thread. The thread
// goes back to the others only in the namespace from which it came; else it ends.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // a goroutine that ends while locked ends its thread
		done <- restoring(f)
	}()
	return <-done
}

func restoring(f func() error) error {
	home, err := os.Open(threadNamespace)
	if err != nil {
		return err
	}
	defer discardClose(home)
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// do runs a function on a thread that is in the namespace. What it starts on other threads is not.
func (n *netNS) do(f func() error) error {
	return onOwnThread(func() error {
		if err := n.enter(); err != nil {
			return fmt.Errorf("entering network namespace %s: %w", n.file.Name(), err)
		}
		return f()
	})
}

// enter takes the calling thread into the namespace. One that is removed meanwhile is not mistaken for another, whose file
// has got the same number.
func (n *netNS) enter() error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	entered := errors.New("not tried")
	err = conn.Control(func(fd uintptr) { entered = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	if err != nil {
		return err
	}
	return entered
}

// dial connects to a TCP port of the loopback interface. A socket stays in the namespace in
// which it was made, whichever thread uses it later.
func (n *netNS) dial(ctx context.Context, port uint16) (net.Conn, error) {
	var c *net.TCPConn
	err := n.do(func() (err error) {
		var d net.Dialer
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		c, err = d.DialTCP(ctx, "tcp4", netip.AddrPort{}, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// listen listens in the namespace. An address that the loopback interface does not have is given to it.
func (n *netNS) listen(ctx context.Context, want netip.AddrPort) (net.Listener, error) {
	var l net.Listener
	err := n.do(func() (err error) {
		if err := addAddress("lo", netip.PrefixFrom(want.Addr(), want.Addr().BitLen())); err != nil {
			return fmt.Errorf("adding %s to the loopback interface: %w", want.Addr(), err)
		}
		var config net.ListenConfig
		l, err = config.Listen(ctx, "tcp", want.String())
		return err
	})
	return l, err
}

// addAddress gives an interface of the thread's namespace an address.
func addAddress(name string, p netip.Prefix) error {
	if p.Addr().IsLoopback() || p.Addr().IsUnspecified() {
		return nil
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)})
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// remove unmounts the namespace; the kernel ends it with its last process and socket.
// It may be called again.
func (n *netNS) remove() error {
	if n.file != nil {
		if err := n.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	if n.path == "" {
		return nil
	}
	return removeMountPoint(n.path)
}
