//go:build linux

package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// patience is how long a test waits for what has to come. It bounds nothing but
// a failure: this machine may have other things to do.
const patience = 2 * time.Minute

func newSigner(t testing.TB) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, key
}

func marshalKey(s ssh.Signer) []byte {
	return bytes.TrimSpace(ssh.MarshalAuthorizedKey(s.PublicKey()))
}

// A fixture is an agent on a loopback port.
type fixture struct {
	addr    string
	signer  ssh.Signer // the authorized one
	key     ed25519.PrivateKey
	host    ssh.PublicKey
	stop    context.CancelFunc
	stopped chan error
	left    chan struct{} // LastLeft was called
	logs    *syncBuffer
}

// syncBuffer is a log that can be waited for.
type syncBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{} // closed and replaced at each write
}

func newSyncBuffer() *syncBuffer { return &syncBuffer{written: make(chan struct{})} }

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.written)
	b.written = make(chan struct{})
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// wait returns when the log contains want.
func (b *syncBuffer) wait(t testing.TB, want string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		found, written := strings.Contains(b.buf.String(), want), b.written
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("no %q in the log:\n%s", want, b)
		}
	}
}

func testEnviron() []string {
	return []string{
		"PATH=/usr/bin:/bin", "HOME=/root", "PORT=8080", "K_SERVICE=hello", "GREETING=hi there",
		SettingsVariable + "={}",
	}
}

// start runs an agent. change may alter its configuration.
func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{stopped: make(chan error, 1), left: make(chan struct{}, 8), logs: newSyncBuffer()}
	f.signer, f.key = newSigner(t)
	host, _ := newSigner(t)
	f.host = host.PublicKey()
	cfg := Config{
		Settings: Settings{
			Version:        1,
			AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(f.signer.PublicKey()))},
			App:            App{Dir: t.TempDir(), Port: 8080},
			Service:        "hello",
		},
		HostKey:  host,
		Version:  "v1.2.3-test",
		Environ:  testEnviron(),
		Logger:   slog.New(slog.NewTextHandler(f.logs, nil)),
		LastLeft: func() { f.left <- struct{}{} },
		hangup:   patience, // no program is killed because it had to wait for the processor
	}
	if change != nil {
		change(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	go func() { f.stopped <- Serve(ctx, l, cfg) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-f.stopped:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(2 * patience):
			t.Error("Serve did not return")
		}
	})
	return f
}

func (f *fixture) clientConfig() *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:            "anyone",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(f.signer)},
		HostKeyCallback: ssh.FixedHostKey(f.host),
		Timeout:         patience,
	}
}

func (f *fixture) dial(t testing.TB) *ssh.Client {
	t.Helper()
	client, err := ssh.Dial("tcp", f.addr, f.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	// The handshake ends here before it does at the agent: wait until the
	// connection counts there.
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Fatal(err)
	}
	return client
}

func (f *fixture) session(t testing.TB) *ssh.Session {
	t.Helper()
	return newTestSession(t, f.dial(t))
}

func newTestSession(t testing.TB, client *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// output runs a command line and wants it to succeed.
func output(t testing.TB, s *ssh.Session, command string) string {
	t.Helper()
	var stderr bytes.Buffer
	s.Stderr = &stderr
	out, err := s.Output(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, stderr.String())
	}
	return string(out)
}

// marshalArgv is the payload of exec-argv@cloudssh.
func marshalArgv(args []string) []byte {
	payload := ssh.Marshal(struct{ Count uint32 }{uint32(len(args))})
	for _, arg := range args {
		payload = append(payload, ssh.Marshal(struct{ Arg string }{arg})...)
	}
	return payload
}

// openssh is a command of the system's own client.
func (f *fixture) openssh(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("no %s here", program)
	}
	dir := t.TempDir()
	block, err := ssh.MarshalPrivateKey(f.key, "")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	known := "[" + host + "]:" + port + " " + string(ssh.MarshalAuthorizedKey(f.host))
	for name, text := range map[string][]byte{"key": pem.EncodeToMemory(block), "known": []byte(known)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := []string{
		"-F", "none", "-i", filepath.Join(dir, "key"), "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known"),
		"-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "Port=" + port,
	}
	return exec.CommandContext(t.Context(), program, append(options, args...)...)
}

// readUntil reads until the text so far contains want.
func readUntil(t testing.TB, r io.Reader, want string) string {
	t.Helper()
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), want) {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("read %q, then %v; want %q", got.String(), err, want)
		}
	}
	return got.String()
}

func exitStatusOf(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("error = %v, want an exit status", err)
	}
	return exit.ExitStatus()
}
