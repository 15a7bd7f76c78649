package agent

import (
	"os"
	"strconv"
	"strings"
)

// victimScore is added to the badness of sessions, in thousandths of the memory
// limit: when memory runs out the kernel kills the process of a session, and not
// the agent, with which all sessions would go (proc_pid_oom_score_adj(5)).
const victimScore = "500"

// offerVictim makes a process, and what it starts from now on, the kernel's
// first choice. Anybody may raise the score of his own processes; where it is
// not possible all the same, the choice is the kernel's.
func offerVictim(pid int) {
	os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(victimScore), 0) //nolint:errcheck // see above
}

// oomKills is how many processes the kernel has killed so far because this
// container's memory limit was reached; -1 where that is not told. The files
// are those of cgroup v2 and v1 (admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
func oomKills() int {
	for _, name := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n := oomCount(string(text)); n >= 0 {
			return n
		}
	}
	return -1
}

// oomCount finds the counter among a control group's.
func oomCount(text string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				return n
			}
		}
	}
	return -1
}
