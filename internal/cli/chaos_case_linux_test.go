package cli_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	// chaosTTL is the lease of a twin that is ended by its lease.
	chaosTTL = time.Minute
	// unborn is for how long a guard that saw its client die while a twin was
	// being made waits for one that the platform may only show later.
	unborn = 35 * time.Second
)

// flags are those of every client of a case.
func (r *chaosRun) flags() []string {
	ttl, idle := chaosTTL, chaosTTL/2
	if r.returns() { // when there is room for its user
		ttl, idle = 10*ttl, 10*idle
	}
	return []string{"--ttl", ttl.String(), "--idle-timeout", idle.String()}
}

// returns tells whether a session that is detached is ended by its user, not
// by its lease.
func (r *chaosRun) returns() bool {
	return r.setup == "detached" && (!r.lease || r.signal != syscall.SIGKILL && r.signal != syscall.SIGTERM)
}

// chaosRun is one case of the matrix at work.
type chaosRun struct {
	chaos
	t      *testing.T
	stage  *stage
	world  *world
	home   string // the user's
	target string
	busy   chan struct{} // room for those that do something
	lease  bool          // wait for leases; else the user comes back
	took   time.Duration
}

// victim is the client that gets the signal.
type victim struct {
	cmd  *exec.Cmd
	done <-chan struct{}
	said func() string
}

// active runs f when there is room for one more that does something.
func (r *chaosRun) active(f func()) {
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	f()
}

// tellLogs shows what the guards of a case that failed have written.
func (r *chaosRun) tellLogs() {
	logs, err := filepath.Glob(filepath.Join(r.home, "state", "guard-*.log"))
	if err != nil || !r.t.Failed() {
		return
	}
	for _, file := range logs {
		text, err := os.ReadFile(file)
		r.t.Logf("%s: %v\n%s", filepath.Base(file), err, text)
	}
}

func (r *chaosRun) run() {
	defer r.tellLogs()
	var before *runpb.Service
	var began, struck time.Time
	r.active(func() { before, began, struck = r.act() })
	limit := patience
	if r.setup == "detached" {
		struck, limit = r.comeBack(began, struck)
	}
	r.nothingLeft(struck, limit)
	if after := r.service(); after.GetGeneration() != before.GetGeneration() || after.GetEtag() != before.GetEtag() {
		r.t.Errorf("the target has changed:\n%v\n%v", before, after)
	}
	r.world.deleteTwin(r.t, r.target)
}

// act is the case as far as somebody does something in it.
func (r *chaosRun) act() (before *runpb.Service, began, struck time.Time) {
	img, err := hello()
	if err != nil {
		r.t.Fatal(err)
	}
	r.world.deploy(r.t, r.target, img)
	before, began = r.service(), time.Now()
	if r.setup == "detached" {
		r.detach()
	}
	v, other, release := r.hold()
	if r.setup == "two" && other == nil {
		other = r.companion()
	}
	struck = time.Now()
	r.strike(v, release)
	if other != nil {
		r.finish(other)
	}
	return before, began, struck
}

