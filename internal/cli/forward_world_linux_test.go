package cli_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/proxy"

	"github.com/cloudssh/cloudssh/internal/cli"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestForwards forwards between this machine and a twin, in every way.
func TestForwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	t.Run("the app", func(t *testing.T) { forwardsTheApp(t, w) })
	t.Run("much", func(t *testing.T) { forwardsMuch(t, w) })
	t.Run("no session", func(t *testing.T) { forwardsOnly(t, w) })
	t.Run("refused", func(t *testing.T) { refusesForwards(t, w) })
}

// forwardsTheApp is what the README promises: the app at localhost.
func forwardsTheApp(t *testing.T, w *world) {
	t.Helper()
	port := cli.FreePort(t)
	m := w.terminal(t, "hello", "-L", port+":localhost:8080")
	m.sees("a prompt", func(s string) bool { return strings.Contains(s, "$ ") || strings.Contains(s, "# ") })
	uri := "http://localhost:" + port + "/"
	if out, err := exec.Command("curl", "-sS", uri).CombinedOutput(); err == nil {
		t.Errorf("an app that does not run answered %q", out)
	}
	m.told("refused: connecting to localhost:8080 in the twin: cloudssh-app is not running")
	m.types("cloudssh-app &\r")
	m.shows(`"msg":"listening"`)
	greets := func(address string) {
		t.Helper()
		if out, err := exec.Command("curl", "-sS", "--globoff", address).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "Hello from hello-ssh") {
			t.Errorf("%s: %q, %v", address, out, err)
		}
	}
	greets(uri)
	for _, address := range cli.Loopbacks() {
		greets("http://" + net.JoinHostPort(address, port) + "/")
	}

	m.types("\r~d")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		_ = conn.Close()
		t.Error("the port stays open without its session")
	}
	m = w.terminal(t, "attach", "hello", "-L", port+":localhost:8080")
	m.shows(`"msg":"listening"`)
	greets(uri)
	m.types("kill $!; exit 3\r")
	if code := m.wait(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		_ = conn.Close()
		t.Error("the port stays open")
	}
}

// echoes starts, in a twin, what echoes at port 7001, and waits until it listens:
// a shell goes on before what it has started in the background does anything.
const echoes = `nc -ll -p 7001 -e cat & until grep -q :1B59 /proc/net/tcp /proc/net/tcp6; do :; done; `

// much is how many bytes go through each kind of forward; e2e sends more, which is
// slow under the race detector.
const much = 5_000_000

// forwardsMuch sends much through -L, -D and -R at a time, and uses -W and -A in
// the same twin.
func forwardsMuch(t *testing.T, w *world) {
	t.Helper()
	data := make([]byte, much)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	want := fmt.Sprintf("%x", sha256.Sum256(data))
	near := listen(t, func(conn net.Conn) {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = conn.Write(data)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(io.Discard, conn)
		<-sent
	})
	answers := listen(t, func(conn net.Conn) {
		sum := sha256.New()
		n, err := io.Copy(sum, conn)
		fmt.Fprintf(conn, "%d %x %v\n", n, sum.Sum(nil), err)
	})
	p := w.start(t, "hello", "-L", "0:localhost:7001", "-D", "0", "-R", "9001:"+near, "-R", "9002:"+answers,
		"-R", "9003:localhost:1", "-R", "9004", "--exec",
		echoes+`nc 127.0.0.1 9001 </dev/null | sha256sum; head -c `+fmt.Sprint(much)+
			` /dev/zero | nc 127.0.0.1 9002; nc 127.0.0.1 9003 </dev/null; printf '`+socks4To(t, answers)+
			`' | nc 127.0.0.1 9004; echo all is sent >&2; cat; kill $!`)
	p.until("all is sent")
	p.until("refused: connecting to localhost:1 from here: connection refused")
	local := find(t, `forwarding (localhost:\d+) to localhost:7001 in hello-ssh`, p.stderr.String())
	socks := find(t, `forwarding (localhost:\d+) to anywhere from hello-ssh`, p.stderr.String())
	conn, err := net.Dial("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	comesBack(t, conn, data)
	through, err := proxy.SOCKS5("tcp", socks, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err = through.Dial("tcp", "localhost:7001")
	if err != nil {
		t.Fatal(err)
	}
	comesBack(t, conn, data)
	if _, err := through.Dial("tcp", "localhost:81"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a closed port behind SOCKS: %v", err)
	}
	p.until("refused: connecting to localhost:81 in the twin: connection refused")
	stdioAndAgent(t, w)
	_ = p.stdin.Close()
	r := p.wait()
	r.demand(t, 0)
	if lines := strings.Fields(r.stdout); len(lines) < 4 || lines[0] != want || lines[2] != fmt.Sprint(much) ||
		lines[3] != fmt.Sprintf("%x", sha256.Sum256(make([]byte, much))) {
		t.Errorf("through -R: %q; want %s", r.stdout, want)
	}
	if none := fmt.Sprintf("0 %x", sha256.Sum256(nil)); !strings.Contains(r.stdout, "\x00Z") || !strings.Contains(r.stdout, none) {
		t.Errorf("through -R as SOCKS: %q", r.stdout)
	}
	w.demandOnly(t, "hello")
}

// socks4To is a request of SOCKS 4 to connect, for printf.
func socks4To(t *testing.T, address string) string {
	t.Helper()
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, b := range append([]byte{4, 1, byte(to.Port() >> 8), byte(to.Port())}, append(to.Addr().AsSlice(), 0)...) {
		text += fmt.Sprintf(`\%03o`, b)
	}
	return text
}

// listen serves connections of this machine, and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
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
	return l.Addr().String()
}

func find(t *testing.T, pattern, text string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return found[1]
}

// comesBack sends data to a server that echoes, and its end.
func comesBack(t *testing.T, conn net.Conn, data []byte) {
	t.Helper()
	defer conn.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		wrote <- err
	}()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(conn, int64(len(data))))
	if want := sha256.Sum256(data); err != nil || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d bytes came back, %v; the sums differ", n, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// stdioAndAgent joins the twin in which something echoes at port 7001.
