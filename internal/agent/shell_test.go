//go:build linux

package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestShellWish(t *testing.T) {
	dir := t.TempDir()
	bash, ours := script(t, filepath.Join(dir, "bash"), 0o755), script(t, filepath.Join(dir, "cloudssh-shell"), 0o755)
	busybox, text := script(t, filepath.Join(dir, "busybox"), 0o755), script(t, filepath.Join(dir, "text"), 0o644)
	image := []program{{bash, []string{"bash"}}}
	for name, tt := range map[string]struct {
		chooser    shellChooser
		wish       string
		path, arg0 string
		status     int
		says       string
	}{
		"the image's":          {shellChooser{nil, "x", image, ours}, "auto", bash, "bash", 0, ""},
		"ours without one":     {shellChooser{nil, "x", nil, ours}, "auto", ours, "cloudssh-shell", 0, ""},
		"no wish":              {shellChooser{nil, "x", nil, ours}, "", ours, "cloudssh-shell", 0, ""},
		"ours for once":        {shellChooser{nil, "x", image, ours}, "builtin", ours, "cloudssh-shell", 0, ""},
		"a path":               {shellChooser{nil, "x", image, ours}, busybox, busybox, "sh", 0, ""},
		"neither":              {shellChooser{nil, "x", nil, ""}, "auto", "", "", 127, "cloudssh x -- /path/to/binary"},
		"ours is not there":    {shellChooser{nil, "x", image, dir + "/none"}, "builtin", "", "", 127, "no built-in shell"},
		"a path of nothing":    {shellChooser{nil, "", image, ours}, "/no/zsh", "", "", 127, "there is no shell /no/zsh in this image; without --shell, or with --shell builtin, you get one that is there: cloudssh SERVICE --shell builtin"},
		"a file":               {shellChooser{nil, "x", image, ours}, text, "", "", 126, "is not executable"},
		"a directory":          {shellChooser{nil, "x", image, ours}, dir, "", "", 126, "is not executable"},
		"below a file":         {shellChooser{nil, "x", image, ours}, text + "/sh", "", "", 126, "not a directory"},
		"no path":              {shellChooser{nil, "x", image, ours}, "zsh", "", "", 127, `the shell "zsh" is neither auto nor builtin nor an absolute path`},
		"the service's $SHELL": {shellChooser{[]string{"SHELL=" + busybox}, "x", image, ours}, "", busybox, "sh", 0, ""},
	} {
		got, err := tt.chooser.choose(tt.wish)
		if tt.status == 0 {
			if err != nil || got.path != tt.path || got.args[0] != tt.arg0 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		var start *startError
		if !errors.As(err, &start) || start.status != tt.status || !strings.Contains(start.text, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// telling is a shell that says how it was started.
func telling(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloudssh-shell")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho \"ours: $*; SHELL=$SHELL ${CLOUDSSH_SHELL-unset}\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSessionsShell(t *testing.T) {
	ours := telling(t)
	f := start(t, func(c *Config) { c.Shell = ours })
	client := f.dial(t)
	builtin := func(s *ssh.Session) {
		t.Helper()
		if err := s.Setenv(shellVariable, "builtin"); err != nil {
			t.Fatal(err)
		}
	}
	s := newTestSession(t, client)
	builtin(s)
	if got, want := output(t, s, "ls | wc"), "ours: -c ls | wc; SHELL="+ours+" unset\n"; got != want {
		t.Errorf("exec: %q, want %q", got, want)
	}
	s = newTestSession(t, client)
	builtin(s)
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil || out.String() != "ours: -l; SHELL="+ours+" unset\n" {
		t.Errorf("shell: %q, %v", out.String(), err)
	}
	// What the image has goes before, and nobody is told of another shell.
	if got := output(t, newTestSession(t, client), "printenv SHELL || echo none"); got != "none\n" {
		t.Errorf("the image's shell: %q", got)
	}
	s = newTestSession(t, client)
	if err := s.Setenv(shellVariable, "/no/such/shell"); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s.Stderr = &stderr
	if err := s.Run("true"); exitStatusOf(t, err) != 127 || !strings.Contains(stderr.String(), "there is no shell /no/such/shell in this image") {
		t.Errorf("a shell that is not there: %v, %q", err, stderr.String())
	}
	// An argument vector needs no shell, but in an image without one the tools are ours.
	for wish, want := range map[string]string{"auto": "", "builtin": `ours: -c "$0" "$@" no-such-tool a b; SHELL=` + ours + " unset\n"} {
		ch, reqs, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		if ok, err := ch.SendRequest("env", true, ssh.Marshal(struct{ Name, Value string }{shellVariable, wish})); !ok || err != nil {
			t.Fatalf("env: %v, %v", ok, err)
		}
		if ok, err := ch.SendRequest("exec-argv@cloudssh", true, marshalArgv([]string{"no-such-tool", "a", "b"})); !ok || err != nil {
			t.Fatalf("exec-argv@cloudssh: %v, %v", ok, err)
		}
		var got bytes.Buffer
		got.ReadFrom(ch)
		if got.String() != want {
			t.Errorf("%s: %q, want %q", wish, got.String(), want)
		}
		ch.Close()
	}
}

// A shell that is there and cannot run, for want of its loader or of another
// machine, is as good as none.
func TestBrokenShell(t *testing.T) {
	ours := telling(t)
	broken := filepath.Join(t.TempDir(), "bash")
	for name, text := range map[string]string{"no interpreter": "#!/no/such/loader\n", "another machine's": "\x7fELF nonsense"} {
		if err := os.WriteFile(broken, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		f := start(t, func(c *Config) { c.Shell, c.Environ = ours, append(testEnviron(), "SHELL="+broken) })
		client := f.dial(t)
		s := newTestSession(t, client)
		var stderr bytes.Buffer
		s.Stderr = &stderr
		out, err := s.Output("id")
		if want := "ours: -c id; SHELL=" + ours + " unset\n"; err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; want %q", name, out, err, want)
		}
		if !strings.Contains(stderr.String(), broken+": ") || !strings.Contains(stderr.String(), "; this is a shell of cloudssh's instead") {
			t.Errorf("%s: nobody was told: %q", name, stderr.String())
		}
		s = newTestSession(t, client)
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		screen, err := s.Output("id")
		if want := "ours: -c id; SHELL=" + ours + " unset\r\n"; err != nil || !strings.HasSuffix(string(screen), want) {
			t.Errorf("%s, on a terminal: %q, %v; want %q", name, screen, err, want)
		}
		s = newTestSession(t, client)
		if err := s.Setenv(shellVariable, broken); err != nil {
			t.Fatal(err)
		}
		if err := s.Run("id"); exitStatusOf(t, err) < 126 {
			t.Errorf("%s, as asked for: %v", name, err)
		}
	}
}
