package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// regressDir is where Debian's package openssh-tests puts the scripts.
	regressDir = "/usr/lib/openssh/regress"
	// regressTimeout ends a script that hangs. Some sleep for minutes in all.
	regressTimeout = 12 * time.Minute
	// regressPlaces is how many run at a time.
	regressPlaces = 6
	// regressVariable is the variable that names the scripts to run, with spaces
	// between them: "all" are the slow ones, too.
	regressVariable = "E2E_REGRESS"
)

// TestRegress runs OpenSSH's own regression tests against a twin. In them sshd is
// a script that hands its connection to `cloudssh proxy`, so that their ssh gets
// to the twin by the ProxyCommand and the port that they set up for sshd. They
// compare files on both sides: the twin's folder of that name is mounted.
func TestRegress(t *testing.T) {
	if _, err := os.Stat(regressDir); err != nil {
		t.Fatalf("install openssh-tests: %v", err)
	}
	tableIsComplete(t)
	r := newRegress(t)
	// They sleep a lot, so that more of them run than there are processors.
	var scripts sync.WaitGroup
	places, alone := make(chan bool, regressPlaces), make(chan bool, 1)
	outcome := map[string]chan string{}
	for _, s := range regressScripts() {
		if !s.wanted(os.Getenv(regressVariable)) {
			continue
		}
		said := make(chan string, 1)
		outcome[s.name] = said
		scripts.Go(func() {
			if s.inside {
				alone <- true
				defer func() { <-alone }()
			}
			places <- true
			defer func() { <-places }()
			said <- r.script(t.Context(), s)
		})
	}
	for _, s := range regressScripts() {
		if said, runs := outcome[s.name]; runs {
			t.Run(s.name, func(t *testing.T) {
				if text := <-said; text != "" {
					t.Error(text)
				}
			})
		}
	}
	scripts.Wait()
}

// tableIsComplete fails for a script that the table does not know.
func tableIsComplete(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	for _, s := range regressScripts() {
		known[s.name] = true
	}
	files, err := filepath.Glob(filepath.Join(regressDir, "*.sh"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d scripts in %s, %v", len(files), regressDir, err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".sh"); !known[name] {
			t.Errorf("the script %s is not in the table", name)
		}
	}
}

// A regress is a twin and what OpenSSH's tests need around it.
type regress struct {
	*platform
	port    string // leads to a new connection to the twin, here and in the twin
	scripts string // the tests, as we run them
	shared  string // the tests' files
	inTwin  string // where the twin's folder of that name is, here
	bin     string // what the tests take for programs of OpenSSH
	control string // the socket of a connection that lasts as long as the test
	agent   string // process ID of the agent, for its network
}

func newRegress(t *testing.T) *regress {
	t.Helper()
	p := newPlatform(t)
	r := &regress{
		platform: p, shared: filepath.Join(p.dir, "obj"), scripts: filepath.Join(p.dir, "obj", "src"),
		bin: filepath.Join(p.dir, "obj", "bin"), control: filepath.Join(p.dir, "ctl"),
	}
	p.cloudssh(t, "config", "write").expect(t, 0)
	r.listen(t)
	r.hold(t)
	r.share(t)
	r.copyScripts(t)
	r.writePrograms(t)
	return r
}

// hold starts a connection that holds the twin as long as the test, and makes the
// port lead to it in there, too.
func (r *regress) hold(t *testing.T) {
	t.Helper()
	forward := "127.0.0.1:" + r.port + ":127.0.0.1:" + r.port
	r.run(t, "ssh", "-M", "-S", r.control, "-f", "-N", "-R", forward, "-o", "ExitOnForwardFailure=yes", tools).expect(t, 0)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
		defer cancel()
		finish(t, r.command(ctx, "ssh", "-S", r.control, "-O", "exit", tools)).expect(t, 0)
		r.expectTwinsGone(t)
		r.expectProxiesGone(ctx, t)
	})
}

