//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
)

// An image with nothing in it but one binary, and a user without a name: no
// shell, no /etc/passwd, no /tmp, no /dev, no /proc, nothing to write to.
func TestBareImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	root := publicDir(t)
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
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Errorf("instead of a terminal: %v", err) // lines, see TestLinesWithoutTerminal
	}
	if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil); ok || err != nil {
		t.Errorf("a socket where nothing can be written: %v, %v", ok, err)
	}
	// There is no /etc/hosts that knows localhost.
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		conn, err := client.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
	}
	for port, want := range map[uint32]bool{0: true, 79: privileged(t) <= 79} {
		ok, _, err := client.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
			Address string
			Port    uint32
		}{"localhost", port}))
		if ok != want || err != nil {
			t.Errorf("listening on port %d: %v, %v", port, ok, err)
		}
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

// privileged is the number of ports that are root's.
func privileged(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The same with the shell that we bring: an image, and an instance, in which
// nothing else is, and nothing can be written.
func TestBareImageWithOurShell(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	root := publicDir(t)
	for name, path := range map[string]string{agentName: build(t), shellName: buildProgram(t, "../"+shellName)} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "config.txt"), []byte("a=1\nb=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := launch(t, "/"+agentName, agent.Settings{Service: "bare", App: agent.App{Dir: "/app"}}, "chroot", "--userspec=65532:65532", root)
	client := r.dial(t)
	for command, want := range map[string]string{
		"ls /":                                   "cloudssh-agent\ncloudssh-shell\nconfig.txt",
		"cat /config.txt | grep b= | wc -l":      "1",
		"for i in 1 2; do echo $i; done":         "1\n2",
		"cat <<END\nhere $((6*7))\nEND":          "here 42",
		"echo $SHELL $HOME $PWD; ls -d /con*":    "/cloudssh-shell / /\n/config.txt",
		"(echo x > /new) 2>/dev/null || echo no": "no",
	} {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var notes strings.Builder
		s.Stderr = &notes
		got, err := s.Output(command)
		if err != nil || strings.TrimSpace(string(got)) != want ||
			notes.String() != "cloudssh: the app's directory /app cannot be used (no such file or directory); starting in /\n" {
			t.Errorf("%s: %q, want %q; %q, %v", command, got, want, notes.String(), err)
		}
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.CombinedOutput("no-such-tool; exit 41")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 41 || !strings.Contains(string(out), "not found") {
		t.Errorf("status: %v, %q", err, out)
	}
	s, keyboard, screen := sitDown(t, client)
	screen.await(t, "no terminal to give")
	screen.await(t, "$ ") // its prompt
	fmt.Fprint(keyboard, "ls con*; exit $((40+2))\r")
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 42 || !strings.Contains(screen.String(), "\nconfig.txt\r\n") {
		t.Errorf("a shell without a terminal: %v\n%q", err, screen.String())
	}
}

// Without /dev/ptmx a shell is still of use to who sits at a terminal.
func TestLinesWithoutTerminal(t *testing.T) {
	busybox, err := os.ReadFile("/bin/busybox")
	if os.Getuid() != 0 || err != nil {
		t.Skipf("needs root and busybox-static: %v", err)
	}
	root := publicDir(t)
	text, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"agent": text, "bin/sh": busybox} {
		if err := os.WriteFile(filepath.Join(root, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := launch(t, "/agent", agent.Settings{Service: "bare"}, "chroot", "--userspec=65532:65532", root)
	s, keyboard, screen := sitDown(t, r.dial(t))
	screen.await(t, "no terminal to give (no /dev/ptmx): what you type goes line by line\r\n")
	screen.await(t, "/ $ ") // it knows that somebody looks
	fmt.Fprint(keyboard, "echo $TERM-$((6*9))\b\b\b7))\r")
	screen.await(t, "\r\ndumb-42\r\n/ $ ")
	// A shell whose input is a pipe takes what is there for its own: read gets what comes later.
	fmt.Fprint(keyboard, "echo as''ks; read x; echo got $x\r")
	screen.await(t, "\r\nasks\r\n")
	fmt.Fprint(keyboard, "away\x15this\r")
	screen.await(t, "\r\ngot this\r\n/ $ ")
	fmt.Fprint(keyboard, "echo never; \x03")
	screen.await(t, "^C\r\n")
	fmt.Fprint(keyboard, "\x04")
	if err := s.Wait(); err != nil && !strings.Contains(err.Error(), "130") { // as a shell has it
		t.Errorf("the shell ended with %v:\n%s", err, screen.String())
	}
	if strings.Contains(screen.String(), "\nnever") {
		t.Errorf("a line that was taken back ran:\n%q", screen.String())
	}
}

// sitDown starts a shell at a terminal.
func sitDown(t *testing.T, client *ssh.Client) (*ssh.Session, io.Writer, *screenText) {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	keyboard, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	screen := &screenText{}
	s.Stdout, s.Stderr = screen, screen
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	return s, keyboard, screen
}

// A screenText is what a person sees, and can be waited for.
type screenText struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed and replaced at each write
}

func (s *screenText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = nil
	return s.text.Write(p)
}

func (s *screenText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screenText) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		found := strings.Contains(s.text.String(), want)
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %q on the screen:\n%q", want, s.String())
		}
	}
}
