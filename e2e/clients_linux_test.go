package e2e

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The hosts of the two services: the sample has BusyBox and nothing else, tools
// what a distribution has.
const (
	hello = "cloudssh-hello"
	tools = "cloudssh-tools"
)

// appPort is where cloudssh-app listens in both: the agent has the 8080.
const appPort = "8081"

// TestClients drives the SSH clients that people have, with nothing but what
// `cloudssh config write` did.
func TestClients(t *testing.T) {
	p := newPlatform(t)
	p.cloudssh(t, "config", "write").expect(t, 0)
	t.Run("twins come and go with ssh", p.testTwinsComeAndGo)

	// From here on the twins stay, because these sessions do.
	leave := []func(){p.hold(t, hello), p.hold(t, tools)}
	t.Run("ssh", func(t *testing.T) {
		t.Run("command", p.testCommand)
		t.Run("stdin", p.testStdin)
		t.Run("environment", p.testEnvironment)
		t.Run("pty", p.testPty)
		t.Run("aliases", p.testAliases)
		t.Run("multiplexing", p.testMultiplexing)
		t.Run("command line", p.testCommandLine)
		t.Run("agent forwarding", p.testAgentForwarding)
	})
	t.Run("forwarding", func(t *testing.T) {
		t.Run("background", p.testBackgroundForward)
		t.Run("stdio", p.testStdioForward)
		t.Run("100 MB", p.testBigForwards)
		t.Run("sockets", p.testSocketForwards)
	})
	t.Run("files", func(t *testing.T) {
		t.Run("scp", p.testScp)
		t.Run("sftp", p.testSftp)
		t.Run("rsync", p.testRsync)
		t.Run("sshfs", p.testSshfs)
		t.Run("git", p.testGit)
		t.Run("lftp", p.testLftp)
	})
	t.Run("dbclient", p.testDropbear)
	t.Run("putty", p.testPutty)
	t.Run("paramiko", p.testParamiko)
	t.Run("asyncssh", p.testAsyncssh)
	t.Run("ansible", p.testAnsible)

	for _, f := range leave {
		f()
	}
	p.expectTwinsGone(t)
	t.Run("config remove", p.testConfigRemove)
}

// hold starts the app of a service in its twin, through an ssh that goes on
// until the function that it returns is called.
func (p *platform) hold(t *testing.T, host string) (leave func()) {
	t.Helper()
	cmd := p.command(context.Background(), "ssh", "-tt", host, "stty -onlcr; echo ready; exec cloudssh-app")
	var said watched
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	leave = func() {
		if cmd.ProcessState != nil {
			return
		}
		_, _ = in.Write([]byte{3}) // Ctrl-C: the app ends, and ssh with it
		_ = in.Close()
		end := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer end.Stop()
		if err := cmd.Wait(); err != nil {
			t.Logf("the app of %s: %v\n%s", host, err, said.String())
		}
	}
	t.Cleanup(leave)
	said.await(t, "ready")
	p.awaitApp(t, host)
	return leave
}

// awaitApp returns when the app in a twin answers.
func (p *platform) awaitApp(t *testing.T, host string) {
	t.Helper()
	script := "i=0; until wget -qO /dev/null http://127.0.0.1:" + appPort + "/; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done"
	if host == tools {
		script = "exec python3 -c '" + strings.ReplaceAll(`
import socket, time
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", PORT)); break
    except ConnectionRefusedError:
        time.sleep(0.1)
else:
    raise SystemExit("nobody listens")
`, "PORT", appPort) + "'"
	}
	p.run(t, "ssh", host, script).expect(t, 0)
}

// testTwinsComeAndGo is the first contact: no key, no twin, no known host.
func (p *platform) testTwinsComeAndGo(t *testing.T) {
	p.run(t, "sh", "-c", "ssh "+hello+" true; echo $?").expectOut(t, "0\n")
	p.expectTwinsGone(t)
	// Two at once share a twin, and the second to leave takes it down.
	first := p.command(t.Context(), "ssh", hello, "echo here; cat")
	in, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "here\n" {
		t.Errorf("the first session says %q, %v", line, err)
	}
	p.run(t, "ssh", hello, "echo also here").expectOut(t, "also here\n")
	if twins := p.twins(t); len(twins) != 1 {
		t.Errorf("twins %q, want one", twins)
	}
	if err := errors.Join(in.Close(), first.Wait()); err != nil {
		t.Errorf("the first session: %v", err)
	}
	p.expectTwinsGone(t)
	r := p.run(t, "ssh", "cloudssh-nobody", "true")
	if r.code != 255 || !strings.Contains(r.stderr, "nobody") {
		t.Errorf("ssh to a service that is not there: status %d, stderr: %s", r.code, r.stderr)
	}
}

// expectTwinsGone ends the test if the twins do not go: ssh does not wait for
// its ProxyCommand.
func (p *platform) expectTwinsGone(t *testing.T) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for twins := p.twins(t); len(twins) > 0; twins = p.twins(t) {
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("twins are left: %q", twins)
		}
	}
}

// testConfigRemove is the end: nothing of ours is left in the user's home but
// our own folders.
func (p *platform) testConfigRemove(t *testing.T) {
	if names := list(t, filepath.Join(p.home, ".ssh")); !slices.Equal(names, []string{"config"}) {
		t.Errorf("~/.ssh holds %q, want our config alone", names)
	}
	p.cloudssh(t, "config", "remove").expect(t, 0)
	if names := list(t, filepath.Join(p.home, ".ssh")); len(names) > 0 {
		t.Errorf("after `cloudssh config remove` ~/.ssh holds %q", names)
	}
	config, err := os.Stat(filepath.Join(p.home, ".config", "cloudssh", "known_hosts"))
	if err != nil || config.Mode().Perm()&0o077 != 0 && config.Mode().Perm() != 0o644 {
		t.Errorf("our known hosts: %v, %v", config, err)
	}
}

// list is the names in a folder, none if there is no such folder.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// background runs a command of the user's until the end of the test, or until
// the function that it returns is called.
func (p *platform) background(t *testing.T, name string, args ...string) (said *watched, end func()) {
	t.Helper()
	cmd := p.command(context.Background(), name, args...)
	said = &watched{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		if cmd.ProcessState != nil {
			return
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Cleanup(end)
	return said, end
}
