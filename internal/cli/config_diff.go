package cli

import (
	"fmt"
	"slices"
	"strings"
)

// diff is the change as a person reads it: one hunk, with the lines around it.
func (e *configEdit) diff() string {
	before, after := splitLines(e.before), splitLines(e.after)
	head := 0
	for head < min(len(before), len(after)) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < min(len(before), len(after))-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	const context = 3
	from := max(0, head-context)
	until := max(0, tail-context) // lines not shown at the end
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", e.path, e.path)
	fmt.Fprintf(&b, "@@ -%s +%s @@\n", hunk(from, len(before)-until), hunk(from, len(after)-until))
	mark := func(sign string, lines []string) {
		for _, l := range lines {
			b.WriteString(sign + l + "\n")
		}
	}
	mark(" ", before[from:head])
	mark("-", before[head:len(before)-tail])
	mark("+", after[head:len(after)-tail])
	mark(" ", before[len(before)-tail:len(before)-until])
	return b.String()
}

// splitLines drops carriage returns: they would move the cursor.
func splitLines(text []byte) []string {
	var lines []string
	for l := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimRight(l, "\r\n"))
	}
	return slices.Clip(lines)
}

// hunk is a range of lines in the form of unified diffs.
func hunk(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}
