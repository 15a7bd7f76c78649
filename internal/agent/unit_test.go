//go:build linux

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestParseSettings(t *testing.T) {
	signer, _ := newSigner(t)
	key := string(marshalKey(signer))
	good := fmt.Sprintf(`{"version":1,"authorized_keys":[%q],"expires":1790000000,"idle_timeout":1800,"grace":600,
		"app":{"entrypoint":["/hello"],"args":["-v"],"dir":"/app","user":"65532","port":8080},
		"service":"hello","twin":"hello-ssh","reason":"why","later":true}`, key)
	s, err := ParseSettings(good)
	if err != nil {
		t.Fatal(err)
	}
	if s.Expires != 1790000000 || s.App.Port != 8080 || s.App.Entrypoint[0] != "/hello" || s.Twin != "hello-ssh" {
		t.Errorf("settings %+v", s)
	}
	for text, want := range map[string]string{
		"":                                    "CLOUDSSH_AGENT is not set",
		"{":                                   "parsing CLOUDSSH_AGENT",
		`{"version":2}`:                       "version 2, want 1",
		`{"version":1}`:                       "no authorized keys",
		`{"version":1,"authorized_keys":[1]}`: "parsing CLOUDSSH_AGENT",
		`{"version":1,"authorized_keys":["ssh-rsa !"]}`:         "parsing authorized key 1",
		strings.Replace(good, "1790000000", "-1", 1):            "must not be negative",
		strings.Replace(good, `"port":8080`, `"port":70000`, 1): "not a port",
	} {
		if _, err := ParseSettings(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSettings(%.60s) = %v, want %q in it", text, err, want)
		}
	}
}

