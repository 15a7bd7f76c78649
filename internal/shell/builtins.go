//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/cloudssh/cloudssh/internal/shell/tool"
)

// A builtin is a command of the shell itself that replaces one of the
// interpreter's, or serves a rewritten command line.
type builtin struct {
	run     func(*builtinCall) error
	hidden  bool                // only rewritten lines call it
	applies func([]string) bool // nil: always; else only to these arguments
	help    string
}

// A builtinCall is one run of a builtin.
type builtinCall struct {
	context.Context
	line  context.Context // of the whole command line, not of this run alone
	shell *Shell
	hc    interp.HandlerContext
	job   *job
	args  []string // args[0] is the name
}

func (c *builtinCall) printf(format string, args ...any) {
	fmt.Fprintf(c.hc.Stdout, format, args...) //nolint:errcheck // there is nobody left to tell
}

// failf complains, and returns the status as an error.
func (c *builtinCall) failf(status int, format string, args ...any) error {
	complainOn(c.hc.Stderr, c.args[0], format, args...)
	return exitStatus(status)
}

// eval runs text in the calling shell.
func (c *builtinCall) eval(text string) error {
	return c.hc.Builtin(c, []string{"eval", text})
}

func (s *Shell) builtins() map[string]builtin {
	return map[string]builtin{
		"jobs":   {run: jobsBuiltin, help: "jobs [-lprs] [JOB]...: list jobs"},
		"fg":     {run: fgBuiltin, help: "fg [JOB]: move a job to the foreground"},
		"bg":     {run: bgBuiltin, help: "bg [JOB]...: let stopped jobs go on in the background"},
		"wait":   {run: waitBuiltin, help: "wait [-n] [JOB]...: wait for jobs, and return the status of the last"},
		"kill":   {run: killBuiltin, help: "kill [-s SIGNAL | -SIGNAL] JOB|PID...: send a signal; kill -l lists them"},
		"disown": {run: disownBuiltin, help: "disown [-a] [JOB]...: forget jobs"},

		"type":    {run: typeBuiltin, help: "type [-tpP] NAME...: say what a command is"},
		"command": {run: commandBuiltin, applies: commandQuery},
		"help":    {run: helpBuiltin, help: "help [NAME]: list commands, or describe one"},
		"history": {run: historyBuiltin, help: "history [-c] [N]: show or clear what was typed"},
		"read":    {run: readBuiltin, help: "read [-rs] [-a ARRAY] [-d DELIM] [-nN COUNT] [-p PROMPT] [-t SECONDS] [NAME]...: read a line"},
		"set":     {run: setBuiltin, applies: func(args []string) bool { return len(args) == 0 }},
		"trap":    {run: trapBuiltin, help: "trap [-lp] [COMMAND] [SIGNAL]...: run a command when a signal comes, or at EXIT"},
		"umask":   {run: umaskBuiltin, help: "umask [-S] [MODE]: which permissions new files do not get"},
		"ulimit":  {run: ulimitBuiltin, help: "ulimit [-HS] [-acdfmnpstuv] [LIMIT]: limits of this shell and what it starts"},
		"logout":  {run: logoutBuiltin, help: "logout [N]: leave the shell"},
		"hash":    {run: func(*builtinCall) error { return nil }},

		"spawn":   {run: spawn, hidden: true},
		"reap":    {run: reap, hidden: true},
		"export":  {run: exportBuiltin, hidden: true},
		"trapped": {run: trapped, hidden: true},
		"status":  {run: func(c *builtinCall) error { return statusBuiltin(c.args[1]) }, hidden: true},
		"ask":     {run: func(c *builtinCall) error { return c.hc.Builtin(c, c.args[1:]) }, hidden: true},
	}
}

// replaces says whether a command line is for one of our builtins.
func (s *Shell) replaces(args []string) bool {
	b, ok := s.own[args[0]]
	if !ok || b.hidden {
		return false
	}
	return b.applies == nil || b.applies(args[1:])
}

// cdArgs drops the options of cd that change nothing here.
func cdArgs(args []string) []string {
	rest := args[1:]
	for len(rest) > 0 && (rest[0] == "-L" || rest[0] == "-P" || rest[0] == "--") {
		last := rest[0] == "--"
		rest = rest[1:]
		if last {
			break
		}
	}
	return append([]string{"cd"}, rest...)
}

