//go:build linux || darwin

package shell

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

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
