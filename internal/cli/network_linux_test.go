package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/provision"
)

// TestOutageInAnEditor: the network is gone for a while. The person is told on
// one line, which leaves no trace, and what was typed meanwhile is not lost.
func TestOutageInAnEditor(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	l := s.lay("hello", w.Addr)
	m := w.terminal(t, "hello")
	before := m.editing()
	l.stop()
	l.cut()
	m.shows("no connection for ")
	m.shows("~. or Ctrl-C leaves")
	m.types("G")
	l.start()
	m.told("connected again after ")
	m.sees("the screen as it was", func(s string) bool { return s == before })
	m.leaves()
	w.demandOnly(t, "hello")
}

// TestLeaveDuringOutage: the keys that leave do so at once, and the platform,
// which can be reached, deletes the twin.
func TestLeaveDuringOutage(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]string{"Ctrl-C": "\x03", "escape": "\r~."} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			w := newWorld(t, emulator.Options{Faults: s.faults()})
			l := s.lay("hello", w.Addr)
			m := w.terminal(t, "hello")
			m.shows("# ")
			l.stop()
			l.cut()
			m.shows("no connection for ")
			m.types(keys)
			if code := m.wait(); code != 255 {
				t.Errorf("exit code %d, want 255:\n%s", code, m.text())
			}
			w.demandOnly(t, "hello")
			l.start()
		})
	}
}

// TestOutageOfACommand is told in lines, on stderr.
func TestOutageOfACommand(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	l := s.lay("hello", w.Addr)
	c := w.start(t, "hello", "--exec", "echo started >&2; cat")
	c.until("started")
	l.stop()
	l.cut()
	c.until("the connection is lost; trying again")
	if _, err := c.stdin.Write([]byte("said meanwhile\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.stdin.Close()
	l.start()
	r := c.wait()
	r.demand(t, 0, "connected again after ")
	if r.stdout != "said meanwhile\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	w.demandOnly(t, "hello")
}

// TestRequestTimeout: the platform cuts every request after three seconds, and
// nobody in the session notices. An outage that lasts three seconds is told of: a
// machine may be too busy for once to connect again in that time, not every time.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	const most = 8
	dials := make(chan struct{}, 1000)
	w := newWorld(t, emulator.Options{RequestTimeoutCap: 3 * time.Second, Faults: emulator.Faults{
		FrontEnd: func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" {
				dials <- struct{}{}
			}
			return false
		},
	}})
	m := w.terminal(t, "hello")
	before := m.editing()
	for len(dials) > 0 {
		<-dials
	}
	cuts, unnoticed, noticed := 0, 0, false
	for unnoticed < 2 {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		noticed = noticed || m.text() != before
		select {
		case <-changed:
		case <-dials:
			if cuts++; cuts > most {
				t.Fatalf("%d of %d cuts went unnoticed; the screen is\n%s", unnoticed, cuts, m.text())
			}
			if !noticed {
				unnoticed++
			}
			noticed = false
		}
	}
	m.sees("the screen as it was", func(s string) bool { return s == before })
	m.leaves()
	w.demandOnly(t, "hello")
}

// TestPlainHTTPS: a proxy refuses upgrades, and a terminal works all the same.
func TestPlainHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{Faults: emulator.Faults{
		FrontEnd: func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") == "" {
				return false
			}
			http.Error(rw, "no upgrades", http.StatusNotImplemented)
			return true
		},
	}})
	m := w.terminal(t, "hello")
	m.shows("WebSocket upgrades are blocked here; using plain HTTPS")
	m.shows("# ")
	m.types("~?")
	m.shows("session 1")
	m.shows("its lease ends in ")
	m.shows("connected over http")
	m.types("\r")
	m.editing()
	m.leaves()
	w.demandOnly(t, "hello")
}

// TestMinInstances: what costs money without being used has its price shown
// and is asked about.
func TestMinInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	m := w.terminal(t, "hello", "--min-instances", "1")
	m.shows("an hour")
	m.shows("Go on? [y/N]")
	m.types("n\r")
	if code := m.wait(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	w.demandOnly(t, "hello")
	c := w.start(t, "hello", "--min-instances", "1", "--exec", "echo started >&2; cat")
	c.until("started")
	twin, err := w.client.GetService(t.Context(), &runpb.GetServiceRequest{Name: w.parent() + "/services/hello-ssh"})
	if err != nil {
		t.Fatal(err)
	}
	if n := twin.GetScaling().GetMinInstanceCount(); n != 1 {
		t.Errorf("%d instances are kept", n)
	}
	_ = c.stdin.Close()
	c.wait().demand(t, 0, "--min-instances 1 keeps hello-ssh running, at about $0.0")
	w.demandOnly(t, "hello")
}

// TestSweep: what a dead machine left is deleted by the next cloudssh of its
// owner, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, emulator.Options{})
	img, err := hello()
	if err != nil {
		t.Fatal(err)
	}
	owner := provision.OwnerHash("developer@" + w.Project + ".iam.gserviceaccount.com")
	for name, labels := range map[string]map[string]string{
		"old-ssh":   {"cloudssh-owner": owner, "cloudssh-expires": "1"},
		"other-ssh": {"cloudssh-owner": "somebody", "cloudssh-expires": "1"},
		"live-ssh":  {"cloudssh-owner": owner, "cloudssh-expires": "9999999999"},
	} {
		w.deploy(t, name, img, func(s *runpb.Service) {
			labels["cloudssh"], labels["cloudssh-source"] = "twin", strings.TrimSuffix(name, "-ssh")
			s.Labels = labels
		})
	}
	all := []string{"hello", "live-ssh", "old-ssh", "other-ssh"}
	stateless := &world{Server: w.Server, client: w.client, env: append(slices.Clone(w.env), "XDG_STATE_HOME=/dev/null"), home: w.home}
	r := stateless.cloudssh(t, "list") // which would look through the project every time
	r.demand(t, 0)
	if !strings.Contains(r.stdout, "expired") {
		t.Errorf("list: %q", r.stdout)
	}
	w.demandOnly(t, all...)
	// A command does not wait long for its sweep: what it did not come to is done
	// by one an hour later.
	swept := filepath.Join(w.home, ".local", "state", "cloudssh", "swept-*")
	for end := time.Now().Add(patience); slices.Contains(w.services(t), "old-ssh") && time.Now().Before(end); {
		w.cloudssh(t, "list").demand(t, 0)
		stamps, err := filepath.Glob(swept)
		if err != nil || len(stamps) != 1 {
			t.Fatalf("it is noted %d times that the project was looked through, %v", len(stamps), err)
		}
		hourAgo := time.Now().Add(-time.Hour - time.Minute)
		if err := os.Chtimes(stamps[0], hourAgo, hourAgo); err != nil {
			t.Fatal(err)
		}
	}
	w.demandOnly(t, "hello", "live-ssh", "other-ssh")
}
