package tool

import (
	"slices"
	"strings"
)

// All returns every tool, sorted by name.
func All() []Tool {
	all := slices.Concat(viewing(), files(), times())
	for i, t := range all {
		all[i].Run = helpful(t)
	}
	slices.SortFunc(all, func(a, b Tool) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// helpful is a tool that explains itself when it is called with --help.
func helpful(t Tool) func(*Context) int {
	return func(c *Context) int {
		if len(c.Args) == 2 && c.Args[1] == "--help" && t.Synopsis != "" {
			out := c.output()
			out.line(t.Synopsis)
			return out.done(0)
		}
		return t.Run(c)
	}
}

func viewing() []Tool {
	return []Tool{
		{"cat", "cat [-nbsAvet] [FILE]...: show files one behind the other", cat},
		{"egrep", "egrep PATTERN [FILE]...: grep -E", egrep},
		{"fgrep", "fgrep TEXT [FILE]...: grep -F", fgrep},
		{"grep", "grep [-EFPivwxcnlLqsohHrRa] [-m N] [-A N] [-B N] [-C N] [-e PATTERN] [-f FILE] [PATTERN] [FILE]...: find lines", grep},
		{"head", "head [-n [-]LINES] [-c [-]BYTES] [-qv] [FILE]...: show the beginning", head},
		{"ls", "ls [-aAlhRrtSXU1dFpinsLcugo] [FILE]...: list files", ls},
		{"tail", "tail [-n [+]LINES] [-c [+]BYTES] [-fFqv] [-s SECONDS] [FILE]...: show the end", tail},
		{"tee", "tee [-a] [FILE]...: copy standard input to files and on", tee},
		{"wc", "wc [-lwcmL] [FILE]...: count lines, words and bytes", wc},
		{"yes", "yes [TEXT]: write a line until nobody reads it", yes},
	}
}

func files() []Tool {
	return []Tool{
		{"chgrp", "chgrp [-Rh] GROUP FILE...: change the group of files", chown},
		{"chmod", "chmod [-R] MODE FILE...: change permissions, to 755 or by u+x,go-w", chmod},
		{"chown", "chown [-Rh] [USER][:GROUP] FILE...: change the owner of files", chown},
		{"find", "find [-HLP] [FILE]... [EXPRESSION]: find files (-name -type -size -mtime -perm -exec -delete -prune ...)", findFiles},
		{"touch", "touch [-acmh] [-d DATE] [-t TIME] [-r FILE] FILE...: make files, or set their times", touch},
	}
}

func times() []Tool {
	return []Tool{
		{"date", "date [-uR] [-I[SPEC]] [-d DATE] [-r FILE] [+FORMAT]: show the time", date},
		{"sleep", "sleep TIME[smhd]...: wait", sleep},
	}
}