// listen makes every connection to a port of this machine one to the twin.
func (r *regress) listen(t *testing.T) {
	t.Helper()
	r.port = freePort(t) // in the twin nobody else is given it, either
	l, err := net.Listen("tcp", "127.0.0.1:"+r.port)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.proxy(t, conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

// proxy hands a connection to `cloudssh proxy`.
func (r *regress) proxy(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	file, err := conn.File()
	_ = conn.Close()
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	// Not the test's context, which ends before what is behind the connections.
	cmd := r.command(context.WithoutCancel(t.Context()), r.program, "proxy", "tools")
	cmd.Stdin, cmd.Stdout = file, file
	_ = cmd.Run() // the client sees what is wrong
}

// copyScripts copies the tests, and edits those that the table has edits for.
func (r *regress) copyScripts(t *testing.T) {
	t.Helper()
	scripts := filepath.Join(r.inTwin, "src")
	sh(t, `mkdir "$1" && cp -p "$0"/*.* "$1" && cp -p "$0/netcat" "$0/modpipe" "$0/mkdtemp" "$1"`, regressDir, scripts)
	for _, s := range regressScripts() {
		for _, edit := range s.edits {
			file := filepath.Join(scripts, s.name+".sh")
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sh(t, `sed -i -E "$1" "$0"`, file, edit)
			if after, err := os.ReadFile(file); err != nil || bytes.Equal(before, after) {
				t.Errorf("%s: the edit %q changes nothing, %v", s.name, edit, err)
			}
		}
	}
}

// share makes the folder of the tests' files in the twin, and finds it here.
func (r *regress) share(t *testing.T) {
	t.Helper()
	r.run(t, "ssh", "-S", r.control, tools, "mkdir -p "+r.shared).expect(t, 0)
	if err := os.Mkdir(r.shared, 0o755); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(filepath.Dir(r.dir), "state")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		dir := filepath.Join(fields[4], r.shared)
		if _, err := os.Stat(dir); err == nil && strings.HasPrefix(fields[4], state) {
			r.inTwin = dir
		}
	}
	for _, pid := range running("/.cloudssh/cloudssh-agent", "K_SERVICE=tools-ssh") {
		if _, err := os.Stat(filepath.Join("/proc", pid, "root", r.shared)); err == nil {
			r.agent = pid
		}
	}
	if r.inTwin != "" && r.agent != "" {
		return
	}
	t.Fatalf("no mount below %s has %s, or no agent (%q):\n%s", state, r.shared, r.agent, mounts)
}

// expectProxiesGone waits for the proxies, which go on after their twin.
func (r *regress) expectProxiesGone(ctx context.Context, t *testing.T) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for pids := running(r.program, "TMPDIR="+r.dir); len(pids) > 0; pids = running(r.program, "TMPDIR="+r.dir) {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("processes are left: %q", pids)
		}
	}
}

