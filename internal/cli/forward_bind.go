package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// door is where a local forward listens. It is opened before there is a twin,
// and lives as long as the command: connections wait for the twin to be ready.
type door struct {
	*forward
	listeners []net.Listener
	came      chan net.Conn
	closed    chan struct{}
	accepting sync.WaitGroup
}

// openDoors opens them all, or none.
func openDoors(ctx context.Context, forwards []*forward) (doors []*door, err error) {
	for _, f := range forwards {
		if f.remote {
			continue
		}
		d, err := openDoor(ctx, f)
		if err != nil {
			closeDoors(doors)
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		doors = append(doors, d)
	}
	return doors, nil
}

func closeDoors(doors []*door) {
	for _, d := range doors {
		d.close()
	}
}

func openDoor(ctx context.Context, f *forward) (*door, error) {
	d := &door{forward: f, came: make(chan net.Conn), closed: make(chan struct{})}
	var err error
	if f.listen.path != "" {
		var l net.Listener
		if l, err = listenSocket(ctx, f.listen.path); err == nil {
			d.listeners = []net.Listener{l}
		}
	} else {
		d.listeners, f.bound, err = listenPort(ctx, f.listen)
	}
	if err != nil {
		return nil, err
	}
	for _, l := range d.listeners {
		d.accepting.Go(func() { d.accept(l) })
	}
	return d, nil
}

// acceptPause is how long a door stays shut when there are no file descriptors.
const acceptPause = 100 * time.Millisecond

// accept takes connections one at a time: more wait in the kernel.
func (d *door) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // it passes: a client that was gone at once, no file descriptors
			select {
			case <-time.After(acceptPause):
			case <-d.closed:
				return
			}
			continue
		}
		select {
		case d.came <- conn:
		case <-d.closed:
			_ = conn.Close() // nobody serves it any more
			return
		}
	}
}

func (d *door) close() {
	close(d.closed)
	for _, l := range d.listeners {
		_ = l.Close() // it removes the socket's file, too
	}
	d.accepting.Wait()
}

// listenSocket makes a socket that is its owner's alone, as ssh does.
func listenSocket(ctx context.Context, path string) (l net.Listener, err error) {
	privately(func() { l, err = new(net.ListenConfig).Listen(ctx, "unix", path) })
	switch {
	case err == nil:
		return l, nil
	case isInUse(err):
		return nil, withHints(fmt.Errorf("the file %s exists", path), "rm "+path+" # if nobody serves it any more")
	case errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("listening on %s: the path is too long for a socket", path)
	}
	return nil, fmt.Errorf("listening on %s: %w", path, plainly(err))
}

// portAttempts is how often a port that one address has free is looked for on
// the others as well.
const portAttempts = 8

// listenPort listens on all addresses that are meant, on one port.
func listenPort(ctx context.Context, l listenAddr) (all []net.Listener, bound string, err error) {
	hosts, err := l.hosts(ctx)
	if err != nil {
		return nil, "", err
	}
	port := 0
	for range portAttempts {
		all, port, err = listenAt(ctx, hosts, l.port)
		if err == nil || l.port != 0 || !isInUse(err) {
			break
		}
	}
	if err != nil {
		return nil, "", explainBind(err, l.port)
	}
	l.port = port
	return all, l.String(), nil
}

// hosts are the addresses that a bind address means, as in ssh: none and
// localhost are the loopback addresses.
func (l listenAddr) hosts(ctx context.Context) ([]string, error) {
	switch {
	case !l.given || strings.EqualFold(l.host, "localhost"):
		return []string{"127.0.0.1", "::1"}, nil
	case l.host == "":
		return []string{""}, nil // one socket for both families, where there are both
	}
	if _, err := netip.ParseAddr(l.host); err == nil {
		return []string{l.host}, nil
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, l.host)
	if err != nil {
		return nil, fmt.Errorf("looking up the bind address %s: %w", l.host, plainly(err))
	}
	return hosts, nil
}

// listenAt listens on all hosts whose family this machine has, on the same port.
func listenAt(ctx context.Context, hosts []string, port int) (all []net.Listener, chosen int, err error) {
	chosen = port
	var missing error
	for _, host := range hosts {
		l, err := new(net.ListenConfig).Listen(ctx, networkOf(host), net.JoinHostPort(host, strconv.Itoa(chosen)))
		switch {
		case err == nil:
			all = append(all, l)
			if addr, ok := l.Addr().(*net.TCPAddr); ok {
				chosen = addr.Port
			}
		case isNoFamily(err):
			missing = err
		default:
			for _, l := range all {
				_ = l.Close() // nobody knows of it
			}
			return nil, 0, err
		}
	}
	if len(all) == 0 {
		return nil, 0, missing
	}
	return all, chosen, nil
}

// networkOf keeps 0.0.0.0 to IPv4 and :: to IPv6: Go takes both for everything.
func networkOf(host string) string {
	switch ip, err := netip.ParseAddr(host); {
	case err != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	return "tcp6"
}

// explainBind says why a port cannot be had, and who has it.
func explainBind(err error, port int) error {
	where, addr := fmt.Sprintf("port %d", port), netip.AddrPort{}
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		where = op.Addr.String()
		addr, _ = netip.ParseAddrPort(where) // zero: everywhere
	}
	switch {
	case isInUse(err):
		by := ""
		if holder := portHolder(addr, port); holder != "" {
			by = " by " + holder
		}
		return fmt.Errorf("%s is in use%s", where, by)
	case errors.Is(err, fs.ErrPermission):
		return withHints(fmt.Errorf("listening on %s: %w", where, plainly(err)), "ports below 1024 are for root; take a higher one")
	}
	return fmt.Errorf("listening on %s: %w", where, plainly(err))
}

// plainly is what an error of package net says in the end, without the
// operation, the network and the addresses, which our own words name.
func plainly(err error) error {
	var (
		no  syscall.Errno
		dns *net.DNSError
	)
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("no such host")
	}
	return err
}
