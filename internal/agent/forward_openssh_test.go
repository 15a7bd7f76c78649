//go:build linux

package agent

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/net/proxy"
)

// A master is an OpenSSH client in the background, as `ssh -f -N -M` makes it.
type master struct {
	t   *testing.T
	f   *fixture
	dir string // short: Unix sockets lie in it
}

func startMaster(t *testing.T, f *fixture, args ...string) *master {
	t.Helper()
	dir, err := os.MkdirTemp("", "ssh") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &master{t, f, dir}
	cmd := f.openssh(t, "ssh", append([]string{"-f", "-N", "-M", "-S", m.path("ctl"), "-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindMask=0177"}, append(args, "127.0.0.1")...)...)
	stderr, err := os.Create(m.path("stderr")) // no pipe: it stays in the background with it
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(stderr.Name())
		t.Fatalf("ssh: %v\n%s%s", err, text, f.logs)
	}
	t.Cleanup(func() { m.tell("exit") })
	return m
}

func (m *master) path(name string) string { return filepath.Join(m.dir, name) }

// tell gives the master a command, as `ssh -O` does.
func (m *master) tell(command string, args ...string) (string, error) {
	cmd := exec.Command("ssh", append([]string{"-F", "none", "-S", m.path("ctl"), "-O", command}, append(args, "127.0.0.1")...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *master) mustTell(command string, args ...string) string {
	m.t.Helper()
	out, err := m.tell(command, args...)
	if err != nil {
		m.t.Fatalf("ssh -O %s %s: %v: %s\n%s", command, args, err, out, m.f.logs)
	}
	return out
}

func dialTCP(t *testing.T, format string, args ...any) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestOpenSSHForwards(t *testing.T) {
	f := start(t, nil)
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	dir := t.TempDir()
	echoServer(t, "unix", filepath.Join(dir, "echo"))
	local, bound, toUnix, remote, six, socks := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	m := startMaster(t, f)
	to := echo.Addr().String()
	for _, args := range [][]string{
		{"-L", fmt.Sprintf("%d:%s", local, to)},
		{"-L", fmt.Sprintf("[::1]:%d:localhost:%d", bound, portOf(echo))},
		{"-L", fmt.Sprintf("%d:%s", toUnix, filepath.Join(dir, "echo"))},
		{"-L", m.path("l") + ":" + to},
		{"-R", fmt.Sprintf("%d:%s", remote, to)},
		{"-R", fmt.Sprintf("[::1]:%d:%s", six, filepath.Join(dir, "echo"))},
		{"-R", m.path("r") + ":" + to},
		{"-D", fmt.Sprint(socks)},
	} {
		m.mustTell("forward", args...)
	}
	unix := func(name string) net.Conn {
		conn, err := net.Dial("unix", m.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	expectEcho(t, dialTCP(t, "127.0.0.1:%d", local))
	expectEcho(t, dialTCP(t, "[::1]:%d", bound))
	expectEcho(t, dialTCP(t, "127.0.0.1:%d", toUnix))
	expectEcho(t, unix("l"))
	expectEcho(t, dialTCP(t, "127.0.0.1:%d", remote))
	expectEcho(t, dialTCP(t, "[::1]:%d", remote)) // no address is localhost, of either family
	expectEcho(t, dialTCP(t, "[::1]:%d", six))
	expectEcho(t, unix("r"))
	expectEcho(t, dialSOCKS(t, socks, fmt.Sprintf("localhost:%d", portOf(echo))))

	chosen := m.mustTell("forward", "-R", fmt.Sprintf("*:0:%s", to))
	expectEcho(t, dialTCP(t, "127.0.0.1:%s", chosen))
	expectEcho(t, dialTCP(t, "%s:%s", outsideAddress(t), chosen))
	m.mustTell("cancel", "-R", fmt.Sprintf("*:0:%s", to))
	m.mustTell("cancel", "-R", fmt.Sprintf("%d:%s", remote, to))
	m.mustTell("cancel", "-R", m.path("r")+":"+to)
	// OpenSSH does not wait for an answer when it cancels. It does for this refusal,
	// which comes after all that was asked before.
	if out, err := m.tell("forward", "-R", fmt.Sprintf("%d:%s", portOf(echo), to)); err == nil || !strings.Contains(out, "remote port forwarding failed") {
		t.Errorf("a port in use: %q, %v", out, err)
	}
	for _, address := range []string{"127.0.0.1:" + chosen, fmt.Sprintf("127.0.0.1:%d", remote), m.path("r")} {
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		if conn, err := net.Dial(network, address); err == nil {
			conn.Close()
			t.Errorf("%s is cancelled and accepts", address)
		}
	}
	if out, err := f.openssh(t, "ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-R", fmt.Sprintf("%d:%s", portOf(echo), to), "127.0.0.1").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "remote port forwarding failed for listen port") {
		t.Errorf("a port in use: %q, %v", out, err)
	}
}

// A port in use is refused with the name of who has it.
func TestPortHolder(t *testing.T) {
	f := start(t, nil)
	port := freePort(t)
	startMaster(t, f, "-L", fmt.Sprintf("%d:localhost:1", port))
	if ok, _ := ask(t, f.dial(t), "tcpip-forward", tcpForward{"localhost", port}); ok {
		t.Error("a port in use was taken")
	}
	f.logs.wait(t, fmt.Sprintf("listening on localhost:%d: address already in use by ssh (process ", port))
}

// A command that is over at once does not hide that a forwarding was refused.
func TestOpenSSHOrder(t *testing.T) {
	f := start(t, nil)
	port := freePort(t)
	twice := f.openssh(t, "ssh", "-o", "ExitOnForwardFailure=yes", "-R", fmt.Sprintf("%d:localhost:1", port),
		"-R", fmt.Sprintf("%d:localhost:1", freePort(t)), "-R", fmt.Sprintf("%d:localhost:2", port), "127.0.0.1", "true")
	for range 8 {
		cmd := exec.CommandContext(t.Context(), twice.Path, twice.Args[1:]...)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 255 {
			t.Errorf("the same port twice: %v, %s", err, out)
		}
	}
}

func dialSOCKS(t *testing.T, port uint32, address string) net.Conn {
	t.Helper()
	dialer, err := proxy.SOCKS5("tcp", fmt.Sprintf("127.0.0.1:%d", port), nil, proxy.Direct)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A sink is a server that hashes what a connection sends, and says the sum.
func startSink(t *testing.T) net.Listener {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		sum := sha256.New()
		io.Copy(sum, conn)
		fmt.Fprintf(conn, "%x", sum.Sum(nil))
	})
}

// pour sends 10 MB, more than any window takes, and expects the sink to have the
// same.
func pour(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	sum := sha256.New()
	block := bytes.Repeat([]byte("cloudssh"), 125_000)
	for i := range 10 {
		copy(block, fmt.Sprint("block ", i))
		if _, err := io.MultiWriter(sum, conn).Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != hexSum(sum) {
		t.Errorf("the checksum is %s, %v, want %s", got, err, hexSum(sum))
	}
}

func hexSum(sum hash.Hash) string { return fmt.Sprintf("%x", sum.Sum(nil)) }

func TestOpenSSHForwardsMuch(t *testing.T) {
	f := start(t, nil)
	sink := startSink(t)
	local, remote, socks := freePort(t), freePort(t), freePort(t)
	startMaster(t, f, "-L", fmt.Sprintf("%d:%s", local, sink.Addr()), "-R", fmt.Sprintf("%d:%s", remote, sink.Addr()), "-D", fmt.Sprint(socks))
	pour(t, dialTCP(t, "127.0.0.1:%d", local))
	pour(t, dialTCP(t, "127.0.0.1:%d", remote))
	pour(t, dialSOCKS(t, socks, sink.Addr().String()))
}

func TestOpenSSHStandardInputForward(t *testing.T) {
	f := start(t, nil)
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	cmd := f.openssh(t, "ssh", "-W", echo.Addr().String(), "127.0.0.1")
	cmd.Stdin = strings.NewReader("through")
	if out, err := cmd.Output(); err != nil || string(out) != "through" {
		t.Errorf("output %q, %v", out, err)
	}
	deaf := fmt.Sprintf("127.0.0.1:%d", deafPort(t))
	out, err := f.openssh(t, "ssh", "-v", "-W", deaf, "127.0.0.1").CombinedOutput()
	if want := "open failed: connect failed: connecting to " + deaf + ": connection refused"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("output %q, %v; want %q", out, err, want)
	}
}

// The command line of a running session.
func TestOpenSSHCommandLine(t *testing.T) {
	f := start(t, nil)
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	local, remote := freePort(t), freePort(t)
	cmd := f.openssh(t, "ssh", "-tt", "-o", "EnableEscapeCommandline=yes", "127.0.0.1", "echo ready; while read x; do echo \"<$x>\"; done")
	cmd.Args[slices.Index(cmd.Args, "LogLevel=ERROR")] = "LogLevel=INFO" // it says what it has done
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	readUntil(t, terminal, "ready")
	say := func(text, want string) {
		t.Helper()
		if _, err := io.WriteString(terminal, text); err != nil {
			t.Fatal(err)
		}
		readUntil(t, terminal, want)
	}
	say("\r~C", "ssh> ")
	say(fmt.Sprintf("-L %d:%s\r", local, echo.Addr()), "Forwarding port.")
	say("\r~C", "ssh> ")
	say(fmt.Sprintf("-R 127.0.0.1:%d:%s\r", remote, echo.Addr()), "Forwarding port.")
	say("hello\r", "<hello>")
	f.logs.wait(t, "msg=listening")
	expectEcho(t, dialTCP(t, "127.0.0.1:%d", local))
	expectEcho(t, dialTCP(t, "127.0.0.1:%d", remote))
	say("\r~C", "ssh> ")
	say(fmt.Sprintf("-KR 127.0.0.1:%d\r", remote), "Canceled forwarding.")
	f.logs.wait(t, "no longer listening")
	if _, err := io.WriteString(terminal, "\r~."); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // with the status of a connection that was cut
}
