//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// agentImage is a directory that holds what the agent's image does.
func agentImage(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	text, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{agentName: text, shellName: []byte("#!/bin/sh\necho the shell\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// publicDir is a directory that other users can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for dir := root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// copier runs a copying sidecar below a wrapper until its port is open.
func copier(t *testing.T, wrapper ...string) (cmd *exec.Cmd, address string) {
	t.Helper()
	cmd = exec.Command(wrapper[0], wrapper[1:]...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v did not start: %v", cmd.Args, cmd.Wait())
	}
	var started struct{ Address, Message string }
	if err := json.Unmarshal(line, &started); err != nil || started.Message != "agent copied" {
		t.Fatalf("log: %s", line)
	}
	_, port, err := net.SplitHostPort(started.Address)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, "127.0.0.1:" + port
}

// The sidecar's user is anybody and its umask anything; so is who uses what it
// has written. It may be started again while that is in use.
func TestCopy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("other users need root")
	}
	image, volume := agentImage(t), publicDir(t)
	if err := os.Chmod(volume, 0o1777); err != nil {
		t.Fatal(err)
	}
	start := []string{"chroot", "--userspec=65532:65532", "/", "/bin/sh", "-c", `umask 077; exec "$@"`, "-", filepath.Join(image, agentName), "copy", "--to", volume, "--listen", "0"}
	first, address := copier(t, start...)
	for range 2 { // a probe, and another
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	check := func() {
		t.Helper()
		for path, want := range map[string]string{
			"cloudssh-agent --version": "cloudssh-agent " + testVersion, "cloudssh-shell": "the shell",
		} {
			words := strings.Fields(filepath.Join(volume, path))
			out, err := exec.Command("chroot", append([]string{"--userspec=1234:1234", "/"}, words...)...).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("%s as another user: %q, %v", path, out, err)
			}
		}
		for name := range commands() {
			link, err := os.Readlink(filepath.Join(volume, "bin", name))
			if err != nil || link != "../cloudssh-agent" {
				t.Errorf("%s leads to %q, %v", name, link, err)
			}
		}
		var names []string
		filepath.WalkDir(volume, func(path string, _ os.DirEntry, _ error) error {
			names = append(names, strings.TrimPrefix(path, volume))
			return nil
		})
		if want := 1 + 3 + len(commands()); len(names) != want {
			t.Errorf("the volume holds %q, want %d", names, want)
		}
	}
	check()

	// One that was killed in the midst of it has left something behind.
	if err := os.WriteFile(filepath.Join(volume, ".new-cloudssh-agent"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(volume, ".new-cloudssh-agent"), 65532, 65532); err != nil {
		t.Fatal(err)
	}
	using := exec.Command(filepath.Join(volume, agentName), "copy", "--to", publicDir(t), "--listen", "0") // text busy
	if err := using.Start(); err != nil {
		t.Fatal(err)
	}
	second, _ := copier(t, start...)
	check()
	for _, cmd := range []*exec.Cmd{first, second, using} {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v ended with %v", cmd.Args, err)
		}
	}
	using.Wait()
	t.Run("small volume", func(t *testing.T) { testSmallVolume(t, image) })
	t.Run("noexec", func(t *testing.T) {
		out, err := exec.Command("unshare", "--mount", "/bin/sh", "-c",
			`mount -t tmpfs -o noexec none "$2" && exec "$1" copy --to "$2" --listen 0`,
			"-", filepath.Join(image, agentName), t.TempDir()).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "so use --inject=layer") || !strings.Contains(string(out), "permission denied") {
			t.Errorf("%q, %v", out, err)
		}
	})
}

func testSmallVolume(t *testing.T, image string) {
	t.Helper()
	volume := t.TempDir()
	out, err := exec.Command("unshare", "--mount", "/bin/sh", "-c",
		`mount -t tmpfs -o size=4m none "$2" && "$1" copy --to "$2" --listen 0; status=$?; ls -A "$2"; exit $status`,
		"-", filepath.Join(image, agentName), volume).CombinedOutput()
	if err == nil {
		t.Fatalf("no error: %s", out)
	}
	for _, want := range []string{
		"cloudssh-agent: copying cloudssh-agent into the volume: the volume at " + volume + " is too small: the agent needs 9 MiB, and it has 4 MiB; raise its size limit",
		"no space left on device", "\nbin\ncloudssh-shell\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if strings.Contains(string(out), "\n.new-") {
		t.Errorf("something half is left: %q", out)
	}
}

func TestCopyRefuses(t *testing.T) {
	empty := t.TempDir()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":       {nil, "usage: cloudssh-agent copy --to DIR --listen PORT"},
		"no port":       {[]string{"--to", "/x"}, "usage: "},
		"other options": {[]string{"--listen", "1", "--to", "/x"}, "usage: "},
		"relative":      {[]string{"--to", "x", "--listen", "1"}, `"x" is not an absolute path`},
		"not a port":    {[]string{"--to", "/x", "--listen", "65536"}, `"65536" is no port`},
		"no programs":   {[]string{"--to", empty, "--listen", "0"}, "copying cloudssh-shell into the volume: open "},
		"a file":        {[]string{"--to", "/dev/null", "--listen", "0"}, "filling the volume: "},
	} {
		if err := copyCommand(t.Context(), tc.args); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
