package e2e

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// master opens a connection in the background with the forwards in args, and
// returns what ends it.
func (p *platform) master(t *testing.T, host string, args ...string) (end func()) {
	t.Helper()
	socket := filepath.Join(p.folder(t), "m")
	args = append([]string{"-f", "-N", "-M", "-S", socket, "-o", "ExitOnForwardFailure=yes"}, args...)
	p.run(t, "ssh", append(args, host)...).expect(t, 0)
	ended := false
	end = func() {
		if !ended {
			ended = true
			p.exitMaster(t, socket, host)
		}
	}
	t.Cleanup(end)
	return end
}

// exitMaster ends a connection in the background, and waits until its process has
// ended: it says that it exits a moment before it does.
func (p *platform) exitMaster(t *testing.T, socket, host string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
	defer cancel()
	ssh := func(command string) result {
		return finish(t, p.command(ctx, "ssh", "-S", socket, "-O", command, host)).expect(t, 0)
	}
	_, rest, _ := strings.Cut(ssh("check").stderr, "(pid=")
	pid, _, found := strings.Cut(rest, ")")
	if !found {
		t.Fatalf("ssh -O check does not tell the master's process: %q", rest)
	}
	ssh("exit").expectSaid(t, "Exit request sent")
	p.awaitEnd(t, pid)
}

// awaitEnd waits for the end of a process.
func (p *platform) awaitEnd(t *testing.T, pid string) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		// A process that has ended has no memory any more, whoever reaps it.
		if line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline")); err != nil || len(line) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("process %s goes on", pid)
		}
	}
}

// testBackgroundForward is what the README shows: the app on localhost.
func (p *platform) testBackgroundForward(t *testing.T) {
	port := freePort(t)
	end := p.master(t, hello, "-L", port+":localhost:"+appPort)
	addresses := []string{"127.0.0.1", "[::1]"}
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		addresses = addresses[:1] // this machine has no IPv6
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, address := range addresses {
		r := p.run(t, "curl", "-sS", "-g", "-i", "http://"+address+":"+port+"/").expect(t, 0).expectQuiet(t)
		r.expectSaid(t, "200 OK").expectSaid(t, "Hello from hello-ssh")
	}
	end()
	p.run(t, "curl", "-sS", "http://127.0.0.1:"+port).expect(t, 7)
	// A target that refuses: curl's connection ends, and ssh's goes on.
	end = p.master(t, hello, "-L", port+":127.0.0.1:9")
	p.run(t, "curl", "-sS", "http://127.0.0.1:"+port).expectSaid(t, "curl: (")
	end()
	// As editors do it: a shell without a terminal reads commands, beside SOCKS.
	typed, typing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	editor := p.command(t.Context(), "ssh", "-T", "-D", port, hello, "sh")
	var said watched
	editor.Stdin, editor.Stdout, editor.Stderr = typed, &said, &said
	if err := editor.Start(); err != nil {
		t.Fatal(err)
	}
	typeIn(t, typing, "echo re''ady\n")
	said.await(t, "ready\n")
	p.run(t, "curl", "-sS", "--socks5-hostname", "127.0.0.1:"+port, "http://localhost:8080/").expect(t, 0).expectSaid(t, "Hello from hello-ssh")
	typeIn(t, typing, "exit 6\n")
	if _ = editor.Wait(); editor.ProcessState.ExitCode() != 6 {
		t.Errorf("the editor's shell: %v, said: %s", editor.ProcessState, said.String())
	}
	// A port that is taken is refused.
	p.run(t, "ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-R", appPort+":127.0.0.1:9", hello).expect(t, 255).expectSaid(t, "remote port forwarding failed")
}

func (p *platform) testStdioForward(t *testing.T) {
	r := p.runWith(t, strings.NewReader("GET / HTTP/1.0\r\n\r\n"), "ssh", "-W", "127.0.0.1:"+appPort, hello)
	r.expect(t, 0).expectQuiet(t).expectSaid(t, "Hello from hello-ssh")
	p.run(t, "ssh", "-W", "127.0.0.1:9", hello).expect(t, 255).expectSaid(t, "failed")
}

const big = 100_000_000

// testBigForwards carries 100 MB through each kind of forward.
func (p *platform) testBigForwards(t *testing.T) {
	b := noise(100, big)
	want := checksum(b)
	p.runWith(t, bytes.NewReader(b), "ssh", tools, "cat >/srv/big; sha256sum </srv/big").expectOut(t, want+"  -\n")
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(b) // a client that goes away is not our error
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	local, socks := freePort(t), freePort(t)
	end := p.master(t, tools, "-L", local+":127.0.0.1:"+appPort, "-D", socks, "-R", "18080:"+l.Addr().String())
	defer end()
	fetch := func(args ...string) {
		t.Helper()
		args = append([]string{"-sS", "--fail"}, args...)
		p.run(t, "sh", append([]string{"-c", `curl "$@" | sha256sum`, "sh"}, args...)...).expectOut(t, want+"  -\n")
	}
	began := time.Now()
	lap := func(what string) {
		t.Logf("%s: 100 MB in %s", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	fetch("http://127.0.0.1:" + local + "/big")
	lap("-L")
	fetch("--socks5-hostname", "127.0.0.1:"+socks, "http://localhost:"+appPort+"/big")
	lap("-D")
	p.run(t, "curl", "-sS", "--socks5", "127.0.0.1:"+socks, "http://127.0.0.1:9/").expect(t, 97) // refused, and told by SOCKS
	p.run(t, "ssh", tools, `python3 -c '
import hashlib, urllib.request
h = hashlib.sha256()
with urllib.request.urlopen("http://127.0.0.1:18080/") as f:
    while b := f.read(1 << 16):
        h.update(b)
print(h.hexdigest())
'; rm /srv/big`).expectOut(t, want+"\n")
	lap("-R")
}

// testSocketForwards forwards Unix sockets, in both directions at once.
func (p *platform) testSocketForwards(t *testing.T) {
	near, app := filepath.Join(p.dir, "near"), filepath.Join(p.dir, "app")
	l, err := net.Listen("unix", app)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("from here\n"))
			_ = c.Close()
		}
	}()
	end := p.master(t, tools, "-L", near+":/tmp/twin", "-R", "/tmp/twin:"+app)
	c, err := net.Dial("unix", near)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(c); err != nil || got.String() != "from here\n" {
		t.Errorf("through both sockets came %q, %v", got.String(), err)
	}
	_ = c.Close()
	end()
	p.run(t, "ssh", tools, "while [ -e /tmp/twin ]; do sleep 0.1; done").expectOut(t, "")
}
