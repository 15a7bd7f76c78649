//go:build linux

package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// startWithoutPrograms runs an agent in an image that has a shell, and in its
// PATH nothing.
func startWithoutPrograms(t *testing.T) (f *fixture, dir string) {
	t.Helper()
	dir = t.TempDir()
	return start(t, func(c *Config) {
		c.Environ = []string{"PATH=/nonexistent", "HOME=" + dir, "DATA=some data"}
		c.Settings.App.Dir = dir
	}), dir
}

func TestSCPWithoutSCP(t *testing.T) {
	f, remote := startWithoutPrograms(t)
	local := t.TempDir()
	copying := func(want int, args ...string) string {
		t.Helper()
		cmd := f.openssh(t, "scp", append([]string{"-O"}, args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("scp %q: status %d, want %d\n%s\n%s", args, got, want, out, f.logs)
		}
		return string(out)
	}
	content := bytes.Repeat([]byte("bytes\n"), 500_000)
	for _, name := range []string{"dir/big", "dir/sub/some data", "dir/sub/\xff", "dir/sub/x'y"} {
		path := filepath.Join(local, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content[:len(content)/len(name)], 0o640); err != nil {
			t.Fatal(err)
		}
	}
	copying(0, "-rp", local+"/dir", "127.0.0.1:up")
	copying(0, "-rp", "127.0.0.1:up", local+"/back")
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", local+"/dir", local+"/back").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	copying(0, "127.0.0.1:~/up/*/*data", "127.0.0.1:up/big", local)
	copying(0, "-T", `127.0.0.1:up/sub/"$DATA"`, local+"/one")
	for _, name := range []string{"some data", "big", "one"} {
		if _, err := os.Stat(filepath.Join(local, name)); err != nil {
			t.Error(err)
		}
	}
	if out := copying(1, "127.0.0.1:none", local); !strings.Contains(out, "scp: none: No such file or directory") {
		t.Errorf("%q", out)
	}
	if out := copying(1, local+"/one", "127.0.0.1:no/where/"); !strings.Contains(out, "no/where/: ") {
		t.Errorf("%q", out)
	}
	// A line that is for a shell goes to the shell, which has no scp.
	if out := copying(1, "127.0.0.1:$(echo up)", local); !strings.Contains(out, "not found") {
		t.Errorf("%q", out)
	}
	if entries, err := os.ReadDir(remote); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// An scp of the image's own is used.
func TestSCPOfTheImage(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "scp"), []byte("#!/bin/sh\necho \"$@\" >&2; exit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := start(t, func(c *Config) { c.Environ = []string{"PATH=" + bin} })
	s := f.session(t)
	var stderr bytes.Buffer
	s.Stderr = &stderr
	if got := exitStatusOf(t, s.Run("scp -t 'a b'")); got != 9 || stderr.String() != "-t a b\n" {
		t.Errorf("status %d, %q", got, &stderr)
	}
}

func TestMissingPrograms(t *testing.T) {
	f, _ := startWithoutPrograms(t)
	client := f.dial(t)
	for line, want := range map[string]string{
		"rsync --server -logDtpre.iLsfxCIvu . /x":          "rsync: not found in this image",
		"rsync --server --sender -vlogDtpre.iLsfxCIvu . *": "scp, sftp, sshfs and `cloudssh cp`",
		"/usr/no/rsync --server . x":                       "cloudssh cp",
		"git-upload-pack '/srv/repo.git'":                  "git-upload-pack: not found: there is no git",
		"git-receive-pack 'repo'":                          "there is no git",
		"scp -t 'unfinished":                               "unexpected EOF",
		"scp a b":                                          "scp: ", // a user's own call
		"rsync x y":                                        "rsync: ",
		"no-such-program --server":                         "not found",
	} {
		s := newTestSession(t, client)
		var stdout, stderr bytes.Buffer
		s.Stdout, s.Stderr = &stdout, &stderr
		status := exitStatusOf(t, s.Run(line))
		if unfinished := strings.Contains(line, "unfinished"); status != 127 && !unfinished || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q", line, status, &stdout, &stderr)
		}
	}
	// With a terminal there is somebody at it, who types what he means.
	s := newTestSession(t, client)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	out, err := s.Output("scp -t x")
	if got := exitStatusOf(t, err); got != 127 || !strings.Contains(string(out), "not found") {
		t.Errorf("on a terminal: status %d, %q", got, out)
	}
}

// Old clients start sftp-server by its path.
func TestSFTPServerByPath(t *testing.T) {
	f, dir := startWithoutPrograms(t)
	s := f.session(t)
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("/usr/lib/nowhere/sftp-server"); err != nil {
		t.Fatal(err)
	}
	client, err := sftp.NewClientPipe(out, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Mkdir("made"); err != nil {
		t.Error(err)
	}
	client.Close()
	in.Close()
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
		t.Error(err)
	}
}

func TestWithoutShell(t *testing.T) {
	s := newSession(&connection{server: &server{env: []string{"PATH=/usr/bin:/bin", "X=a b"}}})
	none := &startError{127, "there is no shell"}
	got, err := s.withoutShell(`env -i "$X" 'it'\''s'`, program{}, none)
	if err != nil || filepath.Base(got.path) != "env" || strings.Join(got.args, "|") != "env|-i|a b|it's" {
		t.Errorf("%v, %v", got, err)
	}
	for line, want := range map[string]string{
		"ls | wc":        "there is no shell",
		"cd /":           "cd: not found, and there is no shell",
		"nothing at all": "nothing: not found, and there is no shell",
		"echo $(id)":     "there is no shell",
	} {
		if _, err := s.withoutShell(line, program{}, none); err == nil || err.Error() != want {
			t.Errorf("%s: %v", line, err)
		}
	}
	other := &startError{126, "a NUL"}
	if _, err := s.withoutShell("true", program{}, other); !errors.Is(err, other) {
		t.Errorf("%v", err)
	}
	sh := program{"/bin/sh", []string{"sh"}}
	if got, err := s.withoutShell("true", sh, nil); err != nil || got.path != sh.path {
		t.Errorf("%v, %v", got, err)
	}
}

// What sshd does with requests that clients send in the wrong place, or that we
// do not have.
func TestRequests(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	ch, reqs, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	go ssh.DiscardRequests(reqs)
	ask := func(kind string, payload any) bool {
		t.Helper()
		var data []byte
		if payload != nil {
			data = ssh.Marshal(payload)
		}
		ok, err := ch.SendRequest(kind, true, data)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return ok
	}
	type size struct{ Cols, Rows, Width, Height uint32 }
	type pty struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	type x11 struct {
		Single           bool
		Protocol, Cookie string
		Screen           uint32
	}
	type text struct{ S string }
	type env struct{ Name, Value string }
	for _, tt := range []struct {
		kind    string
		payload any
		want    bool
	}{
		{"window-change", size{80, 24, 0, 0}, false}, // before there is a terminal
		{"x11-req", x11{false, "MIT-MAGIC-COOKIE-1", "00", 0}, false},
		{"no-such-request@example.com", nil, false},
		{"signal", text{"TERM"}, false},
		{"subsystem", text{"netconf"}, false}, // the channel stays
		{"env", env{"A", "1"}, true},
		{"env", env{"A", "2"}, true}, // the last one counts
		{"pty-req", pty{"xterm", 80, 24, 0, 0, ""}, true},
		{"pty-req", pty{"xterm", 80, 24, 0, 0, ""}, false},
		{"env", env{"B", "behind the terminal"}, true},
		{"window-change", size{132, 50, 0, 0}, true},
		{"auth-agent-req@openssh.com", nil, true},
		{"exec", text{"stty size; echo $A $B; echo $SSH_AUTH_SOCK; read x; stty size"}, true},
		{"exec", text{"true"}, false},
		{"shell", nil, false},
		{"env", env{"C", "3"}, false},
		{"auth-agent-req@openssh.com", nil, false},
	} {
		if got := ask(tt.kind, tt.payload); got != tt.want {
			t.Errorf("%s %v: %v, want %v", tt.kind, tt.payload, got, tt.want)
		}
	}
	got := readUntil(t, ch, "/agent")
	if !strings.HasPrefix(got, "50 132\r\n2 behind the terminal\r\n/") {
		t.Errorf("%q", got)
	}
	if !ask("window-change", size{81, 25, 0, 0}) {
		t.Error("window-change while the program runs is refused")
	}
	if _, err := io.WriteString(ch, "\r"); err != nil {
		t.Error(err)
	}
	readUntil(t, ch, "25 81")
}
