package session_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/cloudssh/cloudssh/internal/session"
)

// TestForwarding runs against our agent and against OpenSSH's sshd.
func TestForwarding(t *testing.T) {
	for name, connect := range map[string]func(*testing.T) *session.Client{
		"agent": func(t *testing.T) *session.Client {
			t.Helper()
			c, _ := serve(t, nil).connect(owner)
			return c
		},
		"sshd": sshd,
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t)
			t.Run("there", func(t *testing.T) { forwardsThere(t, c) })
			t.Run("here", func(t *testing.T) { forwardsHere(t, c) })
			t.Run("refusals", func(t *testing.T) { refusals(t, c) })
			t.Run("subsystem", func(t *testing.T) { subsystem(t, c) })
			t.Run("SSH agent", func(t *testing.T) { sshAgent(t, c) })
			t.Run("end", func(t *testing.T) { forwardsEnd(t, c) })
		})
	}
}

// sshd runs OpenSSH's server for one connection.
func sshd(t *testing.T) *session.Client {
	t.Helper()
	dir := t.TempDir()
	host, mine := filepath.Join(dir, "host"), newSigner(t)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string]string{
		"keys": string(ssh.MarshalAuthorizedKey(mine.PublicKey())),
		"config": strings.Join([]string{
			"HostKey " + host, "AuthorizedKeysFile " + filepath.Join(dir, "keys"), "StrictModes no", "UsePAM no",
			"PermitRootLogin yes", "Subsystem sftp internal-sftp", "StreamLocalBindUnlink no", "",
		}, "\n"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // it insists
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	socket, err := far.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", filepath.Join(dir, "config"))
	var log bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = far.Close(), socket.Close()
	t.Cleanup(func() {
		_ = near.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", &log)
		}
	})
	public, err := os.ReadFile(host + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.New(t.Context(), near, session.Config{Signer: mine, HostKey: key, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// counts is a server that answers the sum of what it was sent, up to its end.
func counts(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answerSums(l)
	return l
}

func answerSums(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			sum := sha256.New()
			if _, err := io.Copy(sum, conn); err == nil {
				fmt.Fprintf(conn, "%x", sum.Sum(nil))
			}
		}()
	}
}

// checkSums sends on many connections at once.
func checkSums(t *testing.T, dial func() (net.Conn, error)) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			conn, err := dial()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			data := make([]byte, 100_000*(i%5))
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			if _, err := conn.Write(data); err != nil {
				t.Error(err)
			}
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			got, err := io.ReadAll(conn)
			if want := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || string(got) != want {
				t.Errorf("connection %d: %q, %v; want %s", i, got, err, want)
			}
		})
	}
	all.Wait()
}

func forwardsThere(t *testing.T, c *session.Client) {
	t.Helper()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "sock")} {
		l := counts(t, network, address)
		checkSums(t, func() (net.Conn, error) { return c.Dial(t.Context(), network, l.Addr().String()) })
	}
}

func forwardsHere(t *testing.T, c *session.Client) {
	t.Helper()
	var all []net.Listener
	for network, address := range map[string]string{"tcp": "localhost:0", "unix": filepath.Join(t.TempDir(), "sock")} {
		for i := range 2 { // at once
			at := address
			if network == "unix" {
				at += fmt.Sprint(i)
			}
			l, err := c.Listen(t.Context(), network, at)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(l.Addr().String(), ":0") || l.Addr().Network() != network {
				t.Errorf("listening on %v", l.Addr())
			}
			go serveNamed(l)
			all = append(all, l)
		}
	}
	for _, l := range all {
		conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != l.Addr().String() {
			t.Errorf("%v answered %q, %v", l.Addr(), got, err)
		}
		_ = conn.Close()
	}
	for _, l := range all {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted from what is closed: %v", err)
		}
		if conn, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%v still serves", l.Addr())
			}
			_ = conn.Close()
		}
	}
	sums, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go answerSums(sums)
	checkSums(t, func() (net.Conn, error) { return net.Dial("tcp", sums.Addr().String()) })
	_ = sums.Close()
}

// serveNamed answers each connection with the listener's address.
func serveNamed(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, l.Addr().String())
		_ = conn.Close()
	}
}

func refusals(t *testing.T, c *session.Client) {
	t.Helper()
	var refused *session.RefusedError
	for network, address := range map[string]string{"tcp": "127.0.0.1:1", "unix": filepath.Join(t.TempDir(), "none")} {
		if _, err := c.Dial(t.Context(), network, address); !errors.As(err, &refused) || refused.Reason == "" {
			t.Errorf("%s: %v", address, err)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := c.Listen(t.Context(), "tcp", taken.Addr().String()); !errors.As(err, &refused) {
		t.Errorf("a port in use: %v", err)
	}
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Listen(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("listening twice")
	}
	_ = l.Close()
	for _, bad := range []struct{ network, address string }{{"udp", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:x"}} {
		if _, err := c.Listen(t.Context(), bad.network, bad.address); err == nil {
			t.Errorf("listening on %v", bad)
		}
	}
}

func subsystem(t *testing.T, c *session.Client) {
	t.Helper()
	stream, err := c.Subsystem(t.Context(), "sftp")
	if err != nil {
		t.Fatal(err)
	}
	files, err := sftp.NewClientPipe(stream, stream)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	f, err := files.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("text"))
	_ = f.Close()
	if got, err := os.ReadFile(path); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	_ = files.Close()
	if _, err := c.Subsystem(t.Context(), "none"); err == nil {
		t.Error("a subsystem that does not exist was started")
	}
}

func sshAgent(t *testing.T, c *session.Client) {
	t.Helper()
	ring := agent.NewKeyring()
	key, err := ssh.ParseRawPrivateKey(privateKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "mine"}); err != nil {
		t.Fatal(err)
	}
	dial := func() (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = agent.ServeAgent(ring, far) }()
		return near, nil
	}
	var with, without lockedBuffer
	if err := c.Run(t.Context(), session.Command{Shell: "ssh-add -l", Stdout: &with, Stderr: &with, ForwardAgent: dial}); err != nil || !strings.Contains(with.String(), "mine (ED25519)") {
		t.Errorf("%q, %v", with.String(), err)
	}
	if err := c.Run(t.Context(), session.Command{Shell: "ssh-add -l", Stdout: &without, Stderr: &without}); err == nil {
		t.Errorf("without forwarding: %q", without.String())
	}
}

func privateKey(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// forwardsEnd: what a connection carries does not look complete when it ends.
func forwardsEnd(t *testing.T, c *session.Client) {
	t.Helper()
	there, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	conn, err := c.Dial(t.Context(), "tcp", there.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := there.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(far, "half")
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	_ = c.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the end of the connection reads as %v", err)
	}
	if err := <-accepted; err == nil {
		t.Errorf("accepting ended with %v", err)
	}
	if c.Err() == nil {
		t.Error("no reason")
	}
	_ = far.Close()
	nothingRuns(t, "session.Join(", "session.newForwarded", "session.(*listener)", "session.(*Client).serveAgent")
}

// nothingRuns waits until no goroutine is in these functions.
func nothingRuns(t *testing.T, functions ...string) {
	t.Helper()
	limit := time.Now().Add(patience)
	buf := make([]byte, 1<<20)
	for {
		stacks := string(buf[:runtime.Stack(buf, true)])
		running := slices.IndexFunc(functions, func(f string) bool { return strings.Contains(stacks, f) })
		switch {
		case running < 0:
			return
		case time.Now().After(limit):
			t.Fatalf("%s still runs:\n%s", functions[running], stacks)
		}
		runtime.Gosched()
	}
}
