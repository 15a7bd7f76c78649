package sshconfig_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

// needSSH skips, loudly, where there is no OpenSSH to ask.
func needSSH(t *testing.T) string {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("SKIPPED: there is no ssh: apt-get install openssh-client")
	}
	return ssh
}

// lineNumber is where ssh says that a mistake is: that moves.
var lineNumber = regexp.MustCompile(`line \d+`)

// ask is all that ssh makes of a configuration for a host, mistakes included.
func ask(t *testing.T, ssh, text, host string) string {
	t.Helper()
	dir := t.TempDir()
	included, file := filepath.Join(dir, "included"), filepath.Join(dir, "config")
	text = strings.ReplaceAll(text, "INCLUDED", included)
	for name, text := range map[string]string{
		included: "Host otherhost\n    User quin\n    Port 29\nHost *\n    ServerAliveInterval 7\n", file: text,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(ssh, "-F", file, "-G", host).CombinedOutput()
	if err != nil {
		out = append(out, err.Error()...)
	}
	out = bytes.ReplaceAll(out, []byte(dir), []byte("DIR"))
	return lineNumber.ReplaceAllString(string(out), "line N")
}

// TestOtherHosts demands that nothing changes for hosts that are not ours, as
// OpenSSH reads the configuration.
func TestOtherHosts(t *testing.T) {
	ssh := needSSH(t)
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			with := put(t, k.text, block())
			others := []string{"otherhost"}
			if strings.Contains(k.text, "Match") {
				others = append(others, "git.corp", "example.com")
			}
			for _, host := range others {
				before, after := ask(t, ssh, k.text, host), ask(t, ssh, with, host)
				if !k.broken {
					if d := cmp.Diff(before, after); d != "" {
						t.Errorf("%s (-before +after):\n%s", host, d)
					}
				} else if !strings.Contains(before, "exit status") || !strings.Contains(after, "exit status") {
					t.Errorf("%s: ssh accepts it:\n%s\n%s", host, before, after)
				}
			}
		})
	}
}

// TestOurHosts demands that nothing that the user says for all hosts keeps ssh
// from reaching a twin.
func TestOurHosts(t *testing.T) {
	ssh := needSSH(t)
	const host = "cloudssh-hello.europe-west1.my-project"
	want := []string{
		"proxycommand /usr/local/bin/cloudssh proxy '%h' --host-prefix=cloudssh-", "host " + host, "hostname " + host, "port 22", "user cloudssh",
		"identitiesonly yes", "userknownhostsfile /home/me/.config/cloudssh/known_hosts", "stricthostkeychecking true",
		"connecttimeout 600", "serveraliveinterval 0", "pubkeyauthentication true", "proxyusefdpass no", "canonicalizehostname false",
	}
	for _, k := range kinds() {
		if k.broken || k.moved {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Split(ask(t, ssh, put(t, k.text, block()), host), "\n")
			says := map[string]bool{}
			first := ""
			for _, l := range got {
				says[l] = true
				if first == "" && strings.HasPrefix(l, "identityfile ") {
					first = l
				}
			}
			for _, l := range want {
				if !says[l] {
					t.Errorf("ssh does not say %q", l)
				}
			}
			if first != "identityfile /home/me/.config/cloudssh/id_ed25519" {
				t.Errorf("the first key is %q", first)
			}
		})
	}
	if got := ask(t, ssh, put(t, "", block()), "cloudssh-hello"); !strings.Contains(got, "\nhostkeyalias cloudssh-hello\n") {
		t.Errorf("a named host has no alias:\n%s", got)
	}
}

// argsProgram writes its arguments, one a line, beside itself.
const argsProgram = "#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >\"${0%/*}/args\"\n"

// odd is in the names of the folders: what shells and ssh read something into.
const odd = `it's a "q" $HOME $(touch x) %h %% ; & \ !x` + "`touch x`"

