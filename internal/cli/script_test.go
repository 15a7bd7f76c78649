package cli_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloudssh/cloudssh/internal/cli"
)

// TestMain makes the test binary cloudssh itself, so that the scripts run what
// users run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cloudssh": func() { os.Exit(cli.Main("test", os.Args[1:])) }, //nolint:forbidigo // this is cloudssh's main
	})
}

// TestScripts runs testdata/script: every command, against an emulator whose
// containers run in runc.
func TestScripts(t *testing.T) {
	needRuntime(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"emulator": cmdEmulator,
			"exits":    cmdExits,
			"clean":    cmdClean,
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
	state, err := os.MkdirTemp("", "cloudssh-e2e-")
	if err != nil {
		return err
	}
	e.Defer(func() { _ = os.RemoveAll(state) }) // an emulator that failed to clean up is reported by `clean`
	for _, kv := range []string{
		"HOME=" + e.WorkDir,
		"XDG_CONFIG_HOME=" + filepath.Join(e.WorkDir, ".config"),
		"XDG_CACHE_HOME=" + filepath.Join(e.WorkDir, ".cache"),
		"CLOUDSDK_CONFIG=" + filepath.Join(e.WorkDir, ".gcloud"),
		"STATE=" + state,
		"GOMODCACHE=" + goEnv("GOMODCACHE"),
		"GOCACHE=" + goEnv("GOCACHE"),
		"NO_COLOR=1",
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
	ts.Check(cmd.Start())
	ts.Setenv("EMULATOR_PID", strconv.Itoa(cmd.Process.Pid))
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
		_ = cmd.Wait()
		ts.Fatalf("the emulator did not become ready:\n%s", ts.ReadFile("emulator.log"))
	}
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			ts.Logf("emulator: %v\n%s", err, ts.ReadFile("emulator.log"))
			ts.Fatalf("the emulator did not stop cleanly")
		}
		if left := leftovers(ts.Getenv("STATE")); len(left) > 0 {
			ts.Fatalf("the emulator left behind: %q", left)
		}
	})
}

// environ is the script's environment.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, k := range []string{
		"HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CLOUDSDK_CONFIG", "GOMODCACHE", "GOCACHE", "NO_COLOR", "PATH", "TMPDIR", "WORK",
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

// cmdClean demands that no mount or namespace of the script's emulators is left.
func cmdClean(ts *testscript.TestScript, _ bool, _ []string) {
	if left := leftovers(ts.Getenv("STATE")); len(left) > 0 {
		ts.Fatalf("left behind: %q", left)
	}
}

// leftovers are the mounts below dir.
func leftovers(dir string) []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(string(b), "\n")
	return slices.DeleteFunc(lines, func(l string) bool {
		fields := strings.Fields(l)
		return len(fields) < 5 || !strings.HasPrefix(fields[4], dir)
	})
}
