package tool

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pgrep lists the processes that match a pattern; pkill sends them a signal.
func pgrep(c *Context) int {
	kills := c.Args[0] == "pkill"
	args, signal, err := c.Args[1:], unix.SIGTERM, error(nil)
	if kills {
		if args, signal, err = signalFlag(c); err != nil {
			return c.Usage("%s", err)
		}
	}
	n := *c
	n.Args = append([]string{c.Args[0]}, args...)
	o, ok := n.parse("flaxvnou:U:P:cd:i", "full=f", "list-name=l", "list-full=a", "exact=x", "inverse=v", "newest=n", "oldest=o", "parent=P", "count=c", "ignore-case=i")
	if !ok {
		return 2
	}
	found, err := matching(o)
	if err != nil {
		return c.Usage("%s", err)
	}
	out, status := c.output(), 0
	for _, p := range found {
		switch {
		case kills:
			if err := unix.Kill(p.pid, signal); err != nil {
				status = c.fail(strconv.Itoa(p.pid), err)
			}
		case o.has("c"):
		case o.has("a"):
			out.line(strconv.Itoa(p.pid) + " " + p.command())
		case o.has("l"):
			out.line(strconv.Itoa(p.pid) + " " + p.name)
		default:
			out.line(strconv.Itoa(p.pid))
		}
	}
	if o.has("c") && !kills {
		out.line(strconv.Itoa(len(found)))
	}
	if len(found) == 0 {
		status = 1
	}
	return out.done(status)
}

// matching are the processes that pgrep's flags ask for, never the shell itself.
func matching(o options) ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	pattern := strings.Join(o.operands, " ")
	if o.has("x") {
		pattern = "^(?:" + pattern + ")$"
	}
	if o.has("i") {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, why(err)
	}
	accounts := newAccounts()
	found := slices.DeleteFunc(all, func(p process) bool {
		text := p.name
		if o.has("f") {
			text = p.command()
		}
		if p.pid == os.Getpid() || re.MatchString(text) == o.has("v") {
			return true
		}
		if users := append(o.values('u'), o.values('U')...); len(users) > 0 {
			if !slices.Contains(users, accounts.user(p.uid)) && !slices.Contains(users, strconv.Itoa(int(p.uid))) {
				return true
			}
		}
		return o.has("P") && !slices.Contains(o.values('P'), strconv.Itoa(p.ppid))
	})
	if len(found) > 1 && o.has("no") {
		slices.SortFunc(found, func(a, b process) int { return int(a.start - b.start) })
		if o.last("no") == 'n' {
			return found[len(found)-1:], nil
		}
		return found[:1], nil
	}
	return found, nil
}

// pidof lists the processes of a program, by its name.
func pidof(c *Context) int {
	o, ok := c.parse("s", "single-shot=s")
	if !ok {
		return 2
	}
	all, err := processes()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	slices.Reverse(all)
	var pids []string
	for _, p := range all {
		for _, name := range o.operands {
			if p.name == filepath.Base(name) || len(p.args) > 0 && filepath.Base(p.args[0]) == filepath.Base(name) {
				pids = append(pids, strconv.Itoa(p.pid))
				break
			}
		}
	}
	if len(pids) == 0 {
		return 1
	}
	if o.has("s") {
		pids = pids[:1]
	}
	out := c.output()
	out.line(strings.Join(pids, " "))
	return out.done(0)
}
