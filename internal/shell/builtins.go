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
	j := newJob(context.WithoutCancel(c.line), 0, strings.Join(c.args[1:], " "))
	j.back = true
	s.jobs.add(j)
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

// commandQuery says whether command is asked about names, and not told to run.
func commandQuery(args []string) bool {
	return len(args) > 0 && (args[0] == "-v" || args[0] == "-V" || args[0] == "-p")
}

func commandBuiltin(c *builtinCall) error {
	if c.args[1] == "-p" {
		return c.eval("command " + quote(c.args[2:]...))
	}
	verbose := c.args[1] == "-V"
	var last error
	for _, name := range c.args[2:] {
		kind, what := c.lookup(name)
		switch {
		case kind == "":
			if verbose {
				complainOn(c.hc.Stderr, c.shell.name, "%s: not found", name)
			}
			last = exitStatus(1)
			continue
		case verbose:
			what = describe(name, kind, what)
		case kind != "file" && kind != "alias":
			what = name
		}
		c.printf("%s\n", what)
		last = nil
	}
	return last
}

// lookup says what a name means in command position: keyword, alias, function,
// builtin, tool, file, or nothing.
func (c *builtinCall) lookup(name string) (kind, what string) {
	if _, isTool := c.shell.tools[name]; isTool && !interp.IsBuiltin(name) && !c.defined(name) {
		return "tool", name
	}
	kind = c.ask("type", "-t", name)
	if kind == "file" || kind == "" {
		path, err := lookPath(name, c.hc.Dir, c.hc.Env.Get("PATH").String())
		if err != nil {
			return "", ""
		}
		return "file", path
	}
	if kind == "alias" {
		return kind, c.ask("alias", name)
	}
	return kind, name
}

// ask runs one of the interpreter's builtins, and returns what it prints.
func (c *builtinCall) ask(args ...string) string {
	const answer = internalPrefix + "answer"
	if err := c.eval(answer + "=$(" + internalPrefix + "ask " + quote(args...) + ")"); err != nil {
		return ""
	}
	return c.hc.Env.Get(answer).String()
}

// defined says whether a function or an alias hides a tool.
func (c *builtinCall) defined(name string) bool {
	kind := c.ask("type", "-t", name)
	return kind == "function" || kind == "alias"
}

func describe(name, kind, what string) string {
	switch kind {
	case "keyword":
		return name + " is a shell keyword"
	case "function":
		return name + " is a function"
	case "builtin":
		return name + " is a shell builtin"
	case "tool":
		return name + " is a tool of this shell"
	case "alias":
		return name + " is aliased: " + what
	}
	return name + " is " + what
}

func typeBuiltin(c *builtinCall) error {
	mode := ""
	args := c.args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) > 1 {
		mode, args = args[0], args[1:]
	}
	var last error
	for _, name := range args {
		kind, what := c.lookup(name)
		switch {
		case kind == "":
			if mode == "" {
				complainOn(c.hc.Stderr, "type", "%s: not found", name)
			}
			last = exitStatus(1)
		case mode == "-t":
			c.printf("%s\n", kind)
		case mode == "-p" || mode == "-P":
			if kind == "file" {
				c.printf("%s\n", what)
			}
		default:
			c.printf("%s\n", describe(name, kind, what))
		}
	}
	return last
}

func helpBuiltin(c *builtinCall) error {
	s := c.shell
	if len(c.args) > 1 {
		for _, name := range c.args[1:] {
			if text := s.helpFor(name); text != "" {
				c.printf("%s\n", text)
			} else if err := c.hc.Builtin(c, []string{"help", name}); err != nil {
				return err
			}
		}
		return nil
	}
	var texts []string
	for name := range s.own {
		if text := s.own[name].help; text != "" {
			texts = append(texts, text)
		}
	}
	for _, t := range s.tools {
		if t.Synopsis != "" {
			texts = append(texts, t.Synopsis)
		}
	}
	slices.Sort(texts)
	c.printf("This is the shell of cloudssh. Its commands run inside it; programs of the image run\nwhen they are called by their path, or have a name that is not here.\n\n")
	for _, text := range texts {
		c.printf("  %s\n", text)
	}
	c.printf("\nAnd of POSIX: alias break cd continue echo eval exec exit export getopts printf pwd\nreadonly return set shift source test unset. help NAME says more.\n")
	return nil
}

func (s *Shell) helpFor(name string) string {
	if t, ok := s.tools[name]; ok {
		return t.Synopsis
	}
	return s.own[name].help
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
