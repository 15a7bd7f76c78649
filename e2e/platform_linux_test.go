package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// workDir is where what is built once is kept. Its path is short, because Unix
// sockets lie in it, and not below the folder that the user's home lies over.
var workDir string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code) //nolint:forbidigo // this is a main
}

func runTests(m *testing.M) (code int, err error) {
	workDir, err = os.MkdirTemp("/tmp", "e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(workDir)) }()
	return m.Run(), nil
}

// platform is a local Cloud Run with the services hello and tools, and a user
// with an empty home folder. At the end of the test nothing may be left of it.
type platform struct {
	program string   // cloudssh
	home    string   // the user's home folder, as this process sees it
	dir     string   // a folder for the test's files, the same in every process
	env     []string // of the user's commands
	holder  int      // a process in the mount namespace of the user
	bin     string   // is first in the user's PATH
}

const (
	// commandTimeout is longer than any command of these tests takes, on a busy
	// machine, too.
	commandTimeout = 5 * time.Minute
	// patience is for what is about to happen.
	patience = 2 * time.Minute
)

// newPlatform starts a platform for the duration of a test.
func newPlatform(t *testing.T) *platform {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: end-to-end tests run containers, which needs root: run `make e2e-clients`")
	}
	program, err := cloudsshProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(workDir, "") //nolint:usetesting // a short path is the point
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{program: program, bin: filepath.Dir(program), home: filepath.Join(dir, "home"), dir: filepath.Join(dir, "t")}
	for _, d := range []string{p.home, p.dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "state")
	t.Cleanup(func() { expectNoContainer(t, dir) })
	exports := startEmulator(t, program, p.home, state)
	t.Cleanup(func() { p.expectNoProcess(t) })
	p.enter(t, exports)
	t.Cleanup(func() { p.expectNoTwin(t) })
	file, err := toolsTarball()
	if err != nil {
		t.Fatal(err)
	}
	p.cloudssh(t, "emulator", "deploy", "tools", "--tarball", file).expect(t, 0)
	return p
}

// startEmulator runs `cloudssh emulator` and returns what it exports.
func startEmulator(t *testing.T, program, home, state string) []string {
	t.Helper()
	cmd := exec.Command(program, "emulator", "--listen", "127.0.0.1:0", "--state-dir", state)
	cmd.Env = append(os.Environ(), "HOME="+home, "NO_COLOR=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var said watched
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stopping the emulator: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the emulator: %v\n%s", err, said.String())
		}
	})
	var exports []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		export, ok := strings.CutPrefix(lines.Text(), "export ")
		if !ok {
			t.Fatalf("the emulator says %q", lines.Text())
		}
		exports = append(exports, export)
		if strings.HasPrefix(export, "RUN_EMULATOR_REGISTRY=") {
			return exports // the last
		}
	}
	t.Fatalf("the emulator ended: %s", said.String())
	return nil
}

// enter makes the mount namespace of the user: OpenSSH asks the password
// database for the home folder, not HOME, so that the empty one has to be at
// that path.
func (p *platform) enter(t *testing.T, exports []string) {
	t.Helper()
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" "$1" && echo && exec cat`, p.home, who.HomeDir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("leaving the namespace of the user: %v", err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("putting %s over %s: %v", p.home, who.HomeDir, err)
	}
	p.holder = cmd.Process.Pid
	p.env = append([]string{
		"HOME=" + who.HomeDir, "USER=" + who.Username, "LOGNAME=" + who.Username, "SHELL=/bin/sh",
		"PATH=" + p.bin + ":/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", // the distribution's clients
		"LANG=C.UTF-8", "TERM=xterm", "NO_COLOR=1", "TMPDIR=" + p.dir,
	}, exports...)
}

// command is a command of the user's.
func (p *platform) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	// nsenter and env become the program, so that signals reach it.
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--mount", "--target", strconv.Itoa(p.holder), "--", "env", "--chdir=" + p.dir, name}, args...)...)
	cmd.Env = p.env
	cmd.WaitDelay = 30 * time.Second // for what a program leaves in the background
	return cmd
}

// run runs a command of the user's to its end, without input.
func (p *platform) run(t *testing.T, name string, args ...string) result {
	t.Helper()
	return p.runWith(t, nil, name, args...)
}

// runWith runs a command of the user's to its end.
func (p *platform) runWith(t *testing.T, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := p.command(ctx, name, args...)
	cmd.Stdin = stdin
	return finish(t, cmd)
}

