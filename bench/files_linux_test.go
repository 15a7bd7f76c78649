package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
)

// bridge is ssh's ProxyCommand to our agent: the stream's bytes on the standard
// streams, moved in the pieces that `cloudssh proxy` moves.
func bridge(ctx context.Context, c config) error {
	conn, err := c.dialStream(ctx)
	if err != nil {
		return err
	}
	go func() {
		move(conn, os.Stdin) // an error is that of reading, too
		conn.CloseWrite()    // ssh has closed already
	}()
	return move(os.Stdout, conn)
}

func move(to io.Writer, from io.Reader) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sshOptions are what ssh, scp and rsync's ssh need to reach a peer; the host
// is root@ and the far host's address.
func (l *lab) sshOptions(p peer) []string {
	l.b.Helper()
	options := []string{
		"-F", "none", "-i", l.file("user"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "Port=" + portSSH,
	}
	if p.kind == "ssh" {
		return options
	}
	text, err := json.Marshal(config{URL: l.url(p.scheme, portAgent), Wire: p.wire})
	if err != nil {
		l.b.Fatal(err)
	}
	// A file and no argument: rsync splits its command at spaces.
	script := l.file("bridge-" + p.scheme + "-" + p.wire)
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec %s role bridge '%s'\n", l.program, text), 0o700); err != nil {
		l.b.Fatal(err)
	}
	return append(options, "-o", "ProxyCommand="+script)
}

// tasks is how long a peer took for something, round by round.
type tasks struct {
	seconds []float64
	cpus    []float64 // seconds of both ends
}

func (t *tasks) describe() string {
	return fmt.Sprintf("%s s (%s to %s), %s s of processors", number(median(t.seconds)),
		number(quantile(t.seconds, 0)), number(quantile(t.seconds, 100)), number(median(t.cpus)))
}

// timed runs a client on the near host.
func (l *lab) timed(t *tasks, args ...string) {
	l.b.Helper()
	before := l.cpu()
	cmd := exec.Command(args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	l.start(l.near, cmd)
	if err := cmd.Wait(); err != nil {
		l.b.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	took := time.Since(began)
	t.seconds = append(t.seconds, took.Seconds())
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + l.cpu() - before
	t.cpus = append(t.cpus, cpu.Seconds())
}

// scratch is a directory in memory, if the machine has one: disks are not what
// is measured.
func scratch(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cloudssh-bench") //nolint:usetesting // b.TempDir may be on a disk
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// benchGiB is what CLOUDSSH_BENCH_GIB says, 1 without it.
func benchGiB(b *testing.B) float64 {
	b.Helper()
	text := os.Getenv(transferVariable)
	if text == "" {
		return 1
	}
	gib, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatalf("reading %s: %v", transferVariable, err)
	}
	return gib
}

func makeFile(b *testing.B, path string, size int64) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// makeFiles makes n small files in a new directory.
func makeFiles(b *testing.B, dir string, n int) {
	b.Helper()
	for i := range n {
		path := filepath.Join(dir, strconv.Itoa(i/100), strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(strconv.Itoa(i)+"\n"), i%500), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// goSource is the source of Go's own library: a tree that everybody has here.
func goSource(b *testing.B) string {
	b.Helper()
	return filepath.Join(strings.TrimSpace(run(b, exec.Command("go", "env", "GOROOT"))), "src")
}

// copies copies something both ways with all peers in turn, and reports how
// our time compares. The copy of one direction is where the other starts.
func (l *lab) copies(about, from string, rounds int, bar float64, command func(p peer, from, to string) []string) {
	l.b.Helper()
	peers := []peer{openSSH(), ours()}
	dir := scratch(l.b)
	up, down := make([]tasks, len(peers)), make([]tasks, len(peers))
	for range rounds {
		for i, p := range peers {
			there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
			l.timed(&up[i], command(p, from, "root@"+l.addr+":"+there)...)
			l.timed(&down[i], command(p, "root@"+l.addr+":"+there, back)...)
			l.run(exec.Command("diff", "-r", "-q", "--no-dereference", from, back))
			l.run(exec.Command("rm", "-rf", there, back))
		}
	}
	for way, t := range map[string][]tasks{"up": up, "down": down} {
		x := ratio(t[0].seconds, t[1].seconds) // rates are the other way round
		results.note(about+", "+way, "OpenSSH over TCP", t[0].describe(), "")
		results.atLeast(about+", "+way, "cloudssh", x, bar, " x OpenSSH", t[1].describe())
		l.b.ReportMetric(x, strings.NewReplacer(",", "", "'", "", " ", "-").Replace("x-openssh "+about+" "+way))
	}
}

func (l *lab) scp(p peer, from, to string) []string {
	return append(append([]string{"scp", "-q", "-r"}, l.sshOptions(p)...), from, to)
}

// rsync keeps what -a keeps; a directory's slash at the end means its contents.
func (l *lab) rsync(p peer, from, to string) []string {
	return []string{"rsync", "-a", "-e", "ssh " + strings.Join(l.sshOptions(p), " "), from + "/", to + "/"}
}

// BenchmarkFiles copies files on loopback, where processor time counts.
func BenchmarkFiles(b *testing.B) {
	gib := benchGiB(b)
	l := loopback(b)
	dir := scratch(b)
	makeFile(b, filepath.Join(dir, "big"), int64(gib*(1<<30)))
	makeFiles(b, filepath.Join(dir, "small"), 10_000)
	for b.Loop() {
		l.copies(fmt.Sprintf("scp, %s GiB", number(gib)), filepath.Join(dir, "big"), 3, 0.7, l.scp)
		l.copies("scp, 10,000 small files", filepath.Join(dir, "small"), 2, 0.7, l.scp)
		l.copies("rsync, Go's source", goSource(b), 3, 0.7, l.rsync)
	}
}

// BenchmarkFilesFar copies over 50 ms there and back. What scp asks one file
// after the other takes as long with anybody, so a few do.
func BenchmarkFilesFar(b *testing.B) {
	const rtt = 50 * time.Millisecond
	gib := benchGiB(b) / 4
	l := over(b, wan.Shape{Delay: rtt / 2})
	dir := scratch(b)
	makeFile(b, filepath.Join(dir, "big"), int64(gib*(1<<30)))
	makeFiles(b, filepath.Join(dir, "small"), 30)
	for b.Loop() {
		l.copies(fmt.Sprintf("scp, %s GiB, 50 ms", number(gib)), filepath.Join(dir, "big"), 3, 0.9, l.scp)
		l.copies("scp, 30 small files, 50 ms", filepath.Join(dir, "small"), 2, 0.9, l.scp)
		l.copies("rsync, Go's source, 50 ms", goSource(b), 3, 0.9, l.rsync)
	}
}
