package tool

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A netcat is one run of nc.
type netcat struct {
	c       *Context
	o       options
	network string
	wait    time.Duration // of -w: to connect, and without any data
}

func nc(c *Context) int {
	o, ok := c.parse("lp:uUvzw:nk46Nq:s:e", "listen=l", "verbose=v", "udp=u", "wait=w", "zero=z")
	if !ok {
		return 2
	}
	n := &netcat{c: c, o: o, network: "tcp"}
	switch {
	case o.has("U"):
		n.network = "unix"
	case o.has("u"):
		n.network = "udp"
	}
	if last := o.last("46"); last != 0 && !o.has("U") {
		n.network += string(rune(last))
	}
	if o.has("w") {
		var err error
		if n.wait, err = duration(o.value('w')); err != nil {
			return c.Usage("-w needs a time")
		}
	}
	args := o.operands
	if o.has("l") {
		return n.listen(args)
	}
	if o.has("U") && len(args) == 1 {
		return n.connect(c.Path(args[0]))
	}
	if len(args) != 2 {
		return c.Usage("nc [-uvz] [-w TIME] HOST PORT, or nc -l [-p] PORT")
	}
	first, last, err := portRange(args[1])
	if err != nil {
		return c.Usage("%s", err)
	}
	status := 1
	for port := first; port <= last && c.Err() == nil; port++ {
		if n.connect(net.JoinHostPort(args[0], strconv.Itoa(port))) == 0 {
			status = 0
			if !o.has("z") {
				break
			}
		}
	}
	return status
}

// portRange reads 80, http or 1-1024.
func portRange(s string) (first, last int, err error) {
	from, to, two := strings.Cut(s, "-")
	if first, err = strconv.Atoi(from); err != nil {
		if first, err = net.LookupPort("tcp", s); err != nil { //nolint:noctx // it only reads a table
			return 0, 0, errors.New("not a port: " + s)
		}
		return first, first, nil
	}
	if last = first; two {
		last, err = strconv.Atoi(to)
	}
	if err != nil || first < 1 || last > 65535 || last < first {
		return 0, 0, errors.New("not a port: " + s)
	}
	return first, last, nil
}

func (n *netcat) say(format string, args ...any) {
	if n.o.has("v") {
		n.c.complain(format+"\n", args...)
	}
}

func (n *netcat) connect(address string) int {
	d := net.Dialer{Timeout: n.wait}
	conn, err := d.DialContext(n.c, n.network, address)
	if err != nil {
		n.say("connection to %s failed: %s", address, dialReason(err))
		if !n.o.has("v") && !n.o.has("z") {
			return n.c.Errorf("%s: %s", address, dialReason(err))
		}
		return 1
	}
	n.say("connected to %s", conn.RemoteAddr())
	if n.o.has("z") {
		return status(conn.Close())
	}
	return n.talk(conn)
}

func status(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// dialReason leaves the address out of an error, which is said before it.
func dialReason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return reason(op.Err)
	}
	return reason(err)
}

func (n *netcat) listen(args []string) int {
	port := n.o.value('p')
	host := ""
	switch {
	case len(args) == 2:
		host, port = args[0], args[1]
	case len(args) == 1 && port == "":
		port = args[0]
	case len(args) == 1:
		host = args[0]
	}
	if port == "" {
		return n.c.Usage("a port is needed")
	}
	address := net.JoinHostPort(host, port)
	if n.o.has("U") {
		address = n.c.Path(port)
	}
	var config net.ListenConfig
	if n.o.has("u") {
		return n.datagrams(config, address)
	}
	l, err := config.Listen(n.c, n.network, address)
	if err != nil {
		return n.c.Errorf("%s: %s", address, dialReason(err))
	}
	defer l.Close()                                      //nolint:errcheck // it was closed, or is of no use
	defer context.AfterFunc(n.c, func() { l.Close() })() //nolint:errcheck // nobody accepts any more
	n.say("listening on %s", l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return 1
		}
		n.say("connection from %s", conn.RemoteAddr())
		status := n.talk(conn)
		if !n.o.has("k") || n.c.Err() != nil {
			return status
		}
	}
}

// datagrams answers whoever sends first.
func (n *netcat) datagrams(config net.ListenConfig, address string) int {
	p, err := config.ListenPacket(n.c, n.network, address)
	if err != nil {
		return n.c.Errorf("%s: %s", address, dialReason(err))
	}
	defer context.AfterFunc(n.c, func() { p.Close() })() //nolint:errcheck // it is being given up
	n.say("listening on %s", p.LocalAddr())
	buf := make([]byte, chunk)
	k, from, err := p.ReadFrom(buf)
	if err != nil {
		return status(errors.Join(err, p.Close()))
	}
	n.say("datagrams from %s", from)
	if _, err := n.c.Stdout.Write(buf[:k]); err != nil {
		return status(errors.Join(err, p.Close()))
	}
	return n.talk(packetConn{p, from})
}

// A packetConn talks to one other.
type packetConn struct {
	net.PacketConn
	to net.Addr
}

func (p packetConn) RemoteAddr() net.Addr { return p.to }

func (p packetConn) Write(b []byte) (int, error) { return p.WriteTo(b, p.to) }

func (p packetConn) Read(b []byte) (int, error) {
	n, _, err := p.ReadFrom(b)
	return n, err
}

// talk copies both ways until the other end has closed, or with datagrams until
// Stdin ends.
func (n *netcat) talk(conn net.Conn) int {
	ctx, cancel := context.WithCancel(n.c)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // it is being given up
	defer stop()
	go func() { // Stdin may never end: nobody waits for this
		_, err := io.Copy(conn, n.c.Stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite() // what was not sent, the other end does not get
			return
		}
		if n.o.has("u") && n.wait == 0 {
			cancel()
		}
	}()
	err := n.receive(conn)
	if n.c.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return n.c.Errorf("%s", dialReason(err))
	}
	return 0
}

func (n *netcat) receive(conn net.Conn) error {
	buf := make([]byte, chunk)
	for {
		if n.wait > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(n.wait)); err != nil {
				return err
			}
		}
		k, err := conn.Read(buf)
		if _, werr := n.c.Stdout.Write(buf[:k]); werr != nil {
			return werr
		}
		if err != nil {
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() {
				return nil
			}
			return err
		}
	}
}
