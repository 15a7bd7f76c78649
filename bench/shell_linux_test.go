package bench

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// shellRounds is how often the shell and busybox take turns.
const shellRounds = 5

// BenchmarkShell is the built-in shell beside busybox: the time to a prompt on
// a terminal, and two tools at work on many files.
func BenchmarkShell(b *testing.B) {
	ours := filepath.Join(b.TempDir(), "cloudssh-shell")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", ours, "github.com/cloudssh/cloudssh/cmd/cloudssh-shell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the shell: %v\n%s", err, out)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		b.Skip("no busybox on this machine")
	}
	for b.Loop() {
		compareShells(b, "built-in shell, prompt", 10,
			func() time.Duration { return toPrompt(b, ours, "-i") },
			func() time.Duration { return toPrompt(b, busybox, "sh", "-i") })
		for _, tool := range [][]string{
			{"ls", "-R", "/usr"},
			{"grep", "-r", "no such words here", "/usr/share/doc", "/usr/include"},
		} {
			compareShells(b, "built-in shell, "+strings.Join(tool[:2], " "), 1.5,
				func() time.Duration { return toEnd(b, ours, tool...) },
				func() time.Duration { return toEnd(b, busybox, tool...) })
		}
	}
}

// compareShells reports the median ratio of rounds in which both had their turn.
func compareShells(b *testing.B, about string, bar float64, ours, theirs func() time.Duration) {
	b.Helper()
	theirs() // the files are in memory
	var mine, other []float64
	for range shellRounds {
		m, o := ours(), theirs()
		mine, other = append(mine, m.Seconds()*1000), append(other, o.Seconds()*1000)
	}
	results.note(about, "busybox", number(median(other))+" ms", "")
	results.atMost(about, "cloudssh-shell", ratio(mine, other), bar, " x busybox", number(median(mine))+" ms")
}

// toPrompt is the time from the start of a shell to its prompt.
func toPrompt(b *testing.B, program string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PS1=ready>", "TERM=xterm", "HOME=" + b.TempDir(), "PATH=/usr/bin:/bin"}
	began := time.Now()
	tty, err := pty.Start(cmd)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill() // it may have ended
		cmd.Wait()         // it was killed
		tty.Close()
	}()
	var seen strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), "ready>") {
		n, err := tty.Read(buf)
		if err != nil {
			b.Fatalf("%s has shown no prompt: %v", program, err)
		}
		seen.Write(buf[:n])
	}
	return time.Since(began)
}

// toEnd is how long a tool takes, with its output read by us.
func toEnd(b *testing.B, program string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		b.Fatal(err)
	}
	cmd.Wait() // grep finds nothing, and says so
	return time.Since(began)
}
