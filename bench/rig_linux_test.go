package bench

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rig is what the benchmarks compare: cloudssh against an emulator, and ssh
// against an sshd of our own, both on loopback.
type rig struct {
	cloudssh string
	env      []string
	ssh      []string // the ssh command line up to the host
	deployed int      // services deployed without us
}

// newRig builds cloudssh and starts the emulator and sshd; all end with b.
func newRig(b *testing.B) *rig {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("SKIPPED: needs root to run containers: run `make bench`")
	}
	dir := b.TempDir()
	// What users run: the program with its agent inside.
	run(b, exec.Command("make", "-C", "..", "build"))
	built, err := filepath.Abs(filepath.Join("..", "bin", "cloudssh"))
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{cloudssh: built}
	r.env = append(os.Environ(), "CLOUDSSH_CONFIG_DIR="+filepath.Join(dir, "config"), "CLOUDSDK_CONFIG="+filepath.Join(dir, "gcloud"))
	r.startEmulator(b, dir)
	r.startSSHD(b, dir)
	return r
}

func run(b *testing.B, cmd *exec.Cmd) string {
	b.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// start runs cmd until the end of b.
func start(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // sshd ends with the signal's status
	})
}

func (r *rig) startEmulator(b *testing.B, dir string) {
	b.Helper()
	cmd := exec.Command(r.cloudssh, "emulator", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(dir, "emulator"))
	cmd.Env = r.env
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start(b, cmd)
	lines := bufio.NewScanner(out)
	for range 5 {
		if !lines.Scan() {
			b.Fatal("the emulator did not become ready")
		}
		r.env = append(r.env, strings.TrimPrefix(lines.Text(), "export "))
	}
}

// startSSHD runs OpenSSH's server with its default ciphers on a loopback port,
// and waits for its banner.
func (r *rig) startSSHD(b *testing.B, dir string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	hostKey, userKey := filepath.Join(dir, "host"), filepath.Join(dir, "user")
	for _, k := range []string{hostKey, userKey} {
		run(b, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k))
	}
	config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPermitRootLogin prohibit-password\n"+
		"StrictModes no\nUsePAM no\nPidFile none\n", port, hostKey, userKey)
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		b.Fatal(err)
	}
	sshd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", file)
	banner, err := sshd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	start(b, sshd)
	for lines := bufio.NewScanner(banner); ; {
		if !lines.Scan() {
			b.Fatal("sshd did not start")
		}
		if strings.Contains(lines.Text(), "Server listening") {
			break
		}
	}
	go func() { // sshd must not block on its log
		for lines := bufio.NewScanner(banner); lines.Scan(); {
		}
	}()
	r.ssh = []string{
		"ssh", "-F", "none", "-p", fmt.Sprint(port), "-i", userKey, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1",
	}
}

// twin keeps a twin alive for the benchmark, so that only the session counts.
func (r *rig) twin(b *testing.B) {
	b.Helper()
	cmd := exec.Command(r.cloudssh, "hello", "--keep", "--exec", "true")
	cmd.Env = r.env
	run(b, cmd)
}

// ours and theirs are the two ways to run a remote command.
func (r *rig) ours(args ...string) *exec.Cmd {
	cmd := exec.Command(r.cloudssh, append([]string{"hello", "--keep", "--quiet"}, args...)...)
	cmd.Env = r.env
	return cmd
}

func (r *rig) theirs(args ...string) *exec.Cmd {
	return exec.Command(r.ssh[0], append(append([]string{}, r.ssh[1:]...), args...)...)
}