func (r *chaosRun) service() *runpb.Service {
	r.t.Helper()
	s, err := r.world.client.GetService(r.t.Context(), &runpb.GetServiceRequest{Name: r.world.parent() + "/services/" + r.target})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// detach leaves a session in the target's twin.
func (r *chaosRun) detach() {
	m := r.world.terminal(r.t, append([]string{r.target, "--persist"}, r.flags()...)...)
	m.shows("# ")
	m.types("echo det''ached $((6*7))\r")
	m.shows("detached 42")
	m.types("~d")
	if code := m.wait(); code != 0 {
		r.t.Fatalf("detaching ends with %d:\n%s", code, m.screen.String())
	}
	// The guard dials, too, and is not to be taken for the victim.
	r.eventually(patience, "a guard that holds the twin", func() bool { return r.stage.dialsOf(r.target) >= 2 })
}

// ownTwin tells whether the client must have a twin of its own to get into its
// phase, since it would join that of the session that is detached.
func (r *chaosRun) ownTwin() bool {
	return r.setup == "detached" && slices.Contains([]string{"push", "validate", "create", "ready", "delete"}, r.phase)
}

// exec starts a client with a command.
func (r *chaosRun) exec(command string) *proc {
	args := append([]string{r.target, "--exec", command}, r.flags()...)
	if r.ownTwin() {
		args = append(args, "--set-env-vars", "MINE=1")
	}
	return r.world.start(r.t, args...)
}

// companion is a second client in its session, or as near to it as the victim
// lets it come.
func (r *chaosRun) companion() *proc {
	p := r.exec("echo companion in >&2; read x; echo companion got $x >&2")
	if r.phase == "ready" {
		p.until("joining")
	} else {
		p.until("companion in")
	}
	return p
}

// finish demands that the companion has not been disturbed, and ends it.
func (r *chaosRun) finish(p *proc) {
	if _, err := p.stdin.Write([]byte("word\n")); err != nil {
		r.t.Fatal(err)
	}
	p.until("companion got word")
	p.wait().demand(r.t, 0)
}

// hold brings the victim into its phase. In the phases of a twin that exists
// already the other client of two comes first.
func (r *chaosRun) hold() (v victim, other *proc, release func()) {
	early := func() {
		if r.setup == "two" {
			other = r.companion()
		}
	}
	at := func(place string, pass int, command string) (victim, *proc, func()) {
		s := r.stage.arm(r.target, place, pass)
		r.t.Cleanup(s.free) // an emulator that holds somebody does not end
		p := r.exec(command)
		if r.phase == "delete" {
			_ = p.stdin.Close()
		}
		r.await(s.reached, p)
		return victimOf(p), other, s.free
	}
	const idle = "echo victim in >&2; cat"
	switch r.phase {
	case "find":
		return at(placeFind, 0, idle)
	case "read":
		return at(placeRead, 0, idle)
	case "push":
		r.unpush()
		return at(placePush, 0, idle)
	case "validate":
		return at(placeCreate, 0, idle)
	case "create":
		return at(placeCreate, 1, idle)
	case "ready":
		return at(placeReady, 0, idle)
	case "delete":
		return at(placeDelete, 0, "echo victim in >&2")
	case "dial":
		early()
		return at(placeDial, 0, idle)
	}
	early()
	v, release = r.inSession()
	return v, other, release
}

// unpush takes the image with the agent out of the registry again, where the
// session that is detached has put it.
func (r *chaosRun) unpush() {
	repo, err := name.NewRepository(r.world.RegistryAddr + "/" + r.world.Project + "/" + r.target)
	if err != nil {
		r.t.Fatal(err)
	}
	tags, err := remote.List(repo)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "cloudssh-") {
			continue
		}
		if err := remote.Delete(repo.Tag(tag)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// inSession is hold for the phases that no hook of the emulator sees.
func (r *chaosRun) inSession() (v victim, release func()) {
	nothing := func() {}
	switch r.phase {
	case "handshake":
		l := r.stage.lay(r.target, r.world.Addr)
		answered := make(chan struct{})
		l.onAnswer(func() { l.stop(); close(answered) })
		p := r.exec("echo victim in >&2; cat")
		r.await(answered, p)
		return victimOf(p), l.start
	case "terminal":
		args := append([]string{r.target}, r.flags()...)
		if r.setup == "detached" {
			args = []string{"attach", r.target}
		}
		m := r.world.terminal(r.t, args...)
		m.shows("# ")
		return victim{cmd: m.cmd, done: m.done, said: func() string { return m.screen.String() }}, nothing
	case "transfer":
		p := r.exec("yes transfer >&2 & cat >/dev/null")
		go func() {
			zeros := make([]byte, 64<<10)
			for err := error(nil); err == nil; _, err = p.stdin.Write(zeros) {
			}
		}()
		p.until("transfer\n")
		return victimOf(p), nothing
	case "leave":
		l := r.stage.lay(r.target, r.world.Addr)
		p := r.exec("echo victim in >&2; sleep 1007; exit 0")
		p.until("victim in")
		waiting := l.stopUpward()
		r.endSleep()
		r.await(waiting, p)
		return victimOf(p), l.start
	}
	p := r.exec("echo victim in >&2; cat")
	p.until("victim in")
	return victimOf(p), nothing
}

// endSleep ends the victim's command from outside, behind the line.
func (r *chaosRun) endSleep() {
	r.eventually(patience, "the victim's command", func() (ended bool) {
		for _, pid := range processesWith(r.t, "K_SERVICE="+r.target+"-ssh", "sleep\x001007") {
			ended = syscall.Kill(pid, syscall.SIGTERM) == nil || ended
		}
		return ended
	})
}

func victimOf(p *proc) victim { return victim{cmd: p.cmd, done: p.done, said: p.stderr.String} }

// await waits until the victim is where it is to be.
func (r *chaosRun) await(reached <-chan struct{}, p *proc) {
	r.t.Helper()
	select {
	case <-reached:
	case <-p.done:
		r.t.Fatalf("cloudssh ended before it was in phase %s; stderr:\n%s", r.phase, p.stderr.String())
	case <-time.After(patience):
		r.t.Fatalf("cloudssh never was in phase %s; stderr:\n%s", r.phase, p.stderr.String())
	}
}

// strike sends the signal, as a terminal or a person would: keys and closed
// windows concern the whole job.
func (r *chaosRun) strike(v victim, release func()) {
	pid := v.cmd.Process.Pid
	if r.signal == syscall.SIGINT || r.signal == syscall.SIGHUP {
		pid = -pid
	}
	err := syscall.Kill(pid, r.signal)
	if errors.Is(err, syscall.ESRCH) && r.phase == "leave" {
		err = nil // nothing holds it there: it goes when the agent does not answer
	}
	if err != nil {
		r.t.Fatalf("sending %v: %v; cloudssh says:\n%s", r.signal, err, v.said())
	}
	if r.signal == syscall.SIGKILL {
		<-v.done
	}
	release()
	select {
	case <-v.done:
	case <-time.After(patience):
		r.t.Fatalf("cloudssh does not end:\n%s", v.said())
	}
	code, want := v.cmd.ProcessState.ExitCode(), 128+int(r.signal)
	switch {
	case r.signal == syscall.SIGKILL, code == want:
	case code == 0 && (r.phase == "leave" || r.phase == "delete"): // the command had ended before
	default:
		r.t.Errorf("exit code %d, want %d:\n%s", code, want, v.said())
	}
}

// comeBack ends the session that was detached: its lease does, or its user.
// From then on nothing may be left for longer than the limit.
func (r *chaosRun) comeBack(began, struck time.Time) (from time.Time, limit time.Duration) {
	// A person who interrupts a session that was attached again has ended it.
	ended := r.phase == "terminal" && (r.signal == syscall.SIGINT || r.signal == syscall.SIGTERM)
	if ended {
		return struck, chaosTTL + patience
	}
	r.eventually(patience, "only the twin of the session that is detached", func() bool {
		return slices.Equal(r.twins(), []string{r.target + "-ssh"})
	})
	if !r.returns() {
		return began, chaosTTL + patience
	}
	r.active(func() {
		m := r.world.terminal(r.t, "attach", r.target)
		m.shows("detached 42")
		m.types("exit\r")
		if code := m.wait(); code != 0 {
			r.t.Errorf("coming back ends with %d:\n%s", code, m.screen.String())
		}
	})
	return time.Now(), patience
}

// twins are the services that belong to the target.
func (r *chaosRun) twins() []string {
	return slices.DeleteFunc(r.world.services(r.t), func(n string) bool { return !strings.HasPrefix(n, r.target+"-ssh") })
}

// nothingLeft demands that twins, instances, processes and files go.
func (r *chaosRun) nothingLeft(from time.Time, limit time.Duration) {
	r.eventually(limit, "the end of all twins", func() bool { return len(r.twins()) == 0 })
	r.took = time.Since(from)
	r.eventually(patience, "the end of all instances", func() bool {
		return len(processesWith(r.t, "K_SERVICE="+r.target+"-ssh", "")) == 0
	})
	r.eventually(unborn+patience, "the end of all processes of cloudssh", func() bool {
		return len(processesWith(r.t, "HOME="+r.home, "")) == 0
	})
	if left := r.files(); len(left) > 0 {
		r.t.Errorf("files left behind: %q", left)
	}
}

// files are those in the user's home that should not be there.
func (r *chaosRun) files() (left []string) {
	err := filepath.WalkDir(r.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, r.home+"/")
		if name != "config/id_ed25519" && !strings.HasPrefix(name, "state/swept-") {
			left = append(left, name)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return left
}

// eventually waits for what nothing announces.
func (r *chaosRun) eventually(limit time.Duration, what string, ok func() bool) {
	r.t.Helper()
	over := time.After(limit)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-over:
			if !ok() {
				r.t.Fatalf("after %v there is not %s: services %q, processes %v, files %q", limit, what, r.twins(),
					processesWith(r.t, "HOME="+r.home, ""), r.files())
			}
			return
		}
	}
}