func script(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestShellChoice(t *testing.T) {
	dir := t.TempDir()
	zsh := script(t, filepath.Join(dir, "zsh"), 0o755)
	bash := script(t, filepath.Join(dir, "bash"), 0o644)
	busybox := script(t, filepath.Join(dir, "busybox"), 0o755)
	candidates := []program{{bash, []string{"bash"}}, {busybox, []string{"sh"}}}
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{nil, busybox}, // bash is not executable
		{[]string{"SHELL=" + zsh}, zsh},
		{[]string{"SHELL=zsh"}, busybox},
		{[]string{"SHELL=/no/such/shell"}, busybox},
	} {
		got, err := shellChooser{tt.env, "hello", candidates, ""}.choose("")
		if err != nil || got.path != tt.want {
			t.Errorf("shell with %v = %v, %v; want %s", tt.env, got, err, tt.want)
		}
	}
	_, err := shellChooser{service: "hello"}.choose(shellAuto)
	var start *startError
	if !errors.As(err, &start) || start.status != 127 || !strings.Contains(start.text, "cloudssh hello -- /path/to/binary") {
		t.Errorf("no shell: %v", err)
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	script(t, filepath.Join(dir, "a/tool"), 0o644)
	script(t, filepath.Join(dir, "b/tool"), 0o755)
	script(t, filepath.Join(dir, "a/data"), 0o644)
	env := []string{"PATH=" + dir + "/a:b"} // a relative one, too
	for _, tt := range []struct {
		name, want string
		status     int
	}{
		{"tool", dir + "/b/tool", 0},
		{"./b/tool", dir + "/b/tool", 0},
		{dir + "/b/tool", dir + "/b/tool", 0},
		{"data", "", 126},
		{"none", "", 127},
		{"", "", 127},
	} {
		got, err := lookPath(tt.name, env, dir)
		status := 0
		var start *startError
		if errors.As(err, &start) {
			status = start.status
		}
		if status != tt.status || err == nil && got != tt.want {
			t.Errorf("lookPath(%q) = %q, %v; want %q, status %d", tt.name, got, err, tt.want, tt.status)
		}
	}
}

func TestSessionEnv(t *testing.T) {
	got := sessionEnv([]string{"A=1", SettingsVariable + "={}", "PATH="})
	want := []string{"A=1", "PATH=" + defaultPath + ":" + BinDir}
	if len(got) != 3 || !slices.Equal(got[:2], want) || !strings.HasPrefix(got[2], "HOME=/") {
		t.Errorf("environment %q", got)
	}
	passwd := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(passwd, []byte("# comment\nroot:x:0:0::/root:/bin/sh\napp:x:65532:65532::/home/app:/sbin/nologin\nodd:x:7:7:::\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int]string{0: "/root", 65532: "/home/app", 7: "/", 8: "/"} {
		if got := homeOf(uid, passwd); got != want {
			t.Errorf("home of %d = %q, want %q", uid, got, want)
		}
	}
	if got := homeOf(0, passwd+"x"); got != "/" {
		t.Errorf("home without a passwd file = %q", got)
	}
}

func TestAppProgram(t *testing.T) {
	app := App{Entrypoint: []string{"echo"}, Args: []string{"a", "b c"}, Dir: "/", Port: 8080}
	env := []string{"PATH=/usr/bin:/bin:" + BinDir, "PORT=8080", "X=1"}
	free := func(port int) bool { return port != 8080 && port != 8081 }
	prog, got, note, err := appProgram(app, nil, env, free)
	if err != nil || !slices.Equal(prog.args, []string{"echo", "a", "b c"}) || filepath.Base(prog.path) != "echo" {
		t.Fatalf("program %+v, %v", prog, err)
	}
	if port, _ := getenv(got, "PORT"); port != "8082" || !strings.Contains(note, "PORT=8082") {
		t.Errorf("port %s, note %q", port, note)
	}
	if path, _ := getenv(got, "PATH"); path != "/usr/bin:/bin" {
		t.Errorf("PATH %q", path)
	}
	prog, got, note, err = appProgram(app, []string{"x"}, setenv(env, "PORT", "9000"), free)
	if port, _ := getenv(got, "PORT"); err != nil || port != "9000" || note != "" || !slices.Equal(prog.args, []string{"echo", "x"}) {
		t.Errorf("PORT set by the user: %s, %q, %v, %v", port, note, prog, err)
	}
	if prog, _, _, err := appProgram(App{Entrypoint: []string{"bin/sh"}}, nil, env, free); err != nil || prog.path != "/bin/sh" {
		t.Errorf("a relative entrypoint without a directory: %q, %v", prog.path, err)
	}
	for want, app := range map[int]App{127: {}, 126: {Entrypoint: []string{"/etc"}}} {
		if _, _, _, err := appProgram(app, nil, env, free); ExitStatus(err) != want {
			t.Errorf("%+v: %v, want status %d", app, err, want)
		}
	}
}

func TestFindSettings(t *testing.T) {
	signer, _ := newSigner(t)
	want := Settings{Version: 1, AuthorizedKeys: []string{string(marshalKey(signer))}, Twin: "x-ssh"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	proc := t.TempDir()
	for pid, p := range map[string]struct{ stat, environ string }{
		"30": {"30 (sh) S 20 30 30 0", "A=1\x00B=2\x00"},
		"20": {"20 (odd) name) S 10 20 20 0", ""},
		"10": {"10 (cloudssh-agent) S 0 10 10 0", "A=1\x00" + SettingsVariable + "=" + string(text) + "\x00"},
		"40": {"40 (sh) S 0 40 40 0", "A=1\x00"},
	} {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": p.stat, "environ": p.environ} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := findSettings(30, proc); err != nil || got.Twin != "x-ssh" {
		t.Errorf("settings %+v, %v", got, err)
	}
	if _, err := findSettings(40, proc); err == nil || !strings.Contains(err.Error(), "inside a session") {
		t.Errorf("outside of a session: %v", err)
	}
}

func TestExitStatusEncoding(t *testing.T) {
	for _, tt := range []struct {
		status  syscall.WaitStatus
		request string
		text    string
	}{
		{0, "exit-status", "0"},
		{7 << 8, "exit-status", "7"},
		{syscall.WaitStatus(syscall.SIGTERM), "exit-signal", "TERM"},
		{syscall.WaitStatus(syscall.SIGSEGV) | 0x80, "exit-signal", "SEGV"},
		{40, "exit-signal", "40@cloudssh"},
	} {
		got := exitStatus{tt.status}
		if got.request() != tt.request || got.String() != tt.text {
			t.Errorf("%x: %s %s, want %s %s", tt.status, got.request(), got, tt.request, tt.text)
		}
	}
	dumped := exitStatus{syscall.WaitStatus(syscall.SIGSEGV) | 0x80}.payload()
	if !strings.HasPrefix(string(dumped), "\x00\x00\x00\x04SEGV\x01") {
		t.Errorf("payload %q does not say that there is a core", dumped)
	}
}

func TestVersionToken(t *testing.T) {
	for version, want := range map[string]string{"": "devel", "v1.2.3": "v1.2.3", "v0.0.0-2026 x\n": "v0.0.0_2026_x_"} {
		if got := versionToken(version); got != want {
			t.Errorf("versionToken(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestValidResource(t *testing.T) {
	for name, want := range map[string]bool{
		"projects/p/locations/europe-west1/services/hello-ssh":   true,
		"projects/example.com:p/locations/l/services/S_1":        true,
		"projects/p/locations/l/services/":                       false,
		"projects//locations/l/services/s":                       false,
		"projects/p/locations/l/services/s/revisions/r":          false,
		"projects/p/locations/l/jobs/s":                          false,
		"projects/../locations/l/services/s":                     false,
		"projects/p/locations/l/services/s?x":                    false,
		"projects/p/locations/l/services/s@evil.example":         false,
		"projects/p/locations/l/services/ünicode":                false,
		"https://evil.example/projects/p/locations/l/services/s": false,
		"": false,
	} {
		if got := validResource(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
