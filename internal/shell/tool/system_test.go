package tool

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestSystem(t *testing.T) {
	dir := sample(t)
	same(t, dir, "", "id", "id -u", "id -un", "id -g", "id -Gn", "id nobody", "id no_such_user_here", "whoami", "groups", "hostname", "uname", "uname -a", "uname -r", "uname -sm", "uname -n", "nproc",
		"du", "du -s", "du -a", "du -sh .", "du -b a.txt b.txt", "du -c sub empty", "du -d 1", "du gone", "kill -l 9", "kill -l TERM", "kill 999999999", "pidof no_such_program_here",
		"pgrep no_such_program_here", "df gone", "mount -t strange")
	for _, command := range []string{"df .", "df -h .", "df -T /", "mount", "free", "free -h", "uptime", "ss -a", "ss -tlnp", "netstat -an", "lsof -p " + strconv.Itoa(os.Getpid()), "pgrep -l .", "tty"} {
		got := run(t, dir, "", words(command)...)
		if got.stdout == "" || got.stderr != "" || got.status != 0 && command != "tty" {
			t.Errorf("%s: %+v", command, got)
		}
	}
	want, got := strings.Fields(program(t, dir, "", "df", "-k", ".").stdout), strings.Fields(run(t, dir, "", "df", "-k", ".").stdout)
	if want[0] != got[0] || want[len(want)-1] != got[len(got)-1] || want[8] != got[8] {
		t.Errorf("df: got %v, want %v", got, want)
	}
}

func TestKill(t *testing.T) {
	for _, args := range [][]string{{"kill"}, {"kill", "-9"}, {"kill", "-s", "HUP"}, {"kill", "-SIGUSR1"}} {
		cmd := exec.CommandContext(t.Context(), "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := run(t, "/", "", append(args, strconv.Itoa(cmd.Process.Pid))...); got.status != 0 {
			t.Errorf("%v: %+v", args, got)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%v: it has not ended", args)
		}
	}
}

// TestAll holds what the shell relies on.
func TestAll(t *testing.T) {
	all := All()
	for i, tool := range all {
		if i > 0 && all[i-1].Name >= tool.Name {
			t.Errorf("%s is not in order, or there twice", tool.Name)
		}
		if tool.Synopsis == "" {
			continue
		}
		if got := run(t, "/", "", tool.Name, "--help"); got.status != 0 || !strings.HasPrefix(got.stdout, tool.Name) || !strings.Contains(got.stdout, ": ") {
			t.Errorf("%s --help: %+v", tool.Name, got)
		}
	}
}

// TestUnknownFlags: each tool says so, and fails.
func TestUnknownFlags(t *testing.T) {
	for _, tool := range All() {
		switch tool.Name {
		case "[", "echo", "true", "false", "test", "printf", "yes", "pwd", "clear", "seq", "find", "kill", "whoami", "nproc", "tty", "uptime", "dig", "pkill", "timeout", "nohup":
			continue // they have no flags, or read them another way
		}
		if got := run(t, "/", "", tool.Name, "--no-such-flag"); got.status != 2 || !strings.Contains(got.stderr, "no-such-flag") || got.stdout != "" {
			t.Errorf("%s: %+v", tool.Name, got)
		}
	}
}
