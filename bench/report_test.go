package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// results is what all benchmarks of this run found out.
var results report

type report struct {
	mu   sync.Mutex
	rows []row
}

type row struct{ about, what, value, bar, verdict, detail string }

// note reports a value without a bar.
func (r *report) note(about, what, value, detail string) {
	r.add(row{about, what, value, "", "", detail})
}

// atLeast and atMost report a value and its bar. A bar that is missed is
// reported, and no failure: machines differ.
func (r *report) atLeast(about, what string, value, bar float64, unit, detail string) {
	r.judge(about, what, value, bar, unit, detail, "≥", value >= bar)
}

func (r *report) atMost(about, what string, value, bar float64, unit, detail string) {
	r.judge(about, what, value, bar, unit, detail, "≤", value <= bar)
}

func (r *report) judge(about, what string, value, bar float64, unit, detail, relation string, met bool) {
	verdict := "missed"
	if met {
		verdict = "met"
	}
	r.add(row{about, what, number(value) + unit, relation + " " + number(bar) + unit, verdict, detail})
}

func (r *report) add(added row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, added)
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *report) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n\n", machine())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tVALUE\tBAR\t\tDETAIL")
	about := ""
	met, missed := 0, 0
	for _, row := range r.rows {
		if row.about != about {
			about = row.about
			fmt.Fprintf(t, "%s\t\t\t\t\n", about)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", row.what, row.value, row.bar, row.verdict, row.detail)
		switch row.verdict {
		case "met":
			met++
		case "missed":
			missed++
		}
	}
	t.Flush()
	fmt.Fprintf(w, "\n%d bars met, %d missed\n", met, missed)
}

// machine says on what the figures were made.
func machine() string {
	read := func(file string) string {
		text, _ := os.ReadFile(file) // what is not known is not said
		return strings.TrimSpace(string(text))
	}
	model := "unknown processor"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	openssh, _ := exec.Command("ssh", "-V").CombinedOutput()
	return fmt.Sprintf("%d x %s, Linux %s, TCP %s, %s, %s, load %s",
		runtime.NumCPU(), model, read("/proc/sys/kernel/osrelease"), read("/proc/sys/net/ipv4/tcp_congestion_control"),
		runtime.Version(), strings.TrimSpace(string(openssh)), read("/proc/loadavg"))
}

// median is the upper one of an even number.
func median[T time.Duration | float64](values []T) T { return quantile(values, 50) }

func quantile[T time.Duration | float64](values []T, percent int) T {
	values = slices.Sorted(slices.Values(values))
	return values[min(len(values)*percent/100, len(values)-1)]
}

// ratio is the median of the ratios of two peers, round by round: a machine
// that gets slower meanwhile slows both.
func ratio(ours, theirs []float64) float64 {
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	return median(ratios)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
