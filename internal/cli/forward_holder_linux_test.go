package cli

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPortHolder(t *testing.T) {
	for _, host := range Loopbacks() {
		l, err := net.Listen("tcp", net.JoinHostPort(host, FreePort(t)))
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

// TestPortHolderIsTheOldest of those that have a socket: a child has those of its
// parent, if only until it runs another program.
func TestPortHolderIsTheOldest(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{socket}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer stdin.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	if got := portHolder(at, int(at.Port())); got != "another forward of this command" {
		t.Errorf("%v: %q", at, got)
	}
	older, younger := startOf("/proc/self"), startOf(filepath.Join("/proc", strconv.Itoa(child.Process.Pid)))
	if older == 0 || older > younger {
		t.Errorf("this process began at %d, and its child at %d", older, younger)
	}
	_, _ = socket.Close(), l.Close()
	if got, want := portHolder(at, int(at.Port())), fmt.Sprintf("cat (pid %d)", child.Process.Pid); got != want {
		t.Errorf("the child alone: %q, want %q", got, want)
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
