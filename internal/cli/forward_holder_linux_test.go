package cli

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestPortHolder(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.MustParseAddrPort(l.Addr().String())
		for _, asked := range []netip.AddrPort{at, {}} {
			if got := portHolder(asked, int(at.Port())); got != "another forward of this command" {
				t.Errorf("%v: %q", at, got)
			}
		}
		if got := portHolder(netip.MustParseAddrPort("127.0.0.9:1"), int(at.Port())); got != "" {
			t.Errorf("another address: %q", got)
		}
		_ = l.Close()
		if got := portHolder(at, int(at.Port())); got != "" {
			t.Errorf("a closed port: %q", got)
		}
	}
}

func TestParseSocket(t *testing.T) {
	const line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0"
	s, ok := parseSocket(line)
	if !ok || s.local != netip.MustParseAddrPort("127.0.0.1:8080") || !s.listening || s.uid != "1000" || s.inode != "12345" {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, bad := range []string{"", "sl local_address", strings.Replace(line, "0100007F", "01", 1), strings.Replace(line, "1F90", "x", 1)} {
		if s, ok := parseSocket(bad); ok {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

func TestOverlap(t *testing.T) {
	ip := netip.MustParseAddr
	if !overlap(ip("127.0.0.1"), ip("0.0.0.0")) || !overlap(netip.Addr{}, ip("::1")) || overlap(ip("127.0.0.1"), ip("127.0.0.2")) {
		t.Error("which addresses are in each other's way")
	}
}
