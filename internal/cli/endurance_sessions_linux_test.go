package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	weak "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/crypto/ssh"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// enduranceFlags are the same for all sessions, so that they share a twin.
var enduranceFlags = []string{"--memory", "512Mi"}

// stream is a cloudssh whose standard streams are too long to be kept.
type stream struct {
	*proc
	sum  hash.Hash // of stdout
	size int64
}

func (s *stream) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.sum.Write(p)
}

// start runs a command in the twin and returns when it is there; stdin is
// closed at the end of in.
func (e *endurance) start(t *testing.T, in io.Reader, command string) *stream {
	t.Helper()
	e.starting.RLock()
	defer e.starting.RUnlock()
	exe, err := exec.LookPath("cloudssh")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"hello", "--exec", "echo joined >&2; " + command}, enduranceFlags...)
	s := &stream{sum: sha256.New(), proc: &proc{t: t, cmd: exec.Command(exe, args...), done: make(chan struct{})}}
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = e.world.env, s, &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if in != nil {
		s.cmd.Stdin = in
	} else if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.note(s.cmd.Process.Pid)
	go func() {
		_ = s.cmd.Wait() // the status is read from ProcessState
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
	})
	s.until("joined")
	return s
}

// end waits for the end of a session, however long the weather makes it.
func (e *endurance) end(t *testing.T, s *stream) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(e.length + 2*time.Minute):
		t.Fatalf("the session does not end; stderr:\n%s", s.stderr.String())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", code, s.stderr.String())
	}
}

// download fetches a file until the weather is over, at least once.
func (e *endurance) download(t *testing.T) {
	t.Helper()
	began := time.Now()
	for n := 1; ; n++ {
		file := fmt.Sprintf("/tmp/download%d", n)
		s := e.start(t, strings.NewReader(""), fmt.Sprintf("head -c %d /dev/urandom >%s; sha256sum %s >&2; cat %s; rm %s", e.size, file, file, file, file))
		e.end(t, s)
		if got, said := hex.EncodeToString(s.sum.Sum(nil)), s.stderr.String(); s.size != e.size || !strings.Contains(said, got) {
			t.Fatalf("%d bytes of %d arrived, with the sum %s; stderr:\n%s", s.size, e.size, got, said)
		}
		if e.calm() {
			t.Logf("%d downloads of %d bytes in %v", n, e.size, time.Since(began))
			return
		}
	}
}

// upload sends a file until the weather is over, at least once.
func (e *endurance) upload(t *testing.T) {
	t.Helper()
	began := time.Now()
	for n := 1; ; n++ {
		sum := sha256.New()
		noise := io.LimitReader(weak.NewChaCha8([32]byte([]byte(rand.Text() + rand.Text())[:32])), e.size)
		s := e.start(t, io.TeeReader(noise, sum), "sha256sum >&2")
		e.end(t, s)
		if want := hex.EncodeToString(sum.Sum(nil)); !strings.Contains(s.stderr.String(), want) {
			t.Fatalf("sent %s; stderr:\n%s", want, s.stderr.String())
		}
		if e.calm() {
			t.Logf("%d uploads of %d bytes in %v", n, e.size, time.Since(began))
			return
		}
	}
}

// memoryPressure has commands eat all the memory of the instance, agent
// included, and be killed for it.
func (e *endurance) memoryPressure(t *testing.T) {
	t.Helper()
	s := e.start(t, nil, "while read x; do dd if=/dev/zero of=/dev/null bs=700M count=1; test $? = 137 || exit 3; echo killed $x >&2; done")
	n := 0
	for n == 0 || !e.calm() {
		n++
		if _, err := fmt.Fprintln(s.stdin, n); err != nil {
			t.Fatal(err)
		}
		s.within(e.length, fmt.Sprintf("killed %d\n", n))
	}
	_ = s.stdin.Close()
	e.end(t, s)
	t.Logf("%d commands killed for their memory", n)
}

// within waits for text on stderr.
func (s *stream) within(limit time.Duration, text string) {
	s.t.Helper()
	select {
	case <-s.stderr.contains(text):
	case <-s.done:
		s.t.Fatalf("cloudssh ended without saying %q; stderr:\n%s", text, s.stderr.String())
	case <-time.After(limit + time.Minute):
		s.t.Fatalf("cloudssh does not say %q; stderr:\n%s", text, s.stderr.String())
	}
}

