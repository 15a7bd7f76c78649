package tool

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// env shows the environment, or runs a command in another one.
func env(c *Context) int {
	o, ok := c.parse("+iu:0C:", "ignore-environment=i", "unset=u", "null=0", "chdir=C")
	if !ok {
		return 2
	}
	environ := c.Environ
	if o.has("i") {
		environ = nil
	}
	environ = append([]string(nil), environ...)
	args := o.operands
	if len(args) > 0 && args[0] == "-" {
		environ, args = nil, args[1:]
	}
	for _, name := range o.values('u') {
		environ = setEnv(environ, name, nil)
	}
	for len(args) > 0 {
		name, value, ok := strings.Cut(args[0], "=")
		if !ok {
			break
		}
		environ, args = setEnv(environ, name, &value), args[1:]
	}
	if len(args) == 0 {
		out, end := c.output(), byte('\n')
		if o.has("0") {
			end = 0
		}
		for _, e := range environ {
			out.text(e)
			out.byte(end)
		}
		return out.done(0)
	}
	n := *c
	n.Args, n.Environ = args, environ
	n.Env = func(name string) string { return getEnv(environ, name) }
	if o.has("C") {
		n.Dir = c.Path(o.value('C'))
	}
	return c.Start(&n)
}

func getEnv(environ []string, name string) string {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// setEnv sets a variable, or removes it if value is nil.
func setEnv(environ []string, name string, value *string) []string {
	var kept []string
	for _, e := range environ {
		switch {
		case !strings.HasPrefix(e, name+"="):
			kept = append(kept, e)
		case value != nil:
			kept = append(kept, name+"="+*value)
			value = nil
		}
	}
	if value != nil {
		kept = append(kept, name+"="+*value)
	}
	return kept
}

func printenv(c *Context) int {
	o, ok := c.parse("0", "null=0")
	if !ok {
		return 2
	}
	out, end, status := c.output(), byte('\n'), 0
	if o.has("0") {
		end = 0
	}
	if len(o.operands) == 0 {
		for _, e := range c.Environ {
			out.text(e)
			out.byte(end)
		}
	}
	for _, name := range o.operands {
		found := false
		for _, e := range c.Environ {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				out.text(value)
				out.byte(end)
				found = true
			}
		}
		if !found {
			status = 1
		}
	}
	return out.done(status)
}

// timeout runs a command and gives it up after a time; the status is 124 then.
func timeout(c *Context) int {
	o, ok := c.parse("+k:s:vpf", "kill-after=k", "signal=s", "preserve-status=p", "foreground=f", "verbose=v")
	if !ok {
		return 125
	}
	if len(o.operands) < 2 {
		c.Usage("a time and a command are needed")
		return 125
	}
	d, err := duration(o.operands[0])
	if err != nil {
		c.Usage("not a time: %s", o.operands[0])
		return 125
	}
	n := *c
	n.Args = o.operands[1:]
	if d == 0 {
		return c.Start(&n)
	}
	late := errors.New("the time is up")
	ctx, cancel := context.WithTimeoutCause(c.Context, d, late)
	defer cancel()
	n.Context = ctx
	status := c.Start(&n)
	if errors.Is(context.Cause(ctx), late) && !o.has("p") {
		return 124
	}
	return status
}

// clocked is time: it says how long a command took.
func clocked(c *Context) int {
	o, ok := c.parse("+p")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a command is needed")
	}
	n := *c
	n.Args = o.operands
	start := time.Now()
	status := c.Start(&n)
	c.complain("real %.2f\n", time.Since(start).Seconds())
	return status
}

// watch runs a command again and again.
func watch(c *Context) int {
	o, ok := c.parse("+n:tdegx", "interval=n", "no-title=t", "errexit=e", "chgexit=g")
	if !ok {
		return 2
	}
	every := 2 * time.Second
	if o.has("n") {
		var err error
		if every, err = duration(o.value('n')); err != nil || every <= 0 {
			return c.Usage("not a time: %s", o.value('n'))
		}
	}
	if len(o.operands) == 0 {
		return c.Usage("a command is needed")
	}
	command := o.operands
	if len(command) == 1 { // watch 'ls -l'
		words, err := splitWords(command[0], " \t\n")
		if err != nil || len(words) == 0 {
			return c.Usage("not a command: %s", command[0])
		}
		command = words
	}
	return c.watch(o, command, every)
}

// watch runs a command and shows what it writes, until it is told to stop.
func (c *Context) watch(o options, command []string, every time.Duration) int {
	for before := ""; ; {
		var b strings.Builder
		n := *c
		n.Args, n.Stdin, n.Stdout, n.Stderr = command, strings.NewReader(""), &b, &b
		n.StdinTTY, n.StdoutTTY, n.Terminal = false, false, nil
		status := c.Start(&n)
		if c.Err() != nil {
			return 0
		}
		out := c.output()
		if c.StdoutTTY {
			out.text("\x1b[H\x1b[2J")
		}
		if !o.has("t") {
			out.line("Every " + strconv.FormatFloat(every.Seconds(), 'g', -1, 64) + "s: " + strings.Join(o.operands, " ") + "   " +
				time.Now().In(zone(c)).Format("Mon Jan _2 15:04:05 2006") + "\n")
		}
		out.text(screenful(c, b.String()))
		if out.flush(); out.failed() {
			return 1
		}
		if status != 0 && o.has("e") || o.has("g") && before != "" && before != b.String() {
			return status
		}
		before = b.String()
		ctx, cancel := context.WithTimeout(c, every)
		<-ctx.Done()
		cancel()
		if c.Err() != nil {
			return 0
		}
	}
}

// screenful is as much of a text as is seen at once.
func screenful(c *Context, text string) string {
	if !c.StdoutTTY || c.Terminal == nil {
		return text
	}
	cols, rows := c.Terminal.Size()
	all := strings.SplitAfter(text, "\n")
	all = all[:min(len(all), max(1, rows-2))]
	for i, line := range all {
		all[i] = clip(strings.TrimSuffix(line, "\n"), cols)
	}
	return strings.Join(all, "\n")
}

// complain writes to Stderr without the tool's name.
func (c *Context) complain(format string, args ...any) {
	o := newOutput(c.Stderr)
	o.printf(format, args...)
	o.flush()
}
