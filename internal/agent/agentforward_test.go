//go:build linux

package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	keyring "golang.org/x/crypto/ssh/agent"
)

// keyAgent is an SSH agent of the client's, on a socket, with one key.
func keyAgent(t *testing.T) (socket, comment string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := keyring.NewKeyring()
	if err := keys.Add(keyring.AddedKey{PrivateKey: key, Comment: "the one key"}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "keys") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := listen(t, "unix", filepath.Join(dir, "s"), func(conn net.Conn) { keyring.ServeAgent(keys, conn) })
	return l.Addr().String(), "the one key"
}

func TestOpenSSHAgent(t *testing.T) {
	f := start(t, nil)
	socket, comment := keyAgent(t)
	cmd := f.openssh(t, "ssh", "-A", "127.0.0.1", "stat -c %a:%U $(dirname $SSH_AUTH_SOCK) $SSH_AUTH_SOCK; ssh-add -l; ssh-add -T /dev/null; echo $SSH_AUTH_SOCK")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 4 || lines[0] != "700:root" || lines[1] != "600:root" || !strings.Contains(lines[2], comment) {
		t.Fatalf("output %q, %v\n%s", out, err, f.logs)
	}
	f.logs.wait(t, "connection closed")
	if _, err := os.Stat(filepath.Dir(lines[3])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
	cmd = f.openssh(t, "ssh", "-a", "127.0.0.1", "echo ${SSH_AUTH_SOCK-none}")
	if out, err := cmd.Output(); err != nil || string(out) != "none\n" {
		t.Errorf("without forwarding: %q, %v", out, err)
	}
}

// All sessions that ask share one socket; the client may refuse what comes.
func TestAgentSocket(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	var sockets []string
	for range 2 {
		s := newTestSession(t, client)
		if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
		sockets = append(sockets, strings.TrimSpace(output(t, s, "echo $SSH_AUTH_SOCK")))
	}
	if sockets[0] == "" || sockets[0] != sockets[1] {
		t.Fatalf("sockets %q", sockets)
	}
	conn, err := net.Dial("unix", sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil { // the client takes no such channels
		t.Errorf("%d, %v", n, err)
	}
}

// Where nothing can be written there is no socket, and the reason is logged.
func TestNoPlaceForAnAgentSocket(t *testing.T) {
	if _, _, err := listenAgent([]string{"/proc", filepath.Join(t.TempDir(), "none")}); err == nil ||
		!strings.Contains(err.Error(), "making a directory for the socket") {
		t.Errorf("error %v", err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := listenAgent([]string{long}); err == nil || !strings.Contains(err.Error(), "the path of a socket may have") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("what stays: %v, %v", left, err)
	}
	dir, l, err := listenAgent([]string{"/proc", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// A guest has one thing to do here, and none of this.
func TestGuestsForwardNothing(t *testing.T) {
	c := &connection{caller: caller{guest: true}}
	if socket, ok := c.forwardAgent(); ok || socket != "" {
		t.Errorf("an agent socket: %q", socket)
	}
	a := startKnown(t, Settings{})
	client := a.guest(t)
	for kind, payload := range map[string]any{
		"tcpip-forward": tcpForward{"localhost", 0}, "cancel-tcpip-forward": tcpForward{"localhost", 80},
		"streamlocal-forward@openssh.com":        struct{ Path string }{filepath.Join(t.TempDir(), "s")},
		"cancel-streamlocal-forward@openssh.com": struct{ Path string }{"/s"},
	} {
		if ok, answer := ask(t, client, kind, payload); ok || len(answer) > 0 {
			t.Errorf("%s: %v, %q", kind, ok, answer)
		}
	}
	for kind, payload := range map[string]any{
		"direct-tcpip": struct {
			Host     string
			Port     uint32
			From     string
			FromPort uint32
		}{"127.0.0.1", 1, "127.0.0.1", 1},
		"direct-streamlocal@openssh.com": struct {
			Path, Reserved string
			Unused         uint32
		}{"/s", "", 0},
	} {
		var refused *ssh.OpenChannelError
		if _, _, err := client.OpenChannel(kind, ssh.Marshal(payload)); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
