package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A network is what the containers of a sandbox see: a namespace with a loopback interface, and
// once the emulator listens on an address such as the metadata server's, a link to a second
// namespace that has this address.
//
// The second namespace is there because of port 80: in the containers' own, a listener on
// 169.254.169.254:80 keeps every container from listening on port 80 of all addresses.
// Only the addresses that are listened on are routed there, so that everything else is
// unreachable at once.
type network struct {
	inside *netNS

	mu      sync.Mutex
	outside *netNS // nil until it is needed
	noLink  bool   // the kernel cannot link to it
}

// The ends of the link. Cloud Run's instances have an address of this range, too.
const (
	linkName    = "eth0"
	insideLink  = "169.254.8.1/30"
	outsideLink = "169.254.8.2/30"
)

func newNetwork(path string) (*network, error) {
	inside, err := newNetNS(path)
	if err != nil {
		return nil, err
	}
	return &network{inside: inside}, nil
}

func (n *network) dial(ctx context.Context, port uint16) (net.Conn, error) {
	return n.inside.dial(ctx, port)
}

func (n *network) listen(ctx context.Context, address string) (net.Listener, error) {
	want, err := parseAddress(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	ip := want.Addr()
	if ip.IsLoopback() || ip.IsUnspecified() || ip.Is6() {
		return n.inside.listen(ctx, want)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.connect(); err != nil {
		return nil, err
	}
	if n.outside == nil {
		return n.inside.listen(ctx, want)
	}
	if err := n.inside.do(func() error { return addRoute(ip) }); err != nil {
		return nil, fmt.Errorf("adding a route to %s: %w", ip, err)
	}
	return n.outside.listen(ctx, want)
}

// connect makes the second namespace and the link to it, where the kernel has such links.
func (n *network) connect() error {
	if n.outside != nil || n.noLink {
		return nil
	}
	outside, err := newNetNS("")
	if err != nil {
		return err
	}
	err = n.link(outside)
	if err == nil {
		n.outside = outside
		return nil
	}
	if n.noLink = errors.Is(err, unix.EOPNOTSUPP); n.noLink {
		err = nil
	}
	return errors.Join(err, outside.remove())
}

// link connects the namespaces by a pair of virtual network cards.
func (n *network) link(outside *netNS) error {
	err := n.inside.do(func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: linkName}, PeerName: linkName,
			PeerNamespace: netlink.NsFd(int(outside.file.Fd())),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return setUpLink(insideLink)
	})
	if err == nil {
		err = outside.do(func() error { return setUpLink(outsideLink) })
	}
	if err != nil {
		return fmt.Errorf("linking network namespaces: %w", err)
	}
	return nil
}

func setUpLink(address string) error {
	link, err := netlink.LinkByName(linkName)
	if err != nil {
		return err
	}
	if err := addAddress(linkName, netip.MustParsePrefix(address)); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// addRoute sends what goes to an address over the link.
func addRoute(ip netip.Addr) error {
	link, err := netlink.LinkByName(linkName)
	if err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(netip.PrefixFrom(ip, ip.BitLen())),
		Gw:        netip.MustParsePrefix(outsideLink).Addr().AsSlice(),
	})
}

// remove may be called again.
func (n *network) remove() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.inside.remove()
	if n.outside != nil {
		err = errors.Join(err, n.outside.remove())
	}
	return err
}
