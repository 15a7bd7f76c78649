package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloudssh/cloudssh/internal/cli"
)

// TestMain makes the test binary cloudssh itself, so that the scripts run what
// users run.
func TestMain(m *testing.M) {
	testscript.Main(withState{m}, map[string]func(){
		"cloudssh": func() { os.Exit(cli.Main("test", os.Args[1:])) }, //nolint:forbidigo // this is cloudssh's main
	})
}

// sharedState is the state folder of the tests' emulators: an image is
// unpacked once for all of them. What they leave in it is looked for.
var sharedState string

const noRaceSleep = "atexit_sleep_ms=0"

// withState makes sharedState for the tests, not for the commands they run.
type withState struct{ m *testing.M }

func (w withState) Run() int {
	dir, err := os.MkdirTemp("", "cloudssh-e2e-")
	if err != nil {
		panic(err)
	}
	sharedState = dir
	// A program with the race detector sleeps a second before it ends, and
	// hundreds of them run here.
	if err := os.Setenv("GORACE", noRaceSleep); err != nil {
		panic(err)
	}
	scriptPath = os.Getenv("PATH")
	if err := quicker(dir); err != nil {
		panic(err)
	}
	code := w.m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	return code
}

// scriptPath is the PATH of scripts. What they call cloudssh is this test's own
// program, with the race detector if the test has it.
var scriptPath string

// quicker puts cloudssh first into the PATH of all tests but the scripts, as it
// is released: without the race detector, which takes three times the CPU, and
// with what it carries beside it instead of compiled at every start.
// CLOUDSSH_TEST_RACED=1 leaves all to the test's own program.
func quicker(dir string) error {
	if os.Getenv("CLOUDSSH_TEST_RACED") != "" {
		return nil
	}
	bin := filepath.Join(dir, "bin")
	overlay, err := withoutEmbedded(dir)
	if err != nil {
		return err
	}
	for name, source := range map[string]string{
		"cloudssh": "cmd/cloudssh", "cloudssh-agent-linux-amd64": "cmd/cloudssh-agent",
		"cloudssh-shell-linux-amd64": "cmd/cloudssh-shell", "hello-linux-amd64": "images/hello",
	} {
		build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-ldflags", "-s -w -X main.version=test", "-o", filepath.Join(bin, name), "./"+source)
		build.Dir = filepath.Join("..", "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return os.Setenv("PATH", bin+string(filepath.ListSeparator)+scriptPath)
}

// withoutEmbedded writes an overlay for go build in which the programs are not
// there that `make embed` may have left in the checkout: they would come first.
func withoutEmbedded(dir string) (string, error) {
	left, err := filepath.Glob(filepath.Join("..", "..", "images", "bin", "*.gz"))
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, file := range left {
		if file, err = filepath.Abs(file); err != nil {
			return "", err
		}
		replace[file] = "" // not there
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// TestScripts runs testdata/script: every command, against an emulator whose
// containers run in runc.
func TestScripts(t *testing.T) {
	needRuntime(t)
	t.Cleanup(func() {
		for len(unclean) > 0 {
			t.Error(<-unclean)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"emulator": cmdEmulator,
			"exits":    cmdExits,
		},
	})
}

// needRuntime skips, loudly, where no container can run.
func needRuntime(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: end-to-end tests run containers, which needs root: run `make test`")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: end-to-end tests need runc: apt-get install runc, or run `make test`")
	}
}

// setup gives a script its own home and a state folder for its emulators.
func setup(e *testscript.Env) error {
	for _, kv := range []string{
		"HOME=" + e.WorkDir,
		"PATH=" + scriptPath,
		"XDG_CONFIG_HOME=" + filepath.Join(e.WorkDir, ".config"),
		"XDG_CACHE_HOME=" + sharedState,
		"CLOUDSDK_CONFIG=" + filepath.Join(e.WorkDir, ".gcloud"),
		"STATE=" + sharedState,
		"GOMODCACHE=" + goEnv("GOMODCACHE"),
		"GOCACHE=" + goEnv("GOCACHE"),
		"NO_COLOR=1",
		"GORACE=" + noRaceSleep,
	} {
		k, v, _ := strings.Cut(kv, "=")
		e.Setenv(k, v)
	}
	return nil
}

func goEnv(name string) string {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(out))
}

// unclean holds what the emulators of scripts did at their end: by then a
// script cannot fail any more.
var unclean = make(chan string, 100)

// cmdEmulator starts `cloudssh emulator ARGS` and exports what it prints, as a
// user's shell would. It is stopped, and must have cleaned up, at the end.
func cmdEmulator(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("emulator does not take !")
	}
	exe, err := exec.LookPath("cloudssh")
	ts.Check(err)
	args = append([]string{"emulator", "--listen", "127.0.0.1:0", "--state-dir", ts.Getenv("STATE")}, args...)
	cmd := exec.Command(exe, args...)
	cmd.Env = environ(ts)
	logFile, err := os.Create(ts.MkAbs("emulator.log"))
	ts.Check(err)
	cmd.Stderr = logFile
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	starting()
	if err := cmd.Start(); err != nil {
		stopped()
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			unclean <- fmt.Sprintf("%s: the emulator did not stop cleanly: %v\n%s", ts.Name(), err, ts.ReadFile("emulator.log"))
		}
		if left := stopped(); len(left) > 0 {
			unclean <- fmt.Sprintf("%s: the emulator left behind: %q", ts.Name(), left)
		}
	})
	exports := 0
	lines := bufio.NewScanner(stdout)
	for exports < 5 && lines.Scan() {
		k, v, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		if !ok {
			ts.Fatalf("emulator printed %q", lines.Text())
		}
		ts.Setenv(k, v)
		exports++
	}
	if exports < 5 {
		ts.Fatalf("the emulator did not become ready:\n%s", ts.ReadFile("emulator.log"))
	}
}

// environ is the script's environment.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, k := range []string{
		"HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CLOUDSDK_CONFIG", "GOMODCACHE", "GOCACHE", "NO_COLOR", "PATH", "TMPDIR", "WORK", "GORACE",
	} {
		env = append(env, k+"="+ts.Getenv(k))
	}
	return env
}

// cmdExits runs a command and demands its exit status: exits N COMMAND...
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// emulators counts those that run in sharedState. None starts while what the
// last one left is looked for.
var emulators struct {
	sync.Mutex
	count int
}

// starting notes that an emulator is about to start.
func starting() {
	emulators.Lock()
	defer emulators.Unlock()
	emulators.count++
}

// stopped notes that an emulator has ended and, when it was the last, returns
// what they left behind: mounts, the namespaces' among them, and containers.
func stopped() []string {
	emulators.Lock()
	defer emulators.Unlock()
	if emulators.count--; emulators.count > 0 {
		return nil
	}
	left := mountsBelow(sharedState)
	run, err := filepath.Glob(filepath.Join(sharedState, "run", "*", "*", "*"))
	if err != nil {
		left = append(left, err.Error())
	}
	return append(left, run...)
}

func mountsBelow(dir string) []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(string(b), "\n")
	return slices.DeleteFunc(lines, func(l string) bool {
		fields := strings.Fields(l)
		return len(fields) < 5 || !strings.HasPrefix(fields[4], dir+"/")
	})
}
