package tool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A question is what dig, nslookup and host ask.
type question struct {
	name   string
	kind   dnsmessage.Type
	server string // address and port
	stream bool   // over TCP
	wait   time.Duration
}

// An answered question is what a server said.
type answered struct {
	dnsmessage.Message
	server string
	took   time.Duration
	size   int
}

// recordTypes are the types of records by name.
func recordTypes() map[string]dnsmessage.Type {
	return map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS,
		"PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT, "ANY": dnsmessage.TypeALL,
		"HINFO": dnsmessage.TypeHINFO, "CAA": 257, "HTTPS": 65,
	}
}

func recordName(t dnsmessage.Type) string {
	for name, v := range recordTypes() {
		if v == t {
			return name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// resolvConf has the servers, and the domains to look in, of this container.
func resolvConf() (servers, search []string) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return []string{"127.0.0.1:53"}, nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "nameserver":
			servers = append(servers, net.JoinHostPort(f[1], "53"))
		case len(f) > 1 && (f[0] == "search" || f[0] == "domain"):
			search = f[1:]
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	return servers, search
}

// ask asks one server; an answer that did not fit is asked for again over TCP.
func (q question) ask(ctx context.Context) (answered, error) {
	if q.wait == 0 {
		q.wait = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, q.wait)
	defer cancel()
	name, err := dnsmessage.NewName(strings.TrimSuffix(q.name, ".") + ".")
	if err != nil {
		return answered{}, fmt.Errorf("%s is no name", q.name)
	}
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true}, //nolint:gosec // it only tells answers apart
		Questions: []dnsmessage.Question{{Name: name, Type: q.kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := message.Pack()
	if err != nil {
		return answered{}, err
	}
	start := time.Now()
	b, err := q.exchange(ctx, packed)
	if err != nil {
		return answered{}, fmt.Errorf("%s: %s", q.server, dialReason(err))
	}
	a := answered{server: q.server, took: time.Since(start), size: len(b)}
	if err := a.Unpack(b); err != nil {
		return a, fmt.Errorf("%s: the answer cannot be read: %w", q.server, err)
	}
	if a.ID != message.ID {
		return a, fmt.Errorf("%s: it answered another question", q.server)
	}
	if a.Truncated && !q.stream {
		q.stream = true
		return q.ask(ctx)
	}
	return a, nil
}

func (q question) exchange(ctx context.Context, packed []byte) ([]byte, error) {
	network := "udp"
	if q.stream {
		network = "tcp"
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, q.server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()                                      //nolint:errcheck // the answer is there, or there is none
	defer context.AfterFunc(ctx, func() { conn.Close() })() //nolint:errcheck // it is being given up
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	if q.stream {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint16(length[:]))
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	b := make([]byte, chunk)
	n, err := conn.Read(b)
	return b[:n], err
}

// anyServer asks the servers of the container, one after the other.
func (q question) anyServer(ctx context.Context) (a answered, err error) {
	servers := []string{q.server}
	if q.server == "" {
		servers, _ = resolvConf()
	}
	for _, q.server = range servers {
		if a, err = q.ask(ctx); err == nil {
			return a, nil
		}
	}
	return a, err
}

// reverse is the name that stands for an address, for PTR.
func reverse(address string) (string, bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "", false
	}
	b := ip.AsSlice()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		if ip.Is4() {
			fmt.Fprintf(&s, "%d.", b[i])
		} else {
			fmt.Fprintf(&s, "%x.%x.", b[i]&15, b[i]>>4)
		}
	}
	if ip.Is4() {
		return s.String() + "in-addr.arpa", true
	}
	return s.String() + "ip6.arpa", true
}

// recordText is the data of a record.
func recordText(r dnsmessage.Resource) string {
	switch b := r.Body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return b.CNAME.String()
	case *dnsmessage.NSResource:
		return b.NS.String()
	case *dnsmessage.PTRResource:
		return b.PTR.String()
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", b.Pref, b.MX)
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", b.Priority, b.Weight, b.Port, b.Target)
	case *dnsmessage.SOAResource:
		return fmt.Sprintf("%s %s %d %d %d %d %d", b.NS, b.MBox, b.Serial, b.Refresh, b.Retry, b.Expire, b.MinTTL)
	case *dnsmessage.TXTResource:
		var all []string
		for _, t := range b.TXT {
			all = append(all, strconv.Quote(t))
		}
		return strings.Join(all, " ")
	case *dnsmessage.UnknownResource:
		return fmt.Sprintf(`\# %d %x`, len(b.Data), b.Data)
	}
	return ""
}

// serverAddress is what users call a server, with a port.
func serverAddress(s, port string) (string, error) {
	if port == "" {
		port = "53"
	}
	if _, err := netip.ParseAddr(s); err == nil || !strings.Contains(s, ":") {
		return net.JoinHostPort(s, port), nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", errors.New("not a server: " + s)
	}
	return s, nil
}
