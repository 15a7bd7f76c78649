package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
		t.Run("our client", p.testOwnForwards)
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
		end := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
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
	script := "until wget -qO /dev/null http://127.0.0.1:" + appPort + "/; do sleep 0.1; done"
	if host == tools {
		script = "exec python3 -c '" + strings.ReplaceAll(`
import socket, time
while True:
    try:
        socket.create_connection(("127.0.0.1", PORT)); break
    except ConnectionRefusedError:
        time.sleep(0.1)
`, "PORT", appPort) + "'"
	}
	p.run(t, "ssh", host, script).expect(t, 0)
}

// testTwinsComeAndGo is the first contact: no key, no twin, no known host. A
// twin is there as long as a connection is.
func (p *platform) testTwinsComeAndGo(t *testing.T) {
	p.run(t, "sh", "-c", "ssh "+hello+" true; echo $?").expectOut(t, "0\n")
	p.expectTwinsGone(t)
	// Each may meet the twin of the one before while it is deleted.
	p.run(t, "sh", "-c", "for i in 1 2 3 4; do ssh "+hello+" echo $i || exit; done").expectOut(t, "1\n2\n3\n4\n")
	p.expectTwinsGone(t)
	var wg sync.WaitGroup
	for i := range 4 { // all find no twin, and share the one that is made
		wg.Go(func() {
			r := p.run(t, "ssh", hello, fmt.Sprintf("echo $K_SERVICE; exit %d", i))
			if r.code != i || r.stdout != "hello-ssh\n" || r.stderr != "" {
				t.Errorf("ssh beside others: status %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
			}
		})
	}
	wg.Wait()
	p.expectTwinsGone(t)

	first, in := p.waiting(t)
	killed, _ := p.waiting(t)
	if twins := p.twins(t); len(twins) != 1 {
		t.Errorf("twins %q, want one", twins)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = killed.Wait()
	if twins := p.twins(t); len(twins) != 1 {
		t.Errorf("twins %q after one of two sessions was killed, want one", twins)
	}
	if err := errors.Join(in.Close(), first.Wait()); err != nil {
		t.Errorf("the first session: %v", err)
	}
	p.expectTwinsGone(t)
	killed, _ = p.waiting(t)
	if err := killed.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = killed.Wait()
	p.expectTwinsGone(t)
	p.run(t, "ssh", "cloudssh-nobody", "true").expect(t, 255).expectSaid(t, "nobody")
}

// waiting is an ssh whose command has started and ends with its input.
func (p *platform) waiting(t *testing.T) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := p.command(t.Context(), "ssh", hello, "echo here; cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "here\n" {
		t.Errorf("the session says %q, %v", line, err)
	}
	return cmd, in
}

// expectTwinsGone ends the test if the twins do not go: ssh does not wait for
// its ProxyCommand.
func (p *platform) expectTwinsGone(t *testing.T) {
	t.Helper()
	limit := time.NewTimer(patience)
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