// finish runs cmd. Its output goes to files, because a program that goes on in
// the background keeps a pipe open.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(workDir, "out-")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err := cmd.Run()
	r := result{args: cmd.Args[min(6, len(cmd.Args)-1):], code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("running %q: %v", r.args, err)
	}
	for i, text := range []*string{&r.stdout, &r.stderr} {
		b, err := io.ReadAll(io.NewSectionReader(files[i], 0, 1<<40))
		if err != nil {
			t.Fatal(err)
		}
		*text = string(b)
	}
	return r
}

// cloudssh runs cloudssh to its end.
func (p *platform) cloudssh(t *testing.T, args ...string) result {
	t.Helper()
	return p.run(t, p.program, args...)
}

// result is how a command ended.
type result struct {
	args           []string
	code           int
	stdout, stderr string
}

// expect ends the test unless the command ended with this status.
func (r result) expect(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("%q: exit status %d, want %d\nstdout: %s\nstderr: %s", r.args, r.code, code, clip(r.stdout), clip(r.stderr))
	}
	return r
}

// expectOut ends the test unless the command succeeded, printed exactly out
// and had nothing to say on stderr.
func (r result) expectOut(t *testing.T, out string) {
	t.Helper()
	r.expect(t, 0).expectQuiet(t)
	if r.stdout != out {
		t.Fatalf("%q printed %q, want %q", r.args, clip(r.stdout), clip(out))
	}
}

// expectQuiet ends the test if the command had something to say on stderr.
func (r result) expectQuiet(t *testing.T) result {
	t.Helper()
	if r.stderr != "" {
		t.Fatalf("%q said on stderr: %s", r.args, clip(r.stderr))
	}
	return r
}

// expectSaid ends the test unless stdout or stderr holds the text.
func (r result) expectSaid(t *testing.T, text string) result {
	t.Helper()
	if !strings.Contains(r.stdout+r.stderr, text) {
		t.Fatalf("%q did not say %q\nstdout: %s\nstderr: %s", r.args, text, clip(r.stdout), clip(r.stderr))
	}
	return r
}

func clip(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most/2] + " [...] " + s[len(s)-most/2:]
	}
	return s
}

// twins are the names of the twins there are.
func (p *platform) twins(t *testing.T) []string {
	t.Helper()
	// The test may be over and its context with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
	defer cancel()
	r := finish(t, p.command(ctx, p.program, "list", "--format", "json"))
	r.expect(t, 0)
	var list []struct{ Name string }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("reading the list of twins %q: %v", r.stdout, err)
	}
	var names []string
	for _, twin := range list {
		names = append(names, twin.Name)
	}
	return names
}

func (p *platform) expectNoTwin(t *testing.T) {
	t.Helper()
	if names := p.twins(t); len(names) > 0 {
		t.Errorf("twins are left: %q", names)
	}
}

// expectNoProcess fails the test if a process of the user's goes on. Those in
// the background, such as guards, have a moment to see that they are done.
func (p *platform) expectNoProcess(t *testing.T) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		left := processes(t, func(dir string) bool {
			environ, err := os.ReadFile(filepath.Join(dir, "environ"))
			// What cannot be read has ended, or is not the user's.
			return err == nil && bytes.Contains(environ, []byte("TMPDIR="+p.dir+"\x00"))
		})
		if len(left) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Errorf("processes are left: %q", left)
			return
		}
	}
}

// expectNoContainer fails the test if a container of a stopped platform is
// left, or a mount in its folder.
func expectNoContainer(t *testing.T, folder string) {
	t.Helper()
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(b, []byte(folder)) {
		t.Errorf("mounts are left: %v\n%s", err, b)
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	left := processes(t, func(dir string) bool {
		ns, err := os.Readlink(filepath.Join(dir, "ns", "mnt"))
		if err != nil || ns == ours {
			return false
		}
		mounts, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		return err == nil && rootIsBelow(string(mounts), folder)
	})
	if len(left) > 0 {
		t.Errorf("containers are left: %q", left)
	}
}

// rootIsBelow says whether the root of a mount namespace is in a folder. That
// others of its mounts are says nothing: whoever makes a namespace, another
// package's test say, gets a copy of all mounts there are at the time.
func rootIsBelow(mountinfo, folder string) bool {
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" && strings.Contains(line, folder) {
			return true
		}
	}
	return false
}

// processes are the command lines of those whose folder below /proc fits.
func processes(t *testing.T, fits func(dir string) bool) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, dir := range dirs {
		if fits(dir) {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // empty if it ends now
			found = append(found, filepath.Base(dir)+" "+string(line))
		}
	}
	return found
}
