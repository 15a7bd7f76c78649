//go:build linux

package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestExitStatus(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for command, want := range map[string]int{"true": 0, "exit 7": 7, "exit 255": 255, "no-such-command": 127} {
		s := newTestSession(t, client)
		if got := exitStatusOf(t, s.Run(command)); got != want {
			t.Errorf("%s: status %d, want %d", command, got, want)
		}
	}
}

func TestExitSignal(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for _, name := range []string{"TERM", "KILL", "HUP", "USR1", "BUS"} {
		s := newTestSession(t, client)
		err := s.Run("kill -" + name + " $$")
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.Signal() != name || exit.Msg() == "" {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestSignalReachesTheGroup(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The child would keep the pipe open if it did not get the signal.
	if err := s.Start("trap 'echo got; exit 9' USR1; sh -c 'trap exit USR1; echo ready; while :; do sleep 0.1; done' & wait; wait"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	if err := s.Signal(ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "got")
	if got := exitStatusOf(t, s.Wait()); got != 9 {
		t.Errorf("status %d, want 9", got)
	}
}

func TestStderrIsApart(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	if err := s.Run("echo out; echo err >&2"); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
}

func TestStdinEOFReachesTheCommand(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	s.Stdin = strings.NewReader("b\na\n")
	if got := output(t, s, "sort; echo end"); got != "a\nb\nend\n" {
		t.Errorf("output %q", got)
	}
}

// A command may close its output and go on; the client sees the end of the
// output before the exit status.
func TestOutputHalfClose(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo bye; exec >&- 2>&-; read x; exit 5"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stdout); err != nil || string(got) != "bye\n" {
		t.Fatalf("output %q, %v", got, err)
	}
	io.WriteString(stdin, "go\n")
	if got := exitStatusOf(t, s.Wait()); got != 5 {
		t.Errorf("status %d, want 5", got)
	}
}

// OpenSSH and PuTTY close a channel when both sides have sent all. The status
// must have come by then, even if the command closed its output before. Those who
// are known to wait for the status, as Go's library does, may see the end before.
func TestStatusComesBeforeTheEnd(t *testing.T) {
	f := start(t, nil)
	for version, command := range map[string]string{
		"SSH-2.0-PuTTY_Release_0.78": "exit 5",
		"SSH-2.0-OpenSSH_9.2":        "exec >&- 2>&-; sleep 0.2; exit 5",
	} {
		config := f.clientConfig()
		config.ClientVersion = version
		client, err := ssh.Dial("tcp", f.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			ch, reqs, err := client.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ S string }{command})); !ok || err != nil {
				t.Fatalf("exec: %v, %v", ok, err)
			}
			ch.CloseWrite()
			io.Copy(io.Discard, ch)
			ch.Close()
			status := -1
			for req := range reqs {
				if req.Type == "exit-status" {
					status = int(req.Payload[3])
				}
			}
			if status != 5 {
				t.Fatalf("%s, %s: status %d", version, command, status)
			}
		}
		client.Close()
	}
}

func TestOutputIsFlushedBeforeTheStatus(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	want := 0
	for range 12 {
		s := newTestSession(t, client)
		out := output(t, s, "seq 1 200000")
		if want == 0 {
			want = len(out)
		}
		if len(out) != want || !strings.HasSuffix(out, "\n200000\n") {
			t.Fatalf("%d bytes of output, want %d", len(out), want)
		}
	}
}

// The same on a terminal, where the kernel holds the output.
func TestTerminalOutputIsFlushed(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for range 12 {
		s := newTestSession(t, client)
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		if out := output(t, s, "seq 1 20000"); !strings.HasSuffix(out, "\r\n20000\r\n") {
			t.Fatalf("output ends in %q", out[max(0, len(out)-40):])
		}
	}
}

// Without a terminal a background child keeps the session open as long as it
// has the pipes, as in sshd; the client may go and the child goes with it.
func TestBackgroundChildWithPipes(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("(read x < /dev/tty; cat) & echo started; (sleep 0.2; echo late) & exit 3"); err != nil {
		t.Fatal(err)
	}
	if got := readUntil(t, stdout, "late"); !strings.Contains(got, "started") {
		t.Errorf("output %q", got)
	}
	if got := exitStatusOf(t, s.Wait()); got != 3 {
		t.Errorf("status %d, want 3", got)
	}
}

// On a terminal the end of the command is the end of the session.
func TestBackgroundChildWithTerminal(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	out := strings.TrimSpace(output(t, s, "trap '' HUP; sleep 300 & echo $!"))
	child, err := strconv.Atoi(out)
	if err != nil {
		t.Fatalf("output %q", out)
	}
	// What has outlived the session is the child: it is there to be killed.
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Errorf("after %s the background child is gone: %v", time.Since(begun), err)
	}
}

func TestHangup(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	s := newTestSession(t, client)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "mark")
	if err := s.Start("trap 'echo hup > " + mark + "; exit' HUP; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	client.Close()
	f.logs.wait(t, "session ended")
	if got, err := os.ReadFile(mark); err != nil || string(got) != "hup\n" {
		t.Errorf("after the connection went away the command wrote %q, %v\n%s", got, err, f.logs)
	}
}

