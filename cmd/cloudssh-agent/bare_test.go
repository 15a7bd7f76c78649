//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
)

// An image with nothing in it but one binary, and a user without a name: no
// shell, no /etc/passwd, no /tmp, no /dev, no /proc, nothing to write to.
func TestBareImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	root := t.TempDir()
	for dir := root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // another user enters it
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "agent"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	r := launch(t, "/agent", agent.Settings{Service: "bare", App: agent.App{Dir: "/app"}}, "chroot", "--userspec=65532:65532", root)
	client := r.dial(t)

	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.CombinedOutput("true")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 127 || !strings.Contains(string(out), "cloudssh bare -- /path/to/binary") {
		t.Errorf("exec: %v, %q", err, out)
	}
	if s, err = client.NewSession(); err != nil {
		t.Fatal(err)
	}
	if s.RequestPty("xterm", 24, 80, nil) == nil {
		t.Error("a terminal without /dev/ptmx")
	}
	ch, reqs, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := append(ssh.Marshal(struct{ Count uint32 }{2}), ssh.Marshal(struct{ A, B string }{"/agent", "--version"})...)
	if ok, err := ch.SendRequest("exec-argv@cloudssh", true, payload); !ok || err != nil {
		t.Fatalf("exec-argv@cloudssh: %v, %v", ok, err)
	}
	buf := make([]byte, 100)
	n, err := ch.Read(buf)
	if got := string(buf[:n]); err != nil || got != "cloudssh-agent "+testVersion+"\n" {
		t.Errorf("output %q, %v", got, err)
	}
	for req := range reqs {
		if req.Type == "exit-status" && req.Payload[3] != 0 {
			t.Errorf("status %v", req.Payload)
		}
	}
}
