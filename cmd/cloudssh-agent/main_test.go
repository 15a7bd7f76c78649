//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
	"github.com/cloudssh/cloudssh/internal/transport"
)

const testVersion = "v0.0.1-test"

// patience is how long a test waits for what has to come. It bounds nothing but
// a failure: this machine may have other things to do.
const patience = 2 * time.Minute

// build makes the agent as releases do.
func build(t *testing.T) string {
	t.Helper()
	return buildProgram(t, "../"+agentName)
}

func buildProgram(t *testing.T, folder string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), filepath.Base(folder))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+testVersion, "-o", bin, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", folder, err, out)
	}
	return bin
}

func TestSize(t *testing.T) {
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent has %d bytes", info.Size())
	if info.Size() > 9_000_000 {
		t.Errorf("the agent has %d bytes; it is uploaded into every twin's image", info.Size())
	}
}

func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		for _, bad := range []string{"google.golang.org/grpc", "spf13/cobra", "bubbletea", "bubbles", "lipgloss", "google.golang.org/api", "cloud.google.com/"} {
			if strings.Contains(pkg, bad) {
				t.Errorf("the agent links %s", strings.TrimSpace(pkg))
			}
		}
	}
}

// A running is an agent in a process of its own.
type running struct {
	cmd    *exec.Cmd
	url    string
	signer ssh.Signer
	exited chan error
}

// launch starts the agent, below a wrapper program if one is given.
func launch(t *testing.T, bin string, settings agent.Settings, wrapper ...string) *running {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{exited: make(chan error, 1)}
	if r.signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	settings.Version = 1
	settings.AuthorizedKeys = []string{string(ssh.MarshalAuthorizedKey(r.signer.PublicKey()))}
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, bin)
	// It outlives the test's context, to which clients that say goodbye belong.
	r.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...)
	r.cmd.Env = []string{"PATH=/usr/bin:/bin:/sbin:/usr/sbin", "PORT=0", agent.SettingsVariable + "=" + string(text)}
	r.cmd.Stderr = os.Stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Skipf("cannot run %v: %v", args, err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		t.Skipf("%v did not start: %v", args, r.cmd.Wait())
	}
	var started struct{ Address, Severity, Message string }
	if err := json.Unmarshal(line, &started); err != nil || started.Severity != "INFO" || started.Message != "agent started" {
		t.Fatalf("first line of the log: %s", line)
	}
	_, port, err := net.SplitHostPort(started.Address)
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://localhost:" + port
	go func() {
		io.Copy(io.Discard, lines)
		r.exited <- r.cmd.Wait()
	}()
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

func (r *running) dial(t *testing.T) *ssh.Client {
	t.Helper()
	conn, err := transport.Dial(t.Context(), transport.Endpoint{URL: r.url, Version: testVersion})
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(conn.Peer().HostKey))
	if err != nil {
		t.Fatal(err)
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, "twin", &ssh.ClientConfig{
		Auth: []ssh.AuthMethod{ssh.PublicKeys(r.signer)}, HostKeyCallback: ssh.FixedHostKey(host),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { client.Close() })
	return client
}

func (r *running) run(t *testing.T, client *ssh.Client, command string) string {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAgent(t *testing.T) {
	bin := build(t)
	r := launch(t, bin, agent.Settings{Grace: 600, IdleTimeout: 600})
	client := r.dial(t)
	if got := r.run(t, client, "echo $((6*7)) ${"+agent.SettingsVariable+"-unset}"); got != "42 unset" {
		t.Errorf("output %q", got)
	}
	resp, err := http.Get(r.url + "/")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /: %v, %v", resp, err)
	}
	resp.Body.Close()

	rss := idleRSS(t, r.cmd.Process.Pid)
	t.Logf("idle memory: %d KiB", rss)
	if rss > 15<<10 {
		t.Errorf("the idle agent takes %d KiB", rss)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.exited:
		if err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("an idle agent does not stop")
	}
	if err := client.Wait(); err == nil {
		t.Error("the connection outlived the agent")
	}
}