func TestArgv(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	run := func(args ...string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		// x/crypto's Session copies only what Start asked for, so this is by hand.
		ch, reqs, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close()
		if ok, err := ch.SendRequest("exec-argv@cloudssh", true, marshalArgv(args)); err != nil || !ok {
			t.Fatalf("exec-argv@cloudssh: %v, %v", ok, err)
		}
		ch.CloseWrite()
		var copies sync.WaitGroup
		copies.Go(func() { io.Copy(&stderr, ch.Stderr()) })
		copies.Go(func() { io.Copy(&stdout, ch) })
		status := -1
		for req := range reqs {
			if req.Type == "exit-status" {
				status = int(req.Payload[3])
			}
		}
		copies.Wait()
		return stdout.String(), stderr.String(), status
	}
	if out, _, status := run("printf", "%s|", "a b", "", "c'd", "$HOME;*"); out != "a b||c'd|$HOME;*|" || status != 0 {
		t.Errorf("printf: %q, status %d", out, status)
	}
	if out, _, _ := run("/bin/sh", "-c", "echo $0 $1", "x", "y"); out != "x y\n" {
		t.Errorf("sh: %q", out)
	}
	for _, tt := range []struct {
		arg    string
		status int
	}{{"no-such-program", 127}, {"/no/such/program", 127}, {"/etc/passwd", 126}, {"/tmp", 126}, {"", 127}} {
		if out, msg, status := run(tt.arg); out != "" || status != tt.status || !strings.HasPrefix(msg, "cloudssh: ") {
			t.Errorf("%q: %q, %q, status %d, want %d", tt.arg, out, msg, status, tt.status)
		}
	}
}

func TestBadArgvIsRefused(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for name, payload := range map[string][]byte{
		"empty":     nil,
		"none":      {0, 0, 0, 0},
		"too many":  {255, 255, 255, 255},
		"truncated": {0, 0, 0, 1, 0, 0, 0, 9, 'x'},
		"trailing":  {0, 0, 0, 1, 0, 0, 0, 1, 'x', 'y'},
		"NUL":       {0, 0, 0, 1, 0, 0, 0, 1, 0},
	} {
		s := newTestSession(t, client)
		if ok, err := s.SendRequest("exec-argv@cloudssh", true, payload); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func FuzzParseArgv(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 'x'})
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		args, err := parseArgv(payload)
		if err != nil {
			return
		}
		if len(args) == 0 || !bytes.Equal(marshalArgv(args), payload) {
			t.Errorf("parseArgv(%x) = %q", payload, args)
		}
	})
}

func TestEnvironment(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	s := newTestSession(t, client)
	for name, value := range map[string]string{"LANG": "C.UTF-8", "LC_TIME": "C", "MINE": "a=b c", "GREETING": "changed"} {
		if err := s.Setenv(name, value); err != nil {
			t.Errorf("setting %s: %v", name, err)
		}
	}
	for _, name := range []string{"PORT", "K_SERVICE", SettingsVariable, "CLOUDSSH_X", "A-B", "", "1A"} {
		if s.Setenv(name, "x") == nil {
			t.Errorf("%q may be set", name)
		}
	}
	out := output(t, s, "env")
	got := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = value
	}
	for _, name := range []string{"PWD", "OLDPWD", "SHLVL", "_"} { // the shell's own
		delete(got, name)
	}
	want := map[string]string{
		"PATH": "/usr/bin:/bin:" + BinDir, "HOME": "/root", "PORT": "8080", "K_SERVICE": "hello",
		"GREETING": "changed", "LANG": "C.UTF-8", "LC_TIME": "C", "MINE": "a=b c",
	}
	if len(got) != len(want) {
		t.Errorf("environment %v, want %v", got, want)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s=%q, want %q", name, got[name], value)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	f := start(t, func(c *Config) { c.Settings.App.Dir = dir })
	if got := output(t, f.session(t), "pwd"); strings.TrimSpace(got) != dir {
		t.Errorf("pwd = %q, want %q", got, dir)
	}
	f = start(t, func(c *Config) { c.Settings.App.Dir = "/no/such/dir" })
	s := f.session(t)
	var stderr bytes.Buffer
	s.Stderr = &stderr
	if out, err := s.Output("pwd"); err != nil || string(out) != "/\n" || !strings.Contains(stderr.String(), "/no/such/dir") {
		t.Errorf("pwd = %q, %v; stderr %q", out, err, &stderr)
	}
}

func TestBulkThroughCat(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	const total = 100 << 20
	sent, got := sha256.New(), sha256.New()
	s.Stdin = io.TeeReader(io.LimitReader(mathrand.NewChaCha8([32]byte{1}), total), sent)
	s.Stdout = got
	if err := s.Run("cat"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
}

func TestOnlyOneProgramPerSession(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"shell", "exec", "subsystem", "pty-req", "env"} {
		if ok, err := s.SendRequest(kind, true, ssh.Marshal(struct{ S string }{"true"})); ok || err != nil {
			t.Errorf("a second %s: %v, %v", kind, ok, err)
		}
	}
	stdin.Close()
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}
