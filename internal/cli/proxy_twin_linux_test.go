package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestProxyWhileATwinGoes: ssh and all that it shares with its proxy end before
// the twin is deleted. Who comes meanwhile gets another twin.
func TestProxyWhileATwinGoes(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	ssh := w.openssh(t, "")
	deletion := s.arm("hello", placeDelete, 0)
	release := sync.OnceFunc(func() { close(deletion.release) })
	t.Cleanup(release)
	cmd := ssh.command("hello", "true")
	var errs bytes.Buffer // by a pipe, which ends with the last who has it
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%v, stderr %q", err, errs.String())
	}
	select {
	case <-deletion.reached:
	case <-time.After(patience):
		t.Fatal("nobody deletes the twin")
	}
	if r := ssh.run(t, nil, "hello", "echo ok"); r.code != 0 || r.stdout != "ok\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	release()
	w.proxied(t, "hello")
}

// TestProxyRenews the lease of a twin that it joins, at the platform and at the
// agent, when less than half of its own is left.
func TestProxyRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	w.openssh(t, "--keep --ttl 10m").run(t, nil, "hello", "true").demand(t, 0)
	short := w.expires(t)
	cmd := w.openssh(t, "--ttl 15m").session(t)
	if end := w.expires(t); !end.Equal(short) {
		t.Errorf("renewed too early, from %s to %s", short, end)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	w.openssh(t, "--ttl 2h").session(t)
	end := time.Now().Add(patience)
	for !w.expires(t).After(short.Add(time.Hour)) {
		if time.Now().After(end) {
			t.Fatalf("the lease ends at %s, as before", w.expires(t))
		}
		<-time.After(50 * time.Millisecond)
	}
	w.cloudssh(t, "cleanup", "--yes").demand(t, 0)
	w.proxied(t, "hello")
}

// expires is when the lease of the only twin ends.
func (w *world) expires(t *testing.T) time.Time {
	t.Helper()
	var twins []struct{ Expires time.Time }
	r := w.cloudssh(t, "list", "--format", "json")
	if err := json.Unmarshal([]byte(r.stdout), &twins); err != nil || len(twins) != 1 {
		t.Fatalf("%v: %q", err, r.stdout)
	}
	return twins[0].Expires
}

// TestProxyGreets: a client does not wait for a greeting for as long as a twin
// may take. One that ends meanwhile needs no twin.
func TestProxyGreets(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	ssh := w.openssh(t, "")
	slow := s.arm("hello", placeReady, 0)
	cmd := ssh.command("-v", "hello", "exit 4")
	said := &watched{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	<-slow.reached
	select {
	case <-said.contains("remote software version cloudssh_"):
	case <-time.After(patience):
		t.Errorf("nobody greets:\n%s", said.String())
	}
	close(slow.release)
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("%s:\n%s", cmd.ProcessState, said.String())
	}
	w.proxied(t, "hello")
	never := s.arm("hello", placeReady, 0)
	cmd = ssh.command("hello", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-never.reached
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.proxied(t, "hello")
}
