//go:build linux

package agent

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// OpenSSH's own client, for what users will point at us.
func TestOpenSSH(t *testing.T) {
	f := start(t, nil)
	t.Run("exec", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-T", "127.0.0.1", "echo out; echo err >&2; exit 7")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		if cmd.ProcessState.ExitCode() != 7 || stdout.String() != "out\n" || stderr.String() != "err\n" {
			t.Errorf("%v, stdout %q, stderr %q", cmd.ProcessState, &stdout, &stderr)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-T", "127.0.0.1", "cat")
		want := bytes.Repeat([]byte{0, 1, 2, 255, '\r', '\n', 3}, 300_000)
		cmd.Stdin = bytes.NewReader(want)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-tt", "127.0.0.1", "tty; stty size; exit 3")
		out, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != 3 || !strings.HasPrefix(string(out), "/dev/pts/") {
			t.Errorf("%v, output %q", cmd.ProcessState, out)
		}
	})
	t.Run("signal", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-T", "127.0.0.1", "kill -TERM $$")
		cmd.Run()
		if cmd.ProcessState.ExitCode() != 255 { // OpenSSH's answer to exit-signal
			t.Errorf("%v", cmd.ProcessState)
		}
	})
	t.Run("env", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-T", "-o", "SetEnv=MINE=x LC_ALL=C", "127.0.0.1", "echo $MINE $LC_ALL $K_SERVICE")
		if out, err := cmd.Output(); err != nil || string(out) != "x C hello\n" {
			t.Errorf("output %q, %v", out, err)
		}
	})
	t.Run("head", func(t *testing.T) {
		cmd := f.openssh(t, "ssh", "-tt", "127.0.0.1", "sleep 100 & sleep 0.1; echo over")
		if out, err := cmd.Output(); err != nil || string(out) != "over\r\n" {
			t.Errorf("output %q, %v", out, err)
		}
	})
	t.Run("scp", func(t *testing.T) {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		want := bytes.Repeat([]byte("bytes\n"), 500_000)
		if err := os.WriteFile(from, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := f.openssh(t, "scp", "-s", "-q", from, "127.0.0.1:"+to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, f.logs)
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes arrived, %v", len(got), len(want), err)
		}
	})
}

func TestSFTP(t *testing.T) {
	f := start(t, nil)
	client, err := sftp.NewClient(f.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.Create("relative.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	info, err := client.Stat("relative.txt")
	if err != nil || info.Size() != 5 {
		t.Errorf("Stat: %v, %v", info, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	f.logs.wait(t, "session ended")
}

func TestAuthentication(t *testing.T) {
	f := start(t, nil)
	other, _ := newSigner(t)
	for name, auth := range map[string][]ssh.AuthMethod{
		"other key": {ssh.PublicKeys(other)},
		"password":  {ssh.Password("x")},
		"none":      nil,
	} {
		config := f.clientConfig()
		config.Auth = auth
		if client, err := ssh.Dial("tcp", f.addr, config); err == nil {
			client.Close()
			t.Errorf("%s: logged in", name)
		}
	}
	config := f.clientConfig()
	config.KeyExchanges = []string{ssh.KeyExchangeECDHP256}
	if _, err := ssh.Dial("tcp", f.addr, config); err == nil {
		t.Error("an old key exchange was accepted")
	}
	for user := range strings.FieldsSeq("root app nobody") {
		config := f.clientConfig()
		config.User = user
		client, err := ssh.Dial("tcp", f.addr, config)
		if err != nil {
			t.Errorf("user %s: %v", user, err)
			continue
		}
		client.Close()
	}
}

func TestLeave(t *testing.T) {
	f := start(t, nil)
	first, second := f.dial(t), f.dial(t)
	leave := func(c *ssh.Client) uint32 {
		ok, payload, err := c.SendRequest("leave@cloudssh", true, nil)
		var reply struct{ Connections, Detached uint32 }
		if err != nil || !ok || ssh.Unmarshal(payload, &reply) != nil || reply.Detached != 0 {
			t.Fatalf("leave@cloudssh: %v, %x, %v", ok, payload, err)
		}
		return reply.Connections
	}
	if got := leave(first); got != 1 {
		t.Errorf("the first of two leaves %d behind, want 1", got)
	}
	third := f.dial(t)
	if got := leave(second); got != 1 {
		t.Errorf("the second leaves %d behind, want 1: the third", got)
	}
	third.Close()
	f.logs.wait(t, "connection closed")
	if got := leave(first); got != 0 {
		t.Errorf("the last leaves %d behind", got)
	}
	<-f.left
	late, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	// Not even a banner: this stream was never SSH.
	if n, err := late.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a connection after the last one left: %d bytes, %v", n, err)
	}
	if got := leave(second); got != 0 {
		t.Errorf("leaving twice: %d", got)
	}
	if len(f.left) != 0 {
		t.Error("LastLeft was called twice")
	}
}

func TestStatus(t *testing.T) {
	expires := time.Now().Add(time.Hour).Unix()
	f := start(t, func(c *Config) { c.Settings.Expires, c.Settings.IdleTimeout = expires, 1800 })
	client := f.dial(t)
	s := newTestSession(t, client)
	_, payload, err := client.SendRequest("status@cloudssh", true, nil)
	var got Status
	if err != nil || json.Unmarshal(payload, &got) != nil {
		t.Fatalf("status@cloudssh: %s, %v", payload, err)
	}
	if got.Memory < 1<<20 {
		t.Errorf("the agent says that it takes %d bytes", got.Memory)
	}
	want := Status{Connections: 1, Sessions: 1, Started: got.Started, Memory: got.Memory, Expires: expires, IdleTimeout: 1800, Version: "v1.2.3-test"}
	if got != want || time.Since(time.Unix(got.Started, 0)) > time.Minute {
		t.Errorf("status %+v, want %+v", got, want)
	}
	s.Close()
	for name, want := range map[string]bool{"keepalive@openssh.com": true, "tcpip-forward": false, "x": false} {
		if ok, _, err := client.SendRequest(name, true, nil); ok != want || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, _, err := client.OpenChannel("x11", nil); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Errorf("x11: %v", err)
	}
}

func TestSessionLimit(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for range maxSessions {
		newTestSession(t, client)
	}
	if _, err := client.NewSession(); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("one session too many: %v", err)
	}
}

func TestLogsHaveNoCommands(t *testing.T) {
	f := start(t, nil)
	output(t, f.session(t), "echo s3cret >/dev/null")
	f.logs.wait(t, "session ended")
	if log := f.logs.String(); strings.Contains(log, "s3cret") || !strings.Contains(log, "kind=exec") {
		t.Errorf("log:\n%s", log)
	}
}
