package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// noise is that many bytes that do not compress, the same for the same seed.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func checksum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func (p *platform) testCommand(t *testing.T) {
	r := p.run(t, "ssh", hello, "echo out; echo err >&2; exit 7").expect(t, 7)
	if r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	p.run(t, "ssh", tools, "kill -TERM $$").expect(t, 255)
	p.run(t, "ssh", hello, "no-such-program").expect(t, 127).expectSaid(t, "not found")
	p.run(t, "ssh", "-T", hello, "tty; true").expectOut(t, "not a tty\n")
	p.runWith(t, strings.NewReader("echo $((6*7))\n exit 3\n"), "ssh", "-T", hello).expect(t, 3).expectSaid(t, "42\n")
}

func (p *platform) testStdin(t *testing.T) {
	b := noise(1, 8<<20)
	p.runWith(t, bytes.NewReader(b), "ssh", hello, "sha256sum").expectOut(t, checksum(b)+"  -\n")
	r := p.runWith(t, bytes.NewReader(b), "ssh", hello, "cat").expect(t, 0).expectQuiet(t)
	if checksum([]byte(r.stdout)) != checksum(b) {
		t.Errorf("cat gave %d bytes back, of %d, or others", len(r.stdout), len(b))
	}
	p.runWith(t, bytes.NewReader(b), "ssh", "-o", "RekeyLimit=1M", "-c", "aes128-ctr", hello, "sha256sum").expectOut(t, checksum(b)+"  -\n")
	p.runWith(t, bytes.NewReader(b), "ssh", hello, "head -c 3 | wc -c").expectOut(t, "3\n")
	p.run(t, "ssh", "-n", hello, "cat").expectOut(t, "")
}

func (p *platform) testEnvironment(t *testing.T) {
	p.run(t, "ssh", "-o", "SetEnv=GREETING=hi FAREWELL=bye", hello, "echo $GREETING $FAREWELL").expectOut(t, "hi bye\n")
	p.run(t, "env", "GREETING=a b", "ssh", "-o", "SendEnv=GREET*", hello, `echo "$GREETING"`).expectOut(t, "a b\n")
	p.run(t, "ssh", hello, "echo $K_SERVICE $PORT $HOME").expectSaid(t, "hello-ssh 8080 /")
}

// terminal is a program of the user's on a pseudo-terminal.
func (p *platform) terminal(t *testing.T, size pty.Winsize, name string, args ...string) (typed *os.File, said *watched, wait func() int) {
	t.Helper()
	cmd := p.command(t.Context(), name, args...)
	typed, err := pty.StartWithSize(cmd, &size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = typed.Close() })
	said = &watched{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := typed.Read(b)
			_, _ = said.Write(b[:n])
			if err != nil {
				return // EIO: the last user of the terminal has gone
			}
		}
	}()
	return typed, said, func() int {
		<-read
		_ = cmd.Wait() // the status is what counts
		return cmd.ProcessState.ExitCode()
	}
}