// What a command says when the instance stops, and how it ends, arrives in full.
func TestLastWords(t *testing.T) {
	r := launch(t, build(t), agent.Settings{})
	s, err := r.dial(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'trap \"\" TERM HUP; head -c 3000000 /dev/zero; echo bye; exit 7' TERM HUP; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if len(rest) != 3000004 || !bytes.HasSuffix(rest, []byte("bye\n")) {
		t.Errorf("heard %d bytes, %v", len(rest), err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("the command ended with %v", err)
	}
	if err := <-r.exited; err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}

func idleRSS(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

// As PID 1 the agent reaps orphans, and its own children keep their statuses.
func TestReaping(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a PID namespace needs root")
	}
	bin := build(t)
	r := launch(t, bin, agent.Settings{}, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
	client := r.dial(t)
	if got := r.run(t, client, "cat /proc/1/comm"); got != "cloudssh-agent" {
		t.Fatalf("PID 1 is %s", got)
	}
	// Orphans by the dozen, while commands with a status of their own come and go.
	for i := range 30 {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run("for i in 1 2 3 4 5; do (sh -c 'exit 99' &); (sleep 0.0$i >/dev/null 2>&1 </dev/null &); done; exit " + strconv.Itoa(i))
		status := 0
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitStatus()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != i {
			t.Errorf("status %d, want %d", status, i)
		}
	}
	zombies := `for i in $(seq 1000); do
		n=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
		[ $n = 0 ] && break
		sleep 0.1
	done; echo $n`
	if got := r.run(t, client, zombies); got != "0" {
		t.Errorf("%s zombies are left", got)
	}
}

func TestApp(t *testing.T) {
	bin := build(t)
	app := filepath.Join(filepath.Dir(bin), agent.AppCommand)
	if err := os.Symlink(bin, app); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := launch(t, bin, agent.Settings{App: agent.App{
		Entrypoint: []string{"/bin/sh", "-c", `echo "$PWD $1 $PORT ${MINE-}"`, "sh"}, Args: []string{"two words"}, Dir: dir,
	}})
	client := r.dial(t)
	if got, want := r.run(t, client, "cd /; MINE=x PORT=1 "+app), dir+" two words 1 x"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(r.url, "http://"), ":")
	got := r.run(t, client, "PORT="+port+" "+app+" other")
	if !strings.Contains(got, "port "+port+" is in use") || !strings.Contains(got, dir+" other ") || strings.Contains(got, " "+port+" \n") {
		t.Errorf("output %q", got)
	}
}

func TestEnv(t *testing.T) {
	bin := build(t)
	env := filepath.Join(filepath.Dir(bin), agent.EnvCommand)
	if err := os.Symlink(bin, env); err != nil {
		t.Fatal(err)
	}
	r := launch(t, bin, agent.Settings{})
	client := r.dial(t)
	if got, want := r.run(t, client, "export MINE=x; "+env), "PATH=/usr/bin:/bin:/sbin:/usr/sbin\nPORT=0"; got != want {
		t.Errorf("the app's environment is %q, want %q", got, want)
	}
	own := 0
	for line := range strings.Lines(r.run(t, client, "export MINE=x; "+env+" --diff")) {
		name, _, _ := strings.Cut(line[2:], "=")
		switch name {
		case "MINE":
			own++
		case "HOME", "PATH":
			own += 10
		case "PWD", "OLDPWD", "SHLVL", "_": // as the shell likes
		default:
			t.Errorf("a difference that nobody knows of: %s", line)
		}
	}
	if own != 21 {
		t.Errorf("not all differences are told, or twice: %d", own)
	}
	if got := r.run(t, client, env+" --all 2>&1; echo $?"); !strings.HasPrefix(got, "cloudssh-env: usage: ") || !strings.HasSuffix(got, "\n2") {
		t.Errorf("an unknown option: %q", got)
	}
	cmd := exec.CommandContext(t.Context(), env) // outside of sessions; whether all processes may be read depends on the machine
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("agent")) {
		t.Errorf("outside: %q, %v", out, err)
	}
}

func TestBadStart(t *testing.T) {
	bin := build(t)
	for want, env := range map[string][]string{
		"CLOUDSSH_AGENT is not set": {"PORT=0"},
		"parsing CLOUDSSH_AGENT":    {agent.SettingsVariable + "=x"},
		"no authorized keys":        {agent.SettingsVariable + `={"version":1}`},
	} {
		cmd := exec.CommandContext(t.Context(), bin)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(want)) || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("with %q: %v, %s", env, err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), bin, "--version")
	if out, err := cmd.Output(); err != nil || string(out) != "cloudssh-agent "+testVersion+"\n" {
		t.Errorf("--version: %q, %v", out, err)
	}
	cmd = exec.CommandContext(t.Context(), bin, "--frob")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("--frob")) {
		t.Errorf("--frob: %q, %v", out, err)
	}
}
