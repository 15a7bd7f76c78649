//go:build linux || darwin

package shell

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// trapBuiltin is trap. The interpreter knows EXIT and ERR; signals are ours.
func trapBuiltin(c *builtinCall) error {
	s, args := c.shell, c.args[1:]
	switch {
	case len(args) > 0 && args[0] == "-l":
		return c.listSignals(nil)
	case len(args) == 0 || len(args) == 1 && args[0] == "-p":
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, name := range sortedKeys(s.traps) {
			c.printf("trap -- %s %s\n", quote(s.traps[name]), name)
		}
		return c.hc.Builtin(c, []string{"trap"})
	case args[0] == "--" || args[0] == "-p":
		args = args[1:]
	}
	action := "-"
	if _, err := signalNumber(args[0]); len(args) > 1 || err != nil && args[0] != "EXIT" && args[0] != "ERR" {
		action, args = args[0], args[1:]
	}
	var theirs []string
	for _, name := range args {
		upper := strings.ToUpper(name)
		if upper == "EXIT" || name == "0" {
			theirs = append(theirs, "EXIT")
			continue
		}
		if upper == "ERR" {
			theirs = append(theirs, "ERR")
			continue
		}
		sig, err := signalNumber(name)
		if err != nil {
			return c.failf(1, "%v", err)
		}
		s.setTrap(sig, action)
	}
	if len(theirs) == 0 {
		return nil
	}
	return c.hc.Builtin(c, append([]string{"trap", "--", action}, theirs...))
}

func (s *Shell) setTrap(sig syscall.Signal, action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if action == "-" {
		delete(s.traps, unix.SignalName(sig))
		return
	}
	s.traps[unix.SignalName(sig)] = action
}

// trapFor notes a signal that has a trap, for the next command to run it.
func (s *Shell) trapFor(sig os.Signal) bool {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	action, trapped := s.traps[unix.SignalName(number)]
	if action != "" {
		s.pending = append(s.pending, action)
	}
	return trapped
}

func (s *Shell) trapPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

// trapped runs the traps of signals that have come, and then the command before
// which it was put.
func trapped(c *builtinCall) error {
	s := c.shell
	s.mu.Lock()
	actions := s.pending
	s.pending = nil
	s.mu.Unlock()
	return c.eval(strings.Join(actions, "\n") + "\n" + quote(c.args[1:]...))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
