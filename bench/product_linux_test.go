package bench

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// endless reads zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkExecCat pipes 256 MiB through `cat` and back, the time of the
// connection included, in turn with ssh.
func BenchmarkExecCat(b *testing.B) {
	const size = 256 << 20
	r := newRig(b)
	r.twin(b)
	through := func(cmd *exec.Cmd) time.Duration {
		var n counter
		cmd.Stdin, cmd.Stdout = io.LimitReader(endless{}, size), &n
		began := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		if n != size {
			b.Fatalf("%v returned %d bytes, want %d", cmd.Args, n, size)
		}
		return time.Since(began)
	}
	var ours, theirs []time.Duration
	for b.Loop() {
		for range rounds {
			ours = append(ours, through(r.ours("--exec", "cat")))
			theirs = append(theirs, through(r.theirs("cat")))
		}
	}
	b.ReportMetric(size/1e6/median(ours).Seconds(), "MB/s-cloudssh")
	b.ReportMetric(size/1e6/median(theirs).Seconds(), "MB/s-openssh")
	b.ReportMetric(median(theirs).Seconds()/median(ours).Seconds(), "x-openssh")
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// BenchmarkKeystroke types into `cat` on a remote terminal and times the echo.
func BenchmarkKeystroke(b *testing.B) {
	r := newRig(b)
	r.twin(b)
	remote := "stty raw -echo; printf READY; exec cat"
	var ours, theirs []time.Duration
	for b.Loop() {
		for range rounds {
			ours = append(ours, echoes(b, r.ours("--tty", "--exec", remote))...)
			theirs = append(theirs, echoes(b, r.theirs("-tt", remote))...)
		}
	}
	for name, d := range map[string][]time.Duration{"cloudssh": ours, "openssh": theirs} {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds()), "us-p50-"+name)
		b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), "us-p99-"+name)
	}
	b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-openssh-p50")
}

// echoes runs cmd in a pseudo-terminal and times 200 keystrokes.
func echoes(b *testing.B, cmd *exec.Cmd) []time.Duration {
	b.Helper()
	t, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	readUntil(b, t, "READY")
	buf := make([]byte, 64)
	var times []time.Duration
	for i := range 200 {
		key := []byte{byte('a' + i%26)}
		began := time.Now()
		if _, err := t.Write(key); err != nil {
			b.Fatal(err)
		}
		n, err := t.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(began))
		if !bytes.Equal(buf[:n], key) {
			b.Fatalf("typed %q, saw %q", key, buf[:n])
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed, as was asked
	return times
}

func readUntil(b *testing.B, t io.Reader, want string) {
	b.Helper()
	var seen []byte
	for buf := make([]byte, 1024); !bytes.Contains(seen, []byte(want)); {
		n, err := t.Read(buf)
		if err != nil {
			b.Fatalf("waiting for %q after %q: %v", want, seen, err)
		}
		seen = append(seen, buf[:n]...)
	}
}

// step is a finished step in the plain progress report.
var step = regexp.MustCompile(`(?m)^\S+ (.+?) (?:\.\.\. )?(?:done )?\((\d[\d.]*m?s)\)$`)

// BenchmarkTimeToPrompt is `cloudssh hello` from nothing to the first output,
// by phase, beside the time the emulator needs for the same service.
func BenchmarkTimeToPrompt(b *testing.B) {
	r := newRig(b)
	var total, first, deploy []time.Duration
	phases := map[string][]time.Duration{}
	for b.Loop() {
		for range rounds {
			began := time.Now()
			cmd := exec.Command(r.cloudssh, "hello", "--exec", "printf READY")
			cmd.Env = r.env
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			readUntil(b, out, "READY")
			first = append(first, time.Since(began))
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
			total = append(total, time.Since(began))
			for _, m := range step.FindAllStringSubmatch(stderr.String(), -1) {
				d, err := time.ParseDuration(m[2])
				if err != nil {
					b.Fatal(err)
				}
				phases[m[1]] = append(phases[m[1]], d)
			}
			deploy = append(deploy, r.deployAgain(b))
		}
	}
	for name, d := range phases {
		b.ReportMetric(float64(median(d).Milliseconds()), "ms-"+strings.ReplaceAll(name, " ", "-"))
	}
	b.ReportMetric(float64(median(first).Milliseconds()), "ms-to-first-output")
	b.ReportMetric(float64(median(total).Milliseconds()), "ms-with-teardown")
	b.ReportMetric(float64(median(deploy).Milliseconds()), "ms-same-service-without-us")
}

// deployAgain has the emulator create a service of the same image by itself.
func (r *rig) deployAgain(b *testing.B) time.Duration {
	b.Helper()
	var registry string
	for _, kv := range r.env {
		if v, ok := strings.CutPrefix(kv, "RUN_EMULATOR_REGISTRY="); ok {
			registry = v
		}
	}
	var project string
	for _, kv := range r.env {
		if v, ok := strings.CutPrefix(kv, "CLOUDSDK_CORE_PROJECT="); ok {
			project = v
		}
	}
	r.deployed++
	cmd := exec.Command(r.cloudssh, "emulator", "deploy", fmt.Sprintf("again-%d", r.deployed), "--image", fmt.Sprintf("%s/%s/hello", registry, project))
	cmd.Env = r.env
	began := time.Now()
	run(b, cmd)
	return time.Since(began)
}
