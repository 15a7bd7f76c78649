package wan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	mtu = 1500
	// prefix is a link's network, of the range that RFC 2544 §C.2.2 sets apart
	// for tests of networks, 198.18.0.0/15. It has room for new addresses.
	prefix = 28
	// backlog is a device's own queue in packets. It takes what comes while
	// this process does not run, so that only the Shape loses packets.
	backlog = 20000
)

// A Link connects two hosts, near and far.
type Link struct {
	ends    [2]*end       // near, far
	ways    [2]*direction // from near to far, and back
	carried sync.WaitGroup
	closing sync.Once
	closed  chan struct{}
}

// An end is a link's device on one host.
type end struct {
	host   *Host
	tun    *os.File
	device netlink.Link

	mu   sync.Mutex
	addr netip.Addr
}

// NewLink connects two hosts, with the same shape for both directions.
func NewLink(near, far *Host, shape Shape) (*Link, error) {
	l := &Link{closed: make(chan struct{})}
	base := netip.AddrFrom4([4]byte{198, 18 + byte(rand.IntN(2)), byte(rand.IntN(256)), byte(rand.IntN(16)) << 4}) //nolint:gosec // no secret
	addrs := [2]netip.Addr{base.Next()}
	last := base.As4()
	last[3] += 14
	addrs[1] = netip.AddrFrom4(last)
	for i, host := range []*Host{near, far} {
		e, err := newEnd(host, addrs[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("making a link: %w", err), l.closeEnds())
		}
		l.ends[i] = e
	}
	for i := range l.ways {
		l.ways[i] = &direction{shape: shape}
	}
	for i, way := range l.ways {
		packets := make(chan packet, 1<<16)
		from, to := l.ends[i].tun, l.ends[1-i].tun
		l.carried.Go(func() { take(from, way, packets) })
		l.carried.Go(func() { hand(to, way, packets, l.closed) })
	}
	return l, nil
}

// newEnd makes the device. The kernel finds a free name.
func newEnd(host *Host, addr netip.Addr) (*end, error) {
	e := &end{host: host}
	err := host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq("wan%d")
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("making a TUN device: %w", err), unix.Close(fd))
		}
		e.tun = os.NewFile(uintptr(fd), request.Name())
		if e.device, err = netlink.LinkByName(request.Name()); err != nil {
			return err
		}
		return errors.Join(
			netlink.LinkSetMTU(e.device, mtu), netlink.LinkSetTxQLen(e.device, backlog),
			e.assign(addr), netlink.LinkSetUp(e.device))
	})
	if err != nil && e.tun != nil {
		err = errors.Join(err, e.tun.Close())
	}
	return e, err
}

// assign gives the device an address instead of the one it has. It runs on the
// host.
func (e *end) assign(addr netip.Addr) error {
	address := func(a netip.Addr) *netlink.Addr {
		return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(prefix, 32)}}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.addr.IsValid() {
		if err := netlink.AddrDel(e.device, address(e.addr)); err != nil {
			return fmt.Errorf("removing %s: %w", e.addr, err)
		}
	}
	if err := netlink.AddrAdd(e.device, address(addr)); err != nil {
		return fmt.Errorf("adding %s: %w", addr, err)
	}
	e.addr = addr
	return nil
}

func (e *end) address() netip.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addr
}

// Near is the near host's address on the link.
func (l *Link) Near() netip.Addr { return l.ends[0].address() }

// Far is the far host's address on the link.
func (l *Link) Far() netip.Addr { return l.ends[1].address() }

// Set changes what the link does to packets from now on: there is from near to
// far. Packets under way keep the time they were given.
func (l *Link) Set(there, back Shape) {
	l.ways[0].set(there)
	l.ways[1].set(back)
}

// SetHole begins or ends a black hole in both directions; the rest of the
// shape stays.
func (l *Link) SetHole(hole bool) {
	for _, way := range l.ways {
		way.mu.Lock()
		way.shape.Hole = hole
		way.mu.Unlock()
	}
}

// Stats counts what went from near to far, and back.
func (l *Link) Stats() (there, back Stats) { return l.ways[0].count(), l.ways[1].count() }

// Renumber gives the near host another address of the link's network, as if it
// had moved from one network to another. Connections from the old address are
// cut off without a word.
func (l *Link) Renumber() error {
	near := l.ends[0]
	next := near.address().Next()
	if next == l.Far() {
		return errors.New("changing the address: the network is used up")
	}
	return near.host.Do(func() error { return near.assign(next) })
}

// Close removes the link from both hosts.
func (l *Link) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.closed)
		err = l.closeEnds()
		l.carried.Wait()
	})
	return err
}

func (l *Link) closeEnds() error {
	var errs []error
	for _, e := range l.ends {
		if e != nil {
			errs = append(errs, e.tun.Close())
		}
	}
	return errors.Join(errs...)
}

// A packet is on its way.
type packet struct {
	data []byte
	due  time.Time
}

// take reads the packets that a host sends until the device is closed.
func take(from *os.File, way *direction, packets chan<- packet) {
	defer close(packets)
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		due, ok := way.admit(time.Now(), n)
		if !ok {
			continue
		}
		packets <- packet{append([]byte(nil), buf[:n]...), due}
	}
}

// hand gives a host the packets sent to it, each at its time. It sleeps in the
// kernel on a thread of its own: the timers of the Go runtime are coarser than
// the distance between two packets.
func hand(to *os.File, way *direction, packets <-chan packet, closed <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)       //nolint:errcheck // 50 µs of slack do no harm
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) //nolint:errcheck // 0 is the default again
	for p := range packets {
		select {
		case <-closed:
			continue
		default:
		}
		for wait := time.Until(p.due); wait > 0; wait = time.Until(p.due) {
			ts := unix.NsecToTimespec(wait.Nanoseconds())
			unix.Nanosleep(&ts, nil) //nolint:errcheck // the loop looks at the clock
		}
		if way.deliver(len(p.data)) {
			to.Write(p.data) //nolint:errcheck // the kernel may drop a packet, as any router
		}
	}
}

// Dial connects from the near host to a port of the far one.
func (l *Link) Dial(ctx context.Context, network, port string) (net.Conn, error) {
	return l.ends[0].host.DialContext(ctx, network, net.JoinHostPort(l.Far().String(), port))
}