// spawn makes the job of the background command that follows it.
func spawn(c *builtinCall) error {
	s := c.shell
	j := newJob(context.WithoutCancel(c.line), strings.Join(c.args[1:], " "))
	j.back = true
	s.jobs.add(j)
	if line, ok := c.Value(jobKey{}).(*job); ok {
		line.mu.Lock()
		line.spawned = append(slices.DeleteFunc(line.spawned, (*job).over), j)
		line.mu.Unlock()
	}
	context.AfterFunc(c.line, func() { // the interpreter then forgets the rest
		j.stop(context.Cause(c.line))
		j.finish(causeStatus(context.Cause(c.line)))
	})
	if s.interactive && c.hc.Env.Get(jobVariable).String() == "" {
		fmt.Fprintf(s.Stderr, "[%d]\n", j.id) //nolint:errcheck // there is nobody left to tell
	}
	return c.eval(lastVariable + "=%" + itoa(j.id))
}

// reap is the end of a job.
func reap(c *builtinCall) error {
	status, err := strconv.Atoi(c.args[1])
	if err != nil {
		status = 1
	}
	if killed, yes := c.job.killed(); yes {
		status = killed
	}
	c.job.finish(status)
	return nil
}

// statusBuiltin does nothing but have a status.
func statusBuiltin(text string) error {
	status, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return exitStatus(status)
}

func logoutBuiltin(c *builtinCall) error {
	return c.hc.Builtin(c, append([]string{"exit"}, c.args[1:]...))
}

// setBuiltin is set without arguments: all variables.
func setBuiltin(c *builtinCall) error { return c.list("", func(name string) bool { return true }) }

// exportBuiltin is export, readonly or declare without arguments.
func exportBuiltin(c *builtinCall) error {
	which := c.args[1]
	c.args[0] = which
	prefix := map[string]string{"export": "export ", "readonly": "readonly ", "declare": "declare -- "}[which]
	return c.list(prefix, func(name string) bool {
		vr := c.hc.Env.Get(name)
		return which == "declare" || which == "export" && vr.Exported || which == "readonly" && vr.ReadOnly
	})
}

// list prints variables so that they can be read back.
func (c *builtinCall) list(prefix string, want func(name string) bool) error {
	values := map[string]string{}
	for name, vr := range c.hc.Env.Each {
		if !vr.IsSet() || strings.HasPrefix(name, internalPrefix) || !want(name) {
			delete(values, name)
			continue
		}
		values[name] = vr.String()
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.printf("%s%s=%s\n", prefix, name, quote(values[name]))
	}
	return nil
}

func umaskBuiltin(c *builtinCall) error {
	args := c.args[1:]
	symbolic := len(args) > 0 && args[0] == "-S"
	if symbolic {
		args = args[1:]
	}
	if len(args) > 0 {
		mask, err := strconv.ParseUint(args[0], 8, 12)
		if err != nil {
			return c.failf(1, "%s: not an octal number", args[0])
		}
		unix.Umask(int(mask))
		return nil
	}
	mask := unix.Umask(0)
	unix.Umask(mask)
	if !symbolic {
		c.printf("%04o\n", mask)
		return nil
	}
	var parts []string
	for i, who := range []string{"u", "g", "o"} {
		bits, text := ^mask>>(6-3*i)&7, ""
		for k, letter := range "rwx" {
			if bits&(4>>k) != 0 {
				text += string(letter)
			}
		}
		parts = append(parts, who+"="+text)
	}
	c.printf("%s\n", strings.Join(parts, ","))
	return nil
}

// quote makes words of texts.
func quote(texts ...string) string {
	words := make([]string, 0, len(texts))
	for _, text := range texts {
		word, err := syntax.Quote(text, syntax.LangBash)
		if err != nil { // a zero byte, which no variable has
			word = "''"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// builtinCallNode is a command of fixed words.
func builtinCallNode(args []string) *syntax.Stmt {
	words := make([]*syntax.Word, 0, len(args))
	for _, arg := range args {
		words = append(words, quoted(arg))
	}
	return &syntax.Stmt{Cmd: &syntax.CallExpr{Args: words}}
}

// lookPathFor is a tool's view of where commands are.
func (s *Shell) lookPathFor(c *tool.Context) func(string) string {
	return func(name string) string {
		if _, ok := s.tools[name]; ok || interp.IsBuiltin(name) {
			return name
		}
		path, err := lookPath(name, c.Dir, c.Env("PATH"))
		if err != nil {
			return ""
		}
		return path
	}
}

// signalNumber reads a signal's name, with or without SIG, or number.
func signalNumber(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if n := unix.SignalNum(upper); n != 0 {
		return n, nil
	}
	return 0, errors.New(name + ": invalid signal specification")
}
