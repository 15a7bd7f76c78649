package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// A portSpace is the TCP ports of an InProcess sandbox. Each is a real listener on
// this machine's loopback interface at a port that the kernel chose, so that two
// sandboxes can both listen on 8080 and connections have a kernel's half-close,
// back-pressure and resets. The zero value is ready for use.
type portSpace struct {
	mu     sync.Mutex
	closed bool
	bound  map[netip.AddrPort]*portListener // an unspecified address is a wildcard
}

// listen binds an address such as ":8080", "127.0.0.1:0" or "169.254.169.254:80".
func (s *portSpace) listen(ctx context.Context, address string) (net.Listener, error) {
	want, err := parseAddress(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	var config net.ListenConfig
	loopback, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if want.Port() == 0 {
		want = netip.AddrPortFrom(want.Addr(), loopback.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	l := &portListener{Listener: loopback, space: s, address: want}
	if err := s.bind(l); err != nil {
		return nil, errors.Join(&net.OpError{Op: "listen", Net: "tcp", Addr: l.Addr(), Err: err}, loopback.Close())
	}
	return l, nil
}

func (s *portSpace) bind(l *portListener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for other := range s.bound {
		if conflict(other, l.address) {
			return os.NewSyscallError("bind", syscall.EADDRINUSE)
		}
	}
	if s.bound == nil {
		s.bound = map[netip.AddrPort]*portListener{}
	}
	s.bound[l.address] = l
	return nil
}

// conflict tells whether two addresses cannot both be bound. The wildcard leaves out what is
// no loopback address: that is the emulator's, as with the other runtimes.
func conflict(a, b netip.AddrPort) bool {
	local := func(ip netip.Addr) bool { return ip.IsLoopback() || ip.IsUnspecified() }
	return a.Port() == b.Port() && (a.Addr() == b.Addr() ||
		a.Addr().IsUnspecified() && local(b.Addr()) || b.Addr().IsUnspecified() && local(a.Addr()))
}

func (s *portSpace) unbind(l *portListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound[l.address] == l {
		delete(s.bound, l.address)
	}
}

func (s *portSpace) dial(ctx context.Context, address string) (net.Conn, error) {
	want, err := parseAddress(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	l := s.lookup(want)
	if l == nil {
		return nil, &net.OpError{
			Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(want),
			Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp4", l.Listener.Addr().String())
}

func (s *portSpace) lookup(want netip.AddrPort) *portListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.bound[want]; l != nil {
		return l
	}
	for address, l := range s.bound {
		if address.Port() == want.Port() && address.Addr().IsUnspecified() {
			return l
		}
	}
	return nil
}

func (s *portSpace) close() error {
	s.mu.Lock()
	s.closed = true
	bound := s.bound
	s.bound = nil
	s.mu.Unlock()
	var errs []error
	for _, l := range bound {
		errs = append(errs, ignoreClosed(l.Listener.Close()))
	}
	return errors.Join(errs...)
}

// portListener shows the address in the port space instead of the real one.
type portListener struct {
	net.Listener
	space   *portSpace
	address netip.AddrPort
}

func (l *portListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.address) }

func (l *portListener) Close() error {
	l.space.unbind(l)
	return l.Listener.Close()
}

// parseAddress reads a host and port; an empty host is the wildcard and the names of
// the loopback interface are 127.0.0.1.
func parseAddress(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q of address %q is not a number up to 65535", port, address)
	}
	switch host {
	case "", "0.0.0.0", "::":
		host = "0.0.0.0"
	case "localhost", "::1":
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("host %q of address %q is not an IP address", host, address)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// A socketSet is the open sockets of one process. The zero value is ready for use.
type socketSet struct {
	mu     sync.Mutex
	closed bool
	open   map[interface{ Close() error }]struct{}
}

func (s *socketSet) add(c interface{ Close() error }) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(net.ErrClosed, c.Close())
	}
	if s.open == nil {
		s.open = map[interface{ Close() error }]struct{}{}
	}
	s.open[c] = struct{}{}
	return nil
}

func (s *socketSet) remove(c interface{ Close() error }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// close closes all sockets, as the kernel does when a process ends. What they
// say then has no one to hear it. When it returns they are closed, even if
// another call is what closes them.
func (s *socketSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

func (s *socketSet) listener(l net.Listener) (net.Listener, error) {
	if err := s.add(l); err != nil {
		return nil, err
	}
	return &socketListener{l, s}, nil
}

func (s *socketSet) conn(c net.Conn) (net.Conn, error) {
	if err := s.add(c); err != nil {
		return nil, err
	}
	return &socketConn{c.(*net.TCPConn), s}, nil
}

type socketListener struct {
	net.Listener
	set *socketSet
}

func (l *socketListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.set.conn(c)
}

func (l *socketListener) Close() error {
	l.set.remove(l.Listener)
	return l.Listener.Close()
}

// socketConn keeps all methods of a TCP connection, CloseWrite among them.
type socketConn struct {
	*net.TCPConn
	set *socketSet
}

func (c *socketConn) Close() error {
	c.set.remove(c.TCPConn)
	return c.TCPConn.Close()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
