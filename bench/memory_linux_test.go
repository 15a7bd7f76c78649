package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/agent"
)

const (
	// transferVariable is how many GiB BenchmarkMemoryAfterTransfer transfers,
	// and BenchmarkFiles copies in one file.
	transferVariable = "CLOUDSSH_BENCH_GIB"
	mib              = 1 << 20
)

// An agentProcess is the agent's program as twins have it.
type agentProcess struct {
	lab *lab
	pid int
}

// agentProgram builds and starts it in a lab without other servers.
func agentProgram(b *testing.B) *agentProcess {
	b.Helper()
	l := newLab(b)
	l.far, l.addr = l.near, "127.0.0.1"
	l.makeKeys()
	binary := l.file("cloudssh-agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", binary, "../cmd/cloudssh-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	l.run(build)
	user, err := os.ReadFile(l.file("user.pub"))
	if err != nil {
		b.Fatal(err)
	}
	settings, err := json.Marshal(agent.Settings{Version: 1, AuthorizedKeys: []string{strings.TrimSpace(string(user))}})
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PORT=" + portAgent, agent.SettingsVariable + "=" + string(settings)}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	l.start(l.far, cmd)
	log := bufio.NewReader(out)
	if line, err := log.ReadString('\n'); !strings.Contains(line, "agent started") {
		b.Fatalf("starting the agent: %s, %v", line, err)
	}
	go io.Copy(io.Discard, log)
	return &agentProcess{l, cmd.Process.Pid}
}

// resident is a figure of proc(5)'s status file in bytes: VmRSS, or VmHWM for
// the most that there was.
func (a *agentProcess) resident(name string) float64 {
	a.lab.b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid))
	if err != nil {
		a.lab.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), name+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		a.lab.b.Fatal(err)
	}
	return float64(kib << 10)
}

// settled is what is resident when sessions have come to rest.
func (a *agentProcess) settled() float64 {
	a.lab.b.Helper()
	rest := time.NewTimer(3 * time.Second)
	<-rest.C
	return a.resident("VmRSS")
}

// sessions opens a connection with so many terminals.
func (a *agentProcess) sessions(number int) *conn {
	a.lab.b.Helper()
	var commands []command
	for range number {
		commands = append(commands, echoing())
	}
	return a.lab.open(oursPlain(), commands...)
}

// BenchmarkMemory is what the agent takes of the app's memory.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		a := agentProgram(b)
		about := "memory of the agent"
		empty := a.settled()
		conns := []*conn{a.sessions(1)}
		one := a.settled()
		results.atMost(about, "one idle session", one/mib, 15, " MiB", fmt.Sprintf("none: %s MiB", number(empty/mib)))
		for range 50 {
			conns = append(conns, a.sessions(1))
		}
		connected := a.settled()
		results.atMost(about, "each session more, with a connection", (connected-one)/50/mib, 1.5, " MiB",
			fmt.Sprintf("51 sessions: %s MiB", number(connected/mib)))
		const channels = 50
		for range 9 {
			conns = append(conns, a.sessions(channels))
		}
		all := a.settled()
		results.atMost(about, "each session more, 50 to a connection", (all-connected)/(9*channels)/mib, 1.5, " MiB",
			fmt.Sprintf("%d sessions: %s MiB", 51+9*channels, number(all/mib)))
		for _, c := range conns { // all are alive
			for _, ch := range c.channels {
				if _, err := ch.key(nobody); err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, c := range conns {
			c.close()
		}
		results.note(about, "all have left", number(a.settled()/mib)+" MiB", fmt.Sprintf("at most %s MiB", number(a.resident("VmHWM")/mib)))
		b.ReportMetric(one/mib, "MiB-one-session")
		b.ReportMetric((connected-one)/50/mib, "MiB-each-more")
	}
}

// BenchmarkMemoryAfterTransfer is the agent's memory before and after a
// transfer in both directions on the connection of an idle session.
func BenchmarkMemoryAfterTransfer(b *testing.B) {
	gib := benchGiB(b)
	size := int64(gib * (1 << 29)) // each way
	for b.Loop() {
		a := agentProgram(b)
		sink, _ := a.lab.sink(size)
		c := a.lab.open(oursPlain(), echoing(), a.lab.source(size), sink)
		idle := a.settled()
		began := time.Now()
		sent := make(chan error, 1)
		go func() { sent <- send(c.channels[2], size) }()
		if err := receive(c.channels[1], size); err != nil {
			b.Fatal(err)
		}
		if err := <-sent; err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		const enough = 1.2
		after := a.resident("VmRSS")
		rest, patience := time.NewTicker(time.Second), time.Now().Add(70*time.Second)
		ended := time.Now()
		for ; after > enough*idle && time.Now().Before(patience); <-rest.C {
			after = a.resident("VmRSS")
		}
		rest.Stop()
		results.atMost("memory of the agent", fmt.Sprintf("after %s GiB, its connection idle", number(gib)), after/idle, enough, " x before",
			fmt.Sprintf("%s MiB, before %s MiB, at most %s MiB; %s s after the transfer, which took %s s", number(after/mib), number(idle/mib),
				number(a.resident("VmHWM")/mib), number(time.Since(ended).Seconds()), number(took.Seconds())))
		if _, err := c.channels[0].key(nobody); err != nil {
			b.Fatal(err)
		}
		c.close()
		results.note("memory of the agent", "after that connection's end", number(a.settled()/mib)+" MiB", "")
		b.ReportMetric(after/idle, "x-idle")
	}
}