// stub puts argsProgram into an odd folder and makes a block for it.
func stub(t *testing.T) (dir string, b sshconfig.Block) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), odd)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "cloud ssh")
	if err := os.WriteFile(program, []byte(argsProgram), 0o700); err != nil {
		t.Fatal(err)
	}
	b = block()
	b.Command = []string{program, "proxy", sshconfig.HostName, "--reason=" + odd, "--config-dir="}
	b.IdentityFile, b.KnownHosts = filepath.Join(dir, "id"), filepath.Join(dir, "known_hosts")
	return dir, b
}

// arguments are those that the stub was called with.
func arguments(t *testing.T, dir string) []string {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
}

// TestQuoting has OpenSSH run a ProxyCommand with everything odd in it.
func TestQuoting(t *testing.T) {
	ssh := needSSH(t)
	for _, shell := range []string{"sh", "bash", "dash"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("SKIPPED: there is no %s", shell)
			}
			dir, b := stub(t)
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(put(t, "", b)), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(ssh, "-v", "-F", file, "cloudssh-Hello.r.p")
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "SHELL="+path)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("the stub is no SSH server")
			}
			want := []string{"proxy", "cloudssh-hello.r.p", "--reason=" + odd, "--config-dir="}
			if d := cmp.Diff(want, arguments(t, dir)); d != "" {
				t.Errorf("arguments (-want +got):\n%s\n%s", d, out)
			}
			if !strings.Contains(string(out), "identity file "+strings.ReplaceAll(b.IdentityFile, `\`, `\\`)+" type") {
				t.Errorf("ssh reads another key than %s:\n%s", b.IdentityFile, out)
			}
			checkEmpty(t, cmd.Dir)
		})
	}
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("a shell ran what it should not have: %v", left)
	}
}

// hostile are names of hosts that nobody would type.
var hostile = []string{
	"cloudssh-$(touch x)", "cloudssh-`touch x`", "cloudssh-;touch x", "cloudssh-'$(touch x)'", "cloudssh-'; touch x; '", "cloudssh-\"$(touch x)\"",
	"cloudssh-\ntouch x\n", "cloudssh-&touch x&", "cloudssh-|touch x", "cloudssh-\\'$(touch x)\\'", "cloudssh-x --config-dir=/tmp", "cloudssh-x\t>x",
}

// TestHostileNames runs what an old ssh would give to the shell: newer ones
// refuse such names themselves. Either the block is not for the name, or the
// name is one argument.
func TestHostileNames(t *testing.T) {
	dir, b := stub(t)
	ours := 0
	for _, name := range hostile {
		cmd := exec.Command(needSSH(t), "-F", "/dev/stdin", name)
		cmd.Dir = t.TempDir()
		cmd.Stdin = strings.NewReader(put(t, "", b))
		_ = cmd.Run() // it cannot succeed
		if matches(t, b, name) {
			ours++
			line := strings.NewReplacer("%%", "%", "%h", name).Replace(b.ProxyCommand())
			run := exec.Command("/bin/sh", "-c", "exec "+line)
			run.Dir = cmd.Dir
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("%q: %v\n%s", name, err, out)
			}
			if got := strings.Join(arguments(t, dir), "\n"); !strings.HasPrefix(got, "proxy\n"+name+"\n--reason=") {
				t.Errorf("%q: the arguments are %q", name, got)
			}
		}
		checkEmpty(t, cmd.Dir)
	}
	if ours == 0 || ours == len(hostile) {
		t.Errorf("the block is for %d of %d names", ours, len(hostile))
	}
}

// matches reports whether the block's ProxyCommand is for a name, by the rules
// of ssh_config: some pattern must match and none with !.
func matches(t *testing.T, b sshconfig.Block, name string) bool {
	t.Helper()
	text, err := b.Text()
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(text, "\n    ProxyCommand ")
	before, _, _ = strings.Cut(before, "\n    HostName ")
	_, patterns, _ := strings.Cut(before[strings.LastIndex(before, "\n"):], " ")
	ours := false
	for _, p := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(patterns, -1) {
		p, not := strings.CutPrefix(strings.Trim(p, `"`), "!")
		if regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*") + `$`).MatchString(name) {
			if not {
				return false
			}
			ours = true
		}
	}
	return ours
}