// idleShell is a shell in which nobody types before the weather is over.
func (e *endurance) idleShell(t *testing.T) {
	t.Helper()
	m := e.terminal(t)
	m.types("echo $((6*7)) before\r")
	m.shows("42 before")
	select {
	case <-e.over:
	case <-m.done:
		t.Fatalf("the shell has ended:\n%s", m.screen.String())
	}
	m.types("echo $((6*7)) after\r")
	m.shows("42 after")
	m.types("exit\r")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func (e *endurance) terminal(t *testing.T) *terminal {
	t.Helper()
	e.starting.RLock()
	defer e.starting.RUnlock()
	m := e.world.terminal(t, append([]string{"hello", "--escape-char", "none"}, enduranceFlags...)...) // ~ is a command of vi
	e.note(m.cmd.Process.Pid)
	m.shows("# ")
	return m
}

// editor types the same into an editor in the twin and into one of this
// machine, which nothing cuts off, and demands the same screen.
//
// No command of it depends on how fast one types, as the escape key does, with
// which what follows too soon is taken for one sequence, and scrolling, which
// begins at what was drawn last.
func (e *endurance) editor(t *testing.T) {
	t.Helper()
	m := e.terminal(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(lines(200)), 0o600); err != nil {
		t.Fatal(err)
	}
	local := e.localEditor(t, text)
	m.types("mkdir -p " + filepath.Dir(text) + " && seq 1 200 >" + text + " && vi " + text + "\r")
	both := func(keys string) {
		m.types(keys)
		local.types(keys)
	}
	for _, editor := range []*terminal{m, local} {
		editor.asked("\n23")
		editor.shows("1/200")
	}
	commands := []string{"yyp", "ddP", "J", "rLETTER", "G", "1G", "x", "LINEG", "~", "P", ":%s/1/one/\r", "w", ">>", ":LINE\r"}
	pause := e.length / 400 // an editor that undoes everything keeps everything
	for n := 0; n == 0 || !e.calm(); n++ {
		keys := commands[weak.IntN(len(commands))]
		both(strings.NewReplacer("LINE", fmt.Sprint(1+n%190), "LETTER", string(rune('a'+n%26))).Replace(keys))
		<-time.After(pause)
	}
	// What part of the text is on the screen depends on the speed, too: not at
	// its top, and at its end not from there. Draw all, and the line's number.
	for _, place := range []string{"1G", "G"} {
		both(place + "\x0c\x07")
		same(t, m, local)
	}
	both(":wq\r")
	<-local.done
	b, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	m.types("sha256sum " + text + "\r")
	m.shows(fmt.Sprintf("%x", sha256.Sum256(b)))
	m.types("exit\r")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// lines is what seq prints.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// localEditor is the same editor without a network in between.
func (e *endurance) localEditor(t *testing.T, file string) *terminal {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the sample's busybox: %v (apt-get install busybox-static)", err)
	}
	p, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	l := &terminal{
		t: t, pty: pollable(t, p), tty: tty, cmd: exec.Command(busybox, "vi", file),
		screen: vt10x.New(vt10x.WithSize(80, 24)), changed: make(chan struct{}), done: make(chan struct{}),
	}
	l.resize(80, 24)
	l.cmd.Env = []string{"TERM=xterm", "PATH=/usr/bin:/bin"}
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = tty, tty, tty
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go l.draw()
	go func() {
		_ = l.cmd.Wait()
		close(l.done)
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-l.done
		_ = tty.Close()
		_ = l.pty.Close()
	})
	return l
}

// same waits until two screens are the same, cursors included.
func same(t *testing.T, a, b *terminal) {
	t.Helper()
	look := func(m *terminal) string {
		m.mu.Lock()
		defer m.mu.Unlock()
		c := m.screen.Cursor()
		return fmt.Sprintf("%s\ncursor at %d,%d", m.screen.String(), c.X, c.Y)
	}
	limit := time.After(2 * time.Minute)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for look(a) != look(b) {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("the screen is\n%s\nand without a network\n%s", look(a), look(b))
		}
	}
}

// port keeps a forwarded port busy, with answers that are checked.
func (e *endurance) port(t *testing.T) {
	t.Helper()
	server := e.start(t, nil, "nc -ll -p 7007 -e cat & cat; kill $!")
	client := e.connect(t)
	var conn net.Conn
	patience := time.After(time.Minute)
	for err := io.EOF; err != nil; { // until nc listens
		if conn, err = client.Dial(t.Context(), "tcp", "127.0.0.1:7007"); err == nil {
			break
		}
		select {
		case <-patience:
			t.Fatal(err)
		default:
		}
	}
	block, answer, moved := make([]byte, 64<<10), make([]byte, 64<<10), 0
	noise := weak.NewChaCha8([32]byte{1})
	for moved == 0 || !e.calm() {
		_, _ = noise.Read(block)
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(block)
			wrote <- err
		}()
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(block, answer) {
			t.Fatalf("the answer after %d bytes is another", moved)
		}
		moved += len(block)
	}
	t.Logf("%d bytes went through the port and back", moved)
	_ = conn.Close() // what counts has been compared
	// As every client does, and not only by going: the agent, which the weather
	// may keep from hearing of that, would count it as one more in the twin.
	if _, err := client.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = server.stdin.Close()
	e.end(t, server)
}

// connect is a client of the agent in this process, with the user's key.
func (e *endurance) connect(t *testing.T) *session.Client {
	t.Helper()
	e.starting.RLock()
	defer e.starting.RUnlock()
	twin, err := e.world.client.GetService(t.Context(), &runpb.GetServiceRequest{Name: e.world.parent() + "/services/hello-ssh"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := transport.Dial(t.Context(), transport.Endpoint{
		URL: twin.GetUri(), Version: "test",
		Header: func(ctx context.Context) (http.Header, error) { return e.token(ctx, twin.GetUri()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(e.world.variable("CLOUDSSH_CONFIG_DIR"), "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(conn.Peer().HostKey))
	if err != nil {
		t.Fatal(err)
	}
	client, err := session.New(t.Context(), conn, session.Config{Signer: signer, HostKey: host, User: "cloudssh"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// variable is one of a user's environment.
func (w *world) variable(name string) (value string) {
	for _, kv := range w.env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// token is what the front door wants, from the emulator's metadata server.
func (e *endurance) token(ctx context.Context, audience string) (http.Header, error) {
	uri := "http://" + e.world.MetadataAddr + "/computeMetadata/v1/instance/service-accounts/default/identity?audience=" + url.QueryEscape(audience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	token, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the metadata server: %s: %s, %w", resp.Status, token, err)
	}
	return http.Header{"X-Serverless-Authorization": {"Bearer " + string(token)}}, nil
}