func typeIn(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func (p *platform) testPty(t *testing.T) {
	p.run(t, "ssh", "-tt", hello, "tty").expect(t, 0).expectSaid(t, "/dev/pts/")
	typed, said, wait := p.terminal(t, pty.Winsize{Rows: 33, Cols: 101}, "ssh", "-tt", hello)
	typeIn(t, typed, "stty size; echo $TERM\n")
	said.await(t, "33 101\r\nxterm")
	if err := pty.Setsize(typed, &pty.Winsize{Rows: 44, Cols: 122}); err != nil {
		t.Fatal(err)
	}
	typeIn(t, typed, "trap : WINCH; until stty size | grep -q '44 122'; do sleep 0.1; done; echo si''zed\n")
	said.await(t, "sized")
	typeIn(t, typed, "sh -c 'echo be\"\"gun; exec cat'\n")
	said.await(t, "begun")
	said.forget()
	typeIn(t, typed, "\x03")
	said.await(t, "# ") // what is typed with the interrupt is dropped with it
	typeIn(t, typed, "echo int''errupted\n")
	said.await(t, "interrupted")
	typeIn(t, typed, "exit 7\n")
	if code := wait(); code != 7 {
		t.Errorf("exit status %d, want 7; said: %s", code, said)
	}
}

// testAliases names the service with its region and project.
func (p *platform) testAliases(t *testing.T) {
	for _, host := range []string{hello + ".us-central1", hello + ".us-central1.cloudssh-demo"} {
		p.run(t, "ssh", host, "echo $K_SERVICE").expectOut(t, "hello-ssh\n")
	}
	p.cloudssh(t, "config", "write", "--service", "hello").expect(t, 0) // a host by name, for editors
	p.run(t, "ssh", hello, "echo $K_SERVICE").expectOut(t, "hello-ssh\n")
	p.cloudssh(t, "config", "write").expect(t, 0)
	p.run(t, "ssh", hello+".europe-west1", "true").expect(t, 255).expectSaid(t, "europe-west1")
}

func (p *platform) testMultiplexing(t *testing.T) {
	socket := filepath.Join(p.dir, "mux")
	ssh := func(args ...string) result { return p.run(t, "ssh", append([]string{"-S", socket}, args...)...) }
	ssh("-M", "-f", "-N", hello).expect(t, 0)
	ssh("-O", "check", hello).expect(t, 0).expectSaid(t, "Master running")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := noise(byte(i), 1<<20)
			r := p.runWith(t, bytes.NewReader(b), "ssh", "-S", socket, hello, fmt.Sprintf("sha256sum; exit %d", i))
			if r.code != i || r.stdout != checksum(b)+"  -\n" || r.stderr != "" {
				t.Errorf("session %d: status %d, stdout %q, stderr %q", i, r.code, r.stdout, r.stderr)
			}
		})
	}
	wg.Wait()
	port := freePort(t)
	forward := "127.0.0.1:" + port + ":127.0.0.1:" + appPort
	ssh("-O", "forward", "-L", forward, hello).expect(t, 0)
	p.run(t, "curl", "-sS", "http://127.0.0.1:"+port).expect(t, 0).expectSaid(t, "Hello from hello-ssh")
	ssh("-O", "cancel", "-L", forward, hello).expect(t, 0)
	p.run(t, "curl", "-sS", "http://127.0.0.1:"+port).expect(t, 7)
	r := ssh("-O", "forward", "-R", "0:127.0.0.1:"+port, hello).expect(t, 0)
	if port := strings.TrimSpace(r.stdout); port == "" || strings.Trim(port, "0123456789") != "" {
		t.Errorf("-O forward -R 0: names the port %q", port)
	}
	p.exitMaster(t, socket, hello)
	ssh("-O", "check", hello).expect(t, 255)
}

// testCommandLine opens OpenSSH's ~C line and adds a forward there.
func (p *platform) testCommandLine(t *testing.T) {
	typed, said, wait := p.terminal(t, pty.Winsize{Rows: 24, Cols: 80}, "ssh", "-o", "EnableEscapeCommandline=yes", hello)
	typeIn(t, typed, "echo re''ady\n")
	said.await(t, "ready")
	typeIn(t, typed, "\r~C")
	said.await(t, "ssh> ")
	port := freePort(t)
	typeIn(t, typed, "-L 127.0.0.1:"+port+":127.0.0.1:"+appPort+"\r")
	p.run(t, "curl", "-sS", "--retry", "50", "--retry-connrefused", "--retry-delay", "1", "http://127.0.0.1:"+port).expect(t, 0).expectSaid(t, "Hello from hello-ssh")
	typeIn(t, typed, "\r~.")
	if code := wait(); code != 255 {
		t.Errorf("exit status %d after ~., want 255; said: %s", code, said)
	}
}

// listIdentities asks the agent at SSH_AUTH_SOCK for its keys, as the protocol
// of OpenSSH's PROTOCOL.agent has it, and prints their comments.
const listIdentities = `
import os, socket, struct
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["SSH_AUTH_SOCK"])
s.sendall(struct.pack(">IB", 1, 11))
f = s.makefile("rb")
n, = struct.unpack(">I", f.read(4))
b = f.read(n)
keys, = struct.unpack(">I", b[1:5])
b = b[5:]
def string(b):
    n, = struct.unpack(">I", b[:4])
    return b[4:4 + n], b[4 + n:]
for _ in range(keys):
    blob, b = string(b)
    comment, b = string(b)
    print(comment.decode())
`

func (p *platform) testAgentForwarding(t *testing.T) {
	socket, key := filepath.Join(p.dir, "agent"), filepath.Join(p.dir, "agent-key")
	p.run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a key of the user's", "-f", key).expect(t, 0)
	said, end := p.background(t, "ssh-agent", "-D", "-a", socket)
	defer end()
	said.await(t, "SSH_AUTH_SOCK")
	p.run(t, "env", "SSH_AUTH_SOCK="+socket, "ssh-add", "-q", key).expect(t, 0)
	list := "python3 -c '" + listIdentities + "'"
	p.run(t, "env", "SSH_AUTH_SOCK="+socket, "ssh", "-A", tools, list).expectOut(t, "a key of the user's\n")
	p.run(t, "env", "SSH_AUTH_SOCK="+socket, "ssh", "-a", tools, "echo ${SSH_AUTH_SOCK-none}").expectOut(t, "none\n")
}

// given are the ports that freePort has returned.
var given sync.Map

// freePort is a port that nobody listens on just now, and that nobody is given
// who asks the kernel for any: it lies below the kernel's range.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, twice := given.LoadOrStore(port, true); !twice {
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
