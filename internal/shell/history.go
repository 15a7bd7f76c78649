//go:build linux || darwin

package shell

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxHistory is how many lines are kept.
const maxHistory = 2000

// A history is what was entered: in memory, and in a file if one can be written.
type history struct {
	lines []string
	file  string // "": none
}

// historyFile is $HISTFILE, or a file in the home directory. An empty HISTFILE
// means none.
func (s *Shell) historyFile() string {
	if vr := s.env.Get("HISTFILE"); vr.IsSet() {
		return vr.String()
	}
	home := s.env.Get("HOME").String()
	if !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, ".cloudssh_history")
}

func openHistory(file string) *history {
	h := &history{file: file}
	if file == "" {
		return h
	}
	f, err := os.Open(file)
	if err != nil {
		return h // the first line that is added makes it
	}
	defer f.Close() //nolint:errcheck // it was only read
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if line, err := strconv.Unquote(scan.Text()); err == nil {
			h.lines = append(h.lines, line)
		} else if scan.Text() != "" {
			h.lines = append(h.lines, scan.Text())
		}
	}
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	return h
}

// add appends a line, unless it is the last one again or begins with a space.
func (h *history) add(line string) {
	if strings.HasPrefix(line, " ") || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > maxHistory {
		h.lines = h.lines[1:]
	}
	h.save(line)
}

// save appends a line to the file. A line that could be mistaken is quoted.
func (h *history) save(line string) {
	if h.file == "" {
		return
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		h.file = "" // a read-only place: memory is enough
		return
	}
	if strings.ContainsAny(line, "\n\r") || strings.HasPrefix(line, `"`) {
		line = strconv.Quote(line)
	}
	_, err = f.WriteString(line + "\n")
	if errors.Join(err, f.Close()) != nil {
		h.file = ""
	}
}

// historyBuiltin shows or clears the history.
func historyBuiltin(c *builtinCall) error {
	h := c.shell.history
	if h == nil {
		return nil // nobody types
	}
	first := 0
	if len(c.args) > 1 {
		if c.args[1] == "-c" {
			h.lines = nil
			return nil
		}
		n, err := strconv.Atoi(c.args[1])
		if err != nil || n < 0 {
			return c.failf(2, "%s: numeric argument required", c.args[1])
		}
		first = max(0, len(h.lines)-n)
	}
	for i, line := range h.lines[first:] {
		c.printf("%5d  %s\n", first+i+1, line)
	}
	return nil
}
