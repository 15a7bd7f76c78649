//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	container := []string{"PATH=/bin", "A=1", "B=two\nlines", "GONE=x", SettingsVariable + "={}", "EMPTY="}
	app := appEnv(container)
	session := append(sessionEnv(container), "TERM=xterm", "LC_ALL=C", "LANG=C", "SSH_AUTH_SOCK=/s", "SHELL=/sh", "SHLVL=1", "MINE=y", "A=2")
	session = slices.DeleteFunc(session, func(kv string) bool { return kv == "GONE=x" || strings.HasPrefix(kv, "HOME=") })
	session = append(session, "HOME=/root")
	var out strings.Builder
	printDifferences(&out, app, session)
	want := `~ A=2  (set by you, your client, or a file that your shell has read; the app has 1)
- GONE=x  (set by you, your client, or a file that your shell has read)
+ HOME=/root  (of the user in /etc/passwd, or /: the app has none)
+ LANG=C  (sent by your client)
+ LC_ALL=C  (sent by your client)
+ MINE=y  (set by you, your client, or a file that your shell has read)
~ PATH=/bin:/.cloudssh/bin  (cloudssh-app and cloudssh-env are in /.cloudssh/bin; the app has /bin)
+ SHELL=/sh  (the shell of this session, since it is not the image's own choice)
+ SHLVL=1  (set by the shell)
+ SSH_AUTH_SOCK=/s  (leads to your SSH agent, as asked by -A)
+ TERM=xterm  (of your terminal)
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	if got := visible("two\nlines"); got != `"two\nlines"` {
		t.Errorf("visible: %s", got)
	}
}

// Every variable that a session gets from us is in the table and on the page;
// what else differs is not our doing.
func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "environment.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences() {
		if d.name != "*" && !strings.Contains(string(page), "`"+d.name+"`") {
			t.Errorf("docs/environment.md has nothing about %s", d.name)
		}
	}
	ours := telling(t)
	container := []string{"PATH=/usr/bin:/bin", "GREETING=hi", SettingsVariable + "={}"}
	f := start(t, func(c *Config) { c.Environ, c.Shell = container, ours })
	client := f.dial(t)
	s := newTestSession(t, client)
	for name, value := range map[string]string{"LANG": "C", "LC_ALL": "C", shellVariable: "/usr/bin/env"} {
		if err := s.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	// As a shell, env prints its environment, and there is no shell to add to it.
	var out strings.Builder
	s.Stdout = &out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	session := strings.Split(strings.TrimSpace(strings.ReplaceAll(out.String(), "\r\n", "\n")), "\n")
	var list strings.Builder
	printDifferences(&list, appEnv(container), session)
	if n := strings.Count(list.String(), "\n"); n != 6 || strings.Contains(list.String(), why("*")) || strings.Contains(list.String(), "\n-") {
		t.Errorf("%d differences:\n%s", n, list.String())
	}
	if !slices.Contains(session, "GREETING=hi") {
		t.Errorf("the session has %q", session)
	}
}
