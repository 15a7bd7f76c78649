package agent

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestOOMCount(t *testing.T) {
	for text, want := range map[string]int{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n":                3,
		"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n": 1,
		"oom_kill_disable 0\nunder_oom 0\n":                            -1, // before Linux 4.13
		"oom_kill x\n":                                                 -1,
		"":                                                             -1,
	} {
		if got := oomCount(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	killed, exited := syscall.WaitStatus(syscall.SIGKILL), syscall.WaitStatus(9<<8)
	if got := (oomWatch{before: oomKills()}).explain(killed); got != "" {
		t.Errorf("nobody was killed for memory: %s", got)
	}
	if oomKills() >= 0 {
		if w := (oomWatch{before: oomKills() - 1}); w.before >= 0 && w.explain(killed) == "" || w.explain(exited) != "" {
			t.Errorf("explained %q, %q", w.explain(killed), w.explain(exited))
		}
	}
}

// The programs of sessions go before the agent when memory runs out.
func TestVictims(t *testing.T) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Skip("the kernel has no scores")
	}
	f := start(t, nil)
	s := f.session(t)
	s.Stdin = strings.NewReader("go\n") // which comes when the program has been started in full
	got := output(t, s, "read line; sh -c 'cat /proc/self/oom_score_adj'")
	if strings.TrimSpace(got) != victimScore {
		t.Errorf("the score of a session's program is %s, the agent's own %s", got, own)
	}
}