func stdioAndAgent(t *testing.T, w *world) {
	t.Helper()
	p := w.start(t, "hello", "-W", "localhost:7001")
	_, _ = io.WriteString(p.stdin, "there and back")
	_ = p.stdin.Close()
	if r := p.wait(); r.code != 0 || r.stdout != "there and back" {
		t.Errorf("-W: %+v", r)
	}
	w.cloudssh(t, "hello", "-W", "localhost:81").demand(t, 255, "refused: connecting to localhost:81 in the twin: connection refused")
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/agent")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.env = append(w.env, "SSH_AUTH_SOCK="+dir+"/agent")
	w.cloudssh(t, "hello", "-A", "--exec", `test -S "$SSH_AUTH_SOCK"`).demand(t, 0)
	w.cloudssh(t, "hello", "--exec", `test -z "$SSH_AUTH_SOCK"`).demand(t, 0)
}

// forwardsOnly: -N says what it does, and Ctrl-C leaves nothing behind.
func forwardsOnly(t *testing.T, w *world) {
	t.Helper()
	port := cli.FreePort(t)
	p := w.start(t, "hello", "-N", "-L", "0:localhost:8080", "-L", port+":localhost:8080", "-R", "0:localhost:1")
	p.until("Ctrl-C ends it.")
	local := find(t, `forwarding (localhost:\d+) to localhost:8080 in hello-ssh; localhost:`+port+
		` to localhost:8080 in hello-ssh; localhost:[1-9]\d* in hello-ssh to localhost:1 here. Ctrl-C`, p.stderr.String())
	if n := strings.Count(p.stderr.String(), "forwarding"); n != 1 {
		t.Errorf("%d lines of what is forwarded:\n%s", n, p.stderr.String())
	}
	for range 2 { // which is told once
		conn, err := net.Dial("tcp", local)
		if errors.Is(err, syscall.ECONNRESET) {
			continue // the refusal was there before connect returned
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("an app that does not run answers")
		}
		_ = conn.Close()
	}
	p.until("refused: ") // the connection breaks before
	p.signal(syscall.SIGINT)
	r := p.wait()
	r.demand(t, 130, "refused: connecting to localhost:8080 in the twin")
	if n := strings.Count(r.stderr, "refused:"); n != 1 || r.stdout != "" {
		t.Errorf("stdout %q, stderr:\n%s", r.stdout, r.stderr)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil { // who knows who has the other one by now
		_ = conn.Close()
		t.Error("the port stays open")
	}
	w.demandOnly(t, "hello")
}

// refusesForwards: what cannot work is told before a twin is made, or ends it.
func refusesForwards(t *testing.T, w *world) {
	t.Helper()
	address := listen(t, func(net.Conn) {})
	_, port, _ := strings.Cut(address, ":")
	holder := regexp.QuoteMeta(fmt.Sprintf("-L %s:localhost:80: 127.0.0.1:%s is in use by ", port, port)) + `\S+ ` + regexp.QuoteMeta(fmt.Sprintf("(pid %d)", os.Getpid()))
	r := w.cloudssh(t, "hello", "-L", port+":localhost:80")
	if r.demand(t, 255); !regexp.MustCompile(holder).MatchString(r.stderr) || strings.Contains(r.stderr, "hello-ssh") {
		t.Errorf("stderr:\n%s", r.stderr)
	}
	w.cloudssh(t, "hello", "-L", "8080:localhost").demand(t, 2, "-L \"8080:localhost\"", "hint: cloudssh --help")
	w.demandOnly(t, "hello")
	w.cloudssh(t, "hello", "-R", "8080:localhost:80", "--exec", "echo no").
		demand(t, 255, "-R 8080:localhost:80: listening on localhost:8080 in the instance: address already in use")
	w.demandOnly(t, "hello")
}

// TestForwardsDuringOutage: connections go on after an outage, and whoever
// leaves during one does not wait for what they carry.
func TestForwardsDuringOutage(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	network := s.lay("hello", w.Addr)
	p := w.start(t, "hello", "-L", "0:localhost:7001", "--exec", echoes+"echo up >&2; cat; kill $!")
	p.until("up\n")
	local := find(t, `forwarding (localhost:\d+) to localhost:7001 in hello-ssh`, p.stderr.String())
	data := make([]byte, 10_000_000) // more than waits anywhere on the way
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", local)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	before := dial()
	_, _ = io.WriteString(before, "x")
	if _, err := io.ReadFull(before, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	network.stop()
	network.cut()
	var all sync.WaitGroup
	during := dial()
	for _, conn := range []net.Conn{before, during} {
		all.Go(func() { comesBack(t, conn, data) })
	}
	p.until("the connection is lost; trying again")
	network.start()
	all.Wait()
	p.until("connected again after")

	again := dial()
	network.stop()
	network.cut()
	go func() { _, _ = again.Write(data) }() // until it is reset
	p.signal(syscall.SIGINT)
	p.wait().demand(t, 130)
	w.demandOnly(t, "hello")
	network.start()
}
