package bench

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
)

// A lab is two hosts, or one with a loopback interface only, the servers on
// the far one and clients on the near one.
type lab struct {
	b         *testing.B
	dir       string
	program   string // this test's
	near, far *wan.Host
	link      *wan.Link // nil on loopback
	addr      string    // the far host's
	servers   []int     // process ids
	clients   int
	timeout   time.Duration // when the platform is said to cut requests
}

// loopback makes a lab of one host.
func loopback(b *testing.B) *lab {
	b.Helper()
	l := newLab(b)
	l.far, l.addr = l.near, "127.0.0.1"
	l.serve()
	return l
}

// over makes a lab of two hosts and a link.
func over(b *testing.B, shape wan.Shape) *lab {
	b.Helper()
	l := newLab(b)
	l.connect(shape)
	l.serve()
	return l
}

func (l *lab) connect(shape wan.Shape) {
	l.b.Helper()
	far, err := wan.NewHost()
	if err != nil {
		l.b.Fatal(err)
	}
	l.b.Cleanup(func() { far.Close() })
	link, err := wan.NewLink(l.near, far, shape)
	if err != nil {
		l.b.Fatal(err)
	}
	l.b.Cleanup(func() { link.Close() })
	l.far, l.link, l.addr = far, link, link.Far().String()
}

func newLab(b *testing.B) *lab {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("SKIPPED: needs root to make networks: run `make bench`")
	}
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	near, err := wan.NewHost()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close() })
	return &lab{b: b, dir: b.TempDir(), program: program, near: near}
}

// serve starts all servers on the far host.
func (l *lab) serve() {
	l.b.Helper()
	l.makeKeys()
	l.certify()
	l.startSSHD()
	for _, role := range []string{"agent", "limits"} {
		l.startServer(role, config{Dir: l.dir, RequestTimeout: l.timeout.Milliseconds()})
	}
}

func (l *lab) makeKeys() {
	l.b.Helper()
	for _, name := range []string{"host", "user"} {
		l.run(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.file(name)))
	}
}

func (l *lab) file(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) run(cmd *exec.Cmd) {
	l.b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		l.b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// certify makes a certificate for the far host, which clients trust as they
// trust the system's: by SSL_CERT_FILE.
func (l *lab) certify() {
	l.b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.ParseIP(l.addr)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		l.b.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.b.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate}, "tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(l.file(name), pem.EncodeToMemory(block), 0o600); err != nil {
			l.b.Fatal(err)
		}
	}
}

// start starts a process that ends with the benchmark.
func (l *lab) start(host *wan.Host, cmd *exec.Cmd) {
	l.b.Helper()
	if cmd.Env == nil {
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+l.file("tls.crt"))
	}
	if err := host.Start(cmd); err != nil {
		l.b.Fatal(err)
	}
	l.b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // killed, as was asked
	})
}

func (l *lab) startServer(role string, c config) {
	l.b.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		l.b.Fatal(err)
	}
	cmd := exec.Command(l.program, "role", role, string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // at its end the server ends
	if err != nil {
		l.b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.b.Fatal(err)
	}
	l.start(l.far, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		l.b.Fatalf("starting %s: %q, %v", role, line, err)
	}
	l.b.Cleanup(func() { in.Close() })
	l.servers = append(l.servers, cmd.Process.Pid)
}

// startSSHD runs OpenSSH's server with its default ciphers.
func (l *lab) startSSHD() {
	l.b.Helper()
	lines := []string{
		"Port " + portSSH, "ListenAddress 0.0.0.0", "HostKey " + l.file("host"), "AuthorizedKeysFile " + l.file("user.pub"),
		"PermitRootLogin prohibit-password", "StrictModes no", "UsePAM no", "PidFile none", "MaxSessions 100", "MaxStartups 100", "Subsystem sftp /usr/lib/openssh/sftp-server",
		// Debian's bash would read ~/.bashrc under sshd and not under our
		// agent: whatever this user has there is not to be measured.
		"SetEnv SHLVL=2",
	}
	if err := os.WriteFile(l.file("sshd_config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		l.b.Fatal(err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		l.b.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", l.file("sshd_config"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		l.b.Fatal(err)
	}
	l.start(l.far, cmd)
	log := bufio.NewReader(stderr)
	var said strings.Builder
	for !strings.Contains(said.String(), "Server listening") {
		line, err := log.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			l.b.Fatalf("sshd did not start: %s", said.String())
		}
	}
	go io.Copy(io.Discard, log) // sshd must not block on its log
	l.servers = append(l.servers, cmd.Process.Pid)
}

// cpu is the processor time of the servers and of their children that have
// ended.
func (l *lab) cpu() time.Duration {
	l.b.Helper()
	var total time.Duration
	for _, pid := range l.servers {
		l.await("the servers' children", func() bool { return !hasChildren(pid) })
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			l.b.Fatal(err)
		}
		// proc(5): utime, stime, cutime and cstime are fields 14 to 17, in
		// ticks of 10 ms; the name, which may hold anything, ends with ")".
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, field := range fields[11:15] {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				l.b.Fatal(err)
			}
			total += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return total
}

func hasChildren(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil && len(strings.TrimSpace(string(text))) > 0 {
			return true
		}
	}
	return false
}

// await waits until a condition holds.
func (l *lab) await(what string, holds func() bool) {
	l.b.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			l.b.Fatalf("waited 30 s for %s", what)
		}
	}
}