// running are the IDs of the processes that run a program, with a variable.
func running(program, variable string) []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	var pids []string
	for _, dir := range dirs {
		// What cannot be read has ended.
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.HasPrefix(line, []byte(program+"\x00")) && bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable)) {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// sh runs a shell command of the test's own.
func sh(t *testing.T, script string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// regressPrograms are what the tests take for programs of OpenSSH. In them @X@ is
// replaced.
var regressPrograms = map[string]string{
	// The tests ask for algorithms, to try each: we name those that the agent has.
	// The user's key comes before those in their configuration.
	"ssh": `#!/bin/sh
for a; do
	if [ "$query" ]; then
		case $a in
		kex) printf '%s\n' curve25519-sha256 curve25519-sha256@libssh.org ;;
		cipher|Ciphers) printf '%s\n' aes128-ctr aes256-ctr aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com ;;
		cipher-auth) printf '%s\n' aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com ;;
		mac|MACs) printf '%s\n' hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com ;;
		compression) echo none ;;
		key|key-plain) printf '%s\n' $REGRESS_KEYS ;;
		*) exec ssh -Q "$a" ;;
		esac
		exit
	fi
	[ "$a" != -Q ] || query=yes
done
exec ssh -o IdentityFile=@KEY@ "$@"
`,
	// With -i it serves standard input. As a daemon it has nothing to do: its
	// port leads to the twin all the time, also in the twin.
	"sshd": `#!/bin/sh
for a; do
	case $a in
	-i)
		[ "$REGRESS_INSIDE" ] || [ ! -x "@CLOUDSSH@" ] || HOME=@HOME@ exec "@CLOUDSSH@" proxy tools
		exec @SCRIPTS@/netcat 127.0.0.1 @PORT@ ;;
	-t) exit 0 ;;
	-T) exec /usr/sbin/sshd "$@" ;;
	esac
done
sh -c 'echo $$ >"$0"; trap "rm -f $0; kill \$pid; exit 0" TERM; sleep 1000 & pid=$!; wait' "$OBJ/pidfile" >/dev/null 2>&1 </dev/null &
`,
	"sftp-server": `#!/bin/sh
exec ssh -q -S @CONTROL@ -o ControlMaster=no -s @HOST@ sftp
`,
	// The tests call scp also for what runs on the other side.
	"scp": `#!/bin/sh
for a; do
	case $a in
	-t|-f) exec ssh -q -S @CONTROL@ -o ControlMaster=no @HOST@ scp "$@" ;;
	esac
done
exec scp "$@"
`,
	"plink": `#!/bin/sh
case $* in *--version*) exec plink "$@" ;; esac
exec plink -hostkey @FINGERPRINT@ "$@"
`,
}

func (r *regress) writePrograms(t *testing.T) {
	t.Helper()
	config, bin := filepath.Join(r.home, ".config", "cloudssh"), filepath.Join(r.inTwin, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(filepath.Join(config, "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	// The tests make keys of sshd's, unless they are there.
	_, key, _ := strings.Cut(strings.TrimSpace(string(known)), " ")
	for name, text := range map[string]string{hostKey: "not known here\n", hostKey + ".pub": key + "\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("@HOME@", env(r.env, "HOME"), "@PORT@", r.port, "@SCRIPTS@", r.scripts, "@CLOUDSSH@", r.program, "@CONTROL@", r.control, "@HOST@", tools,
		"@KEY@", filepath.Join(config, "id_ed25519"), "@FINGERPRINT@", ssh.FingerprintSHA256(public))
	for name, text := range regressPrograms {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(replace.Replace(text)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// hostKey is the type of the agent's key, and what the tests call the file of it.
const hostKey = "ssh-ed25519"

func (s regressScript) wanted(names string) bool {
	switch names {
	case "":
		return s.not == "" && !s.slow
	case "all":
		return s.not == ""
	}
	return slices.Contains(strings.Fields(names), s.name)
}

// script runs one script. What it returns is what went wrong.
func (r *regress) script(ctx context.Context, s regressScript) string {
	obj := filepath.Join(r.shared, s.name)
	// A mount namespace of its own, in which the folder is the twin's. It ends
	// with the last process in it.
	const enter = `mount --bind "$1" "$2" && mount --bind "$3" "$4" && mkdir "$5" && cd "$5" &&
		cp -p "$6/netcat" "$6/modpipe" "$6/mkdtemp" "$8/ssh-ed25519" "$8/ssh-ed25519.pub" . && exec sh "$6/test-exec.sh" "$5" "$6/$7.sh"`
	args := []string{
		"unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh",
		r.inTwin, r.shared, r.home, env(r.env, "HOME"), obj, r.scripts, s.name, r.bin,
	}
	types, inside := hostKey, ""
	if strings.HasPrefix(s.name, "putty") {
		types += " ssh-rsa" // the only one that they make PuTTY's form of
	}
	if s.inside {
		args, inside = append([]string{"nsenter", "--net", "--target", r.agent}, args...), "yes"
	}
	ctx, cancel := context.WithTimeout(ctx, regressTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(slices.Clone(r.env), "TEST_SSH_PORT="+r.port, "OBJ="+obj, "BUILDDIR="+r.scripts, "TEST_SHELL=sh", "SUDO=",
		"TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_SSH="+r.bin+"/ssh", "TEST_SSH_SSHD="+r.bin+"/sshd", "TEST_SSH_SCP="+r.bin+"/scp",
		"TEST_SSH_SFTPSERVER="+r.bin+"/sftp-server", "TEST_SSH_PLINK="+r.bin+"/plink", "TEST_SSH_PUTTYGEN=puttygen",
		"TEST_SSH_IPV6=yes", "TEST_SSH_ECC=yes", "REGRESS_KEYS="+types, "REGRESS_INSIDE="+inside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for what it leaves in the background
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if (err == nil || errors.Is(err, exec.ErrWaitDelay)) && !bytes.Contains(out, []byte("SKIPPED")) {
		return ""
	}
	return fmt.Sprintf("%v after %.1f s\n%s\n%s", err, time.Since(begun).Seconds(), clip(string(out)), r.log(s.name))
}

// log is the end of what the script's programs have logged about its failures.
func (r *regress) log(name string) string {
	var text strings.Builder
	for _, file := range []string{"failed-regress.log", "failed-ssh.log"} {
		f, err := os.Open(filepath.Join(r.inTwin, name, file))
		if err != nil {
			continue
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		const most = 6000
		fmt.Fprintf(&text, "--- %s %v\n%s\n", file, err, b[max(0, len(b)-most):])
	}
	return text.String()
}

// env is a variable's value.
func env(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}
