package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
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
	cmd := ssh.command("hello", "true")
	var errs bytes.Buffer // by a pipe, which ends with the last who has it
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%v, stderr %q", err, errs.String())
	}
	select {
	case <-deletion.reached:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody deletes the twin")
	}
	if r := ssh.run(t, nil, "hello", "echo ok"); r.code != 0 || r.stdout != "ok\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	close(deletion.release)
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
	end := time.Now().Add(20 * time.Second)
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
	ssh := w.openssh(t, "", "-o", "ConnectTimeout=1")
	slow := s.arm("hello", placeReady, 0)
	cmd := ssh.command("hello", "exit 4")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-slow.reached
	<-time.After(1500 * time.Millisecond)
	close(slow.release)
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("%s", cmd.ProcessState)
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
