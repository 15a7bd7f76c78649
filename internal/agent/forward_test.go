//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// listen serves connections until the test ends, each in a goroutine of its own.
func listen(t testing.TB, network, address string, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l
}

// echoServer sends back what it gets, when it has all of it.
func echoServer(t testing.TB, network, address string) net.Listener {
	t.Helper()
	return listen(t, network, address, func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		conn.Write(all)
	})
}

// expectEcho says something, ends its direction, and wants it back.
func expectEcho(t testing.TB, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	defer time.AfterFunc(patience, func() { conn.Close() }).Stop() // a channel has no deadline
	if _, err := io.WriteString(conn, "over and out"); err != nil {
		t.Error(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "over and out" {
		t.Errorf("the echo is %q, %v", got, err)
	}
}

func portOf(l net.Listener) uint32 { return uint32(l.Addr().(*net.TCPAddr).Port) }

// given are the ports that freePort has given away.
var given sync.Map

// freePort is a port that was free a moment ago, below those that the kernel gives
// to whoever asks for any. It gives none twice.
func freePort(t testing.TB) uint32 {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprint(":", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		l.Close()
		if _, twice := given.LoadOrStore(portOf(l), true); !twice {
			return portOf(l)
		}
	}
	t.Fatal("no port is free")
	return 0
}

// occupy takes a port of an address, 0 for any, until the test ends, and does not
// listen on it: whoever connects is refused, and nobody else can have it. It is 0
// if somebody has it already.
func occupy(t testing.TB, host string, port uint32) uint32 {
	t.Helper()
	ip := net.ParseIP(host)
	family, address := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: int(port), Addr: [16]byte(ip.To16())})
	if four := ip.To4(); four != nil {
		family, address = syscall.AF_INET, &syscall.SockaddrInet4{Port: int(port), Addr: [4]byte(four)}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	switch err := syscall.Bind(fd, address); {
	case errors.Is(err, syscall.EADDRINUSE):
		return 0
	case err != nil:
		t.Fatal(err)
	}
	if address, err = syscall.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	switch address := address.(type) {
	case *syscall.SockaddrInet4:
		return uint32(address.Port)
	case *syscall.SockaddrInet6:
		return uint32(address.Port)
	}
	return 0
}

// deafPort is a port of the IPv4 loopback address that refuses connections.
func deafPort(t testing.TB) uint32 {
	t.Helper()
	return occupy(t, "127.0.0.1", 0)
}

// echoSix is an echo server on the IPv6 loopback address alone, on a port that
// the IPv4 one refuses.
func echoSix(t testing.TB) net.Listener {
	t.Helper()
	for {
		l := echoServer(t, "tcp", "[::1]:0")
		if occupy(t, "127.0.0.1", portOf(l)) != 0 {
			return l
		}
	}
}

func TestDirectForwards(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	tcp := echoServer(t, "tcp", "127.0.0.1:0")
	six := echoSix(t)
	path := filepath.Join(t.TempDir(), "echo")
	echoServer(t, "unix", path)
	for _, to := range []struct{ network, address string }{
		{"tcp", tcp.Addr().String()},
		{"tcp", "localhost:" + strconv.Itoa(int(portOf(tcp)))},
		{"tcp", "LocalHost:" + strconv.Itoa(int(portOf(six)))}, // of which only the IPv6 one answers
		{"tcp", six.Addr().String()},
		{"unix", path},
	} {
		conn, err := client.Dial(to.network, to.address)
		if err != nil {
			t.Errorf("%s: %v", to.address, err)
			continue
		}
		expectEcho(t, conn)
	}
}

func TestRefusedTargets(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	dir := t.TempDir()
	dead, err := net.Listen("unix", filepath.Join(dir, "dead"))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	deaf := "127.0.0.1:" + strconv.Itoa(int(deafPort(t)))
	for _, to := range []struct{ network, address, want string }{
		{"tcp", deaf, "connecting to " + deaf + ": connection refused"},
		{"tcp", "no-such-host.invalid:80", "connecting to no-such-host.invalid:80: "}, // the reason is the resolver's
		{"unix", dir + "/none", "connecting to " + dir + "/none: no such file or directory"},
		{"unix", dir + "/dead", "connecting to " + dir + "/dead: connection refused"},
		{"unix", "relative", "no path for a socket"},
		{"unix", "@abstract", "no path for a socket"},
		{"unix", "/" + strings.Repeat("x", 200), "the path of a socket may have 107 bytes, this one has 201"},
	} {
		var refused *ssh.OpenChannelError
		if _, err := client.Dial(to.network, to.address); !errors.As(err, &refused) || refused.Reason != ssh.ConnectionFailed ||
			!strings.HasPrefix(refused.Message, to.want) || strings.Contains(refused.Message, "dial") {
			t.Errorf("%s: %v, want %q", to.address, err, to.want)
		}
	}
	for kind, reason := range map[string]ssh.RejectionReason{
		"tun@openssh.com": ssh.Prohibited, "x11": ssh.Prohibited, "auth-agent@openssh.com": ssh.Prohibited,
		"forwarded-tcpip": ssh.Prohibited, "other": ssh.UnknownChannelType, "direct-tcpip": ssh.ConnectionFailed,
		"direct-streamlocal@openssh.com": ssh.ConnectionFailed,
	} {
		var refused *ssh.OpenChannelError
		if _, _, err := client.OpenChannel(kind, nil); !errors.As(err, &refused) || refused.Reason != reason || refused.Message == "" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestPlainReasons(t *testing.T) {
	for want, err := range map[string]error{
		"no such host": &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true},
		"looking up the name: server misbehaving": &net.DNSError{Err: "server misbehaving", Name: "x"},
		"timed out":              &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"address already in use": listenTwice(t),
		"odd":                    errors.New("odd"),
	} {
		if got := plainReason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestListenReason(t *testing.T) {
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	if got := listenReason(denied, 80); got != "permission denied: ports below 1024 are root's, as a rule, and the app does not run as root" {
		t.Errorf("port 80: %q", got)
	}
	if got := listenReason(denied, 8080); got != "permission denied" {
		t.Errorf("port 8080: %q", got)
	}
}

func listenTwice(t *testing.T) error {
	t.Helper()
	l := echoServer(t, "tcp", "127.0.0.1:0")
	_, err := net.Listen("tcp", l.Addr().String())
	return err
}

type tcpForward struct {
	Address string
	Port    uint32
}

// What RFC 4254 §7.1 and sshd make of addresses to listen on.
func TestListenAddresses(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	outside := outsideAddress(t)
	channels := client.HandleChannelOpen("forwarded-tcpip")
	for _, c := range []struct {
		address string
		reached []string
		not     []string
	}{
		{"", []string{"127.0.0.1", "::1", outside}, nil},
		{"*", []string{"127.0.0.1", "::1", outside}, nil},
		{"localhost", []string{"127.0.0.1", "::1"}, []string{outside}},
		{"127.0.0.1", []string{"127.0.0.1"}, []string{"::1", outside}},
		{"0.0.0.0", []string{"127.0.0.1", outside}, []string{"::1"}},
		{"::", []string{"::1"}, []string{"127.0.0.1"}},
		{"::1", []string{"::1"}, []string{"127.0.0.1"}},
	} {
		chosen := listenApart(t, client, c.address, c.not)
		port := strconv.Itoa(int(chosen))
		for _, host := range c.reached {
			conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Errorf("%q by %s: %v", c.address, host, err)
				continue
			}
			channel := <-channels
			var got struct {
				Address string
				Port    uint32
				Origin  string
				Port2   uint32
			}
			from := conn.LocalAddr().(*net.TCPAddr)
			if err := ssh.Unmarshal(channel.ExtraData(), &got); err != nil || got.Address != c.address || got.Port != chosen ||
				got.Origin != from.IP.String() || got.Port2 != uint32(from.Port) {
				t.Errorf("%q by %s from %s: %+v, %v", c.address, host, from, got, err)
			}
			channel.Reject(ssh.Prohibited, "enough")
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("a connection that the client refused: %d, %v", n, err)
			}
			conn.Close()
		}
		for i, want := range []bool{true, false} {
			if ok, _ := ask(t, client, "cancel-tcpip-forward", tcpForward{c.address, chosen}); ok != want {
				t.Errorf("%q cancelled for the %d. time: %v", c.address, i+1, ok)
			}
		}
		if _, err := net.Dial("tcp", net.JoinHostPort(c.reached[0], port)); err == nil {
			t.Errorf("%q is cancelled and accepts", c.address)
		}
	}
}

// listenApart has the agent listen on an address, on a port that is nobody's on
// some others. Somebody else in this machine may have the first ones it chooses
// there, but not all.
func listenApart(t *testing.T, client *ssh.Client, address string, others []string) (port uint32) {
	t.Helper()
	for range 10 {
		ok, answer := ask(t, client, "tcpip-forward", tcpForward{address, 0})
		var chosen struct{ Port uint32 }
		if !ok || ssh.Unmarshal(answer, &chosen) != nil || chosen.Port == 0 {
			t.Fatalf("%q: %v, %x", address, ok, answer)
		}
		if !slices.ContainsFunc(others, func(host string) bool { return occupy(t, host, chosen.Port) == 0 }) {
			return chosen.Port
		}
		ask(t, client, "cancel-tcpip-forward", tcpForward{address, chosen.Port})
	}
	t.Fatalf("%q is one of %s, too", address, others)
	return 0
}

// outsideAddress is an address of this machine that is no loopback address.
func outsideAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.2"
}

func TestListenRefusals(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	used := echoServer(t, "tcp", "127.0.0.1:0")
	for _, to := range []tcpForward{
		{"localhost", portOf(used)},
		{"127.0.0.1", portOf(used)},
		{"", portOf(used)},
		{"192.0.2.1", 0},
		{"no-such-host.invalid", 0},
		{"localhost", 65536},
	} {
		if ok, answer := ask(t, client, "tcpip-forward", to); ok || len(answer) > 0 {
			t.Errorf("%+v: %v, %q", to, ok, answer)
		}
	}
	f.logs.wait(t, `reason="listening on localhost:`+strconv.Itoa(int(portOf(used)))+`: address already in use by the cloudssh agent"`)
	f.logs.wait(t, `reason="listening on 192.0.2.1:0: cannot assign requested address"`)
	for _, kind := range []string{"cancel-tcpip-forward", "hostkeys-prove-00@openssh.com", "tun@openssh.com"} {
		if ok, _ := ask(t, client, kind, tcpForward{"localhost", portOf(used)}); ok {
			t.Errorf("%s was granted", kind)
		}
	}
	// Our own client is told the reason.
	config := f.clientConfig()
	config.ClientVersion = "SSH-2.0-cloudssh"
	ours, err := ssh.Dial("tcp", f.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_, answer := ask(t, ours, "tcpip-forward", tcpForward{"127.0.0.1", portOf(used)})
	if want := "listening on " + used.Addr().String() + ": address already in use by the cloudssh agent"; string(answer) != want {
		t.Errorf("the reason is %q, want %q", answer, want)
	}
}

func TestRemoteForwards(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	path := filepath.Join(t.TempDir(), "socket")
	for _, on := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", path}} {
		l, err := client.Listen(on.network, on.address)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			all, _ := io.ReadAll(conn)
			conn.Write(all)
		}()
		conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		expectEcho(t, conn)
		if on.network == "unix" {
			if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("the socket: %v, %v", info.Mode(), err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
			t.Errorf("%s accepts after it was cancelled", on.address)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cancelled socket stays: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Listen("unix", path); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
	f.logs.wait(t, "the file exists")
}

// What a client had us listen on ends with its connection, and so do the
// connections that were forwarded.
func TestForwardsEndWithTheConnection(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	path := filepath.Join(t.TempDir(), "socket")
	if _, err := client.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	l, err := client.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a forwarded connection after the end: %d, %v", n, err)
	}
	f.logs.wait(t, "connection closed")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	if _, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		t.Error("the port is open")
	}
}

// An answer that comes before the question has been heard out arrives.
func TestEarlyAnswer(t *testing.T) {
	f := start(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		io.ReadFull(conn, make([]byte, 10))
		io.WriteString(conn, "413 too large")
		conn.Close() // with a reset: much is unread
	}()
	ch, err := f.dial(t).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	go func() {
		for {
			if _, err := ch.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	// The kernel lets what it has be read, reset or not.
	got := make([]byte, len("413 too large"))
	if _, err := io.ReadFull(ch, got); err != nil || string(got) != "413 too large" {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

func TestNoMoreSessions(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	s := newTestSession(t, client)
	if ok, _ := ask(t, client, noMoreSessions, nil); !ok {
		t.Fatal("refused")
	}
	if got := output(t, s, "echo still"); got != "still\n" {
		t.Errorf("the session there was: %q", got)
	}
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	conn, err := client.Dial("tcp", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	expectEcho(t, conn)
	if _, err := client.NewSession(); err == nil {
		t.Error("there was one more session")
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the connection goes on")
	}
	f.logs.wait(t, "it asked for a session after")
}
