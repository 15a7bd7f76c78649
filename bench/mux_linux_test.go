package bench

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
)

// BenchmarkChannels is how long ssh takes for `true` through a connection that
// a master holds: a new channel each, on loopback and over 50 ms.
func BenchmarkChannels(b *testing.B) {
	b.Run("loopback", func(b *testing.B) {
		l := loopback(b)
		for b.Loop() {
			l.newChannels("new channel, loopback", 200, 1.5)
		}
	})
	b.Run("50ms", func(b *testing.B) {
		l := over(b, wan.Shape{Delay: 25 * time.Millisecond})
		for b.Loop() {
			l.newChannels("new channel, 50 ms", 20, 1.1)
		}
	})
}

// newChannels asks the peers in turn, since a machine gets slower meanwhile.
func (l *lab) newChannels(about string, n int, bar float64) {
	l.b.Helper()
	peers := []peer{openSSH(), ours()}
	times := make([]tasks, len(peers))
	masters := make([][]string, len(peers))
	for i, p := range peers {
		masters[i] = append(append([]string{"ssh"}, l.sshOptions(p)...), "-S", l.file(fmt.Sprintf("master-%d", i)), "root@"+l.addr)
		// -f goes to the background once it serves.
		master := exec.Command(masters[i][0], append([]string{"-M", "-f", "-N"}, masters[i][1:]...)...)
		l.start(l.near, master)
		if err := master.Wait(); err != nil {
			l.b.Fatal(err)
		}
	}
	for range n {
		for i := range peers {
			cmd := exec.Command(masters[i][0], append(masters[i][1:], "true")...)
			began := time.Now()
			l.start(l.near, cmd)
			if err := cmd.Wait(); err != nil {
				l.b.Fatal(err)
			}
			times[i].seconds = append(times[i].seconds, time.Since(began).Seconds()*1000)
		}
	}
	for i := range peers {
		cmd := exec.Command(masters[i][0], append([]string{"-O", "exit"}, masters[i][1:]...)...)
		l.start(l.near, cmd)
		if err := cmd.Wait(); err != nil {
			l.b.Fatal(err)
		}
	}
	describe := func(t tasks) string {
		return fmt.Sprintf("%s ms, 95 %% within %s ms", number(median(t.seconds)), number(quantile(t.seconds, 95)))
	}
	x := ratio(times[1].seconds, times[0].seconds)
	results.note(about, "OpenSSH over TCP", describe(times[0]), "")
	results.atMost(about, "cloudssh", x, bar, " x OpenSSH", describe(times[1]))
	l.b.ReportMetric(x, "x-openssh")
}
