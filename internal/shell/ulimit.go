//go:build linux || darwin

package shell

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A limit is one that ulimit knows.
type limit struct {
	flag     byte
	resource int
	unit     uint64
	text     string
}

func limits() []limit {
	return []limit{
		{'c', unix.RLIMIT_CORE, 512, "core file size (blocks)"},
		{'d', unix.RLIMIT_DATA, 1024, "data seg size (kbytes)"},
		{'f', unix.RLIMIT_FSIZE, 512, "file size (blocks)"},
		{'n', unix.RLIMIT_NOFILE, 1, "open files"},
		{'s', unix.RLIMIT_STACK, 1024, "stack size (kbytes)"},
		{'t', unix.RLIMIT_CPU, 1, "cpu time (seconds)"},
		{'u', unix.RLIMIT_NPROC, 1, "max user processes"},
		{'v', unix.RLIMIT_AS, 1024, "virtual memory (kbytes)"},
	}
}

func ulimitBuiltin(c *builtinCall) error {
	args := c.args[1:]
	hard, soft, all, flag := false, false, false, byte('f')
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		for _, f := range []byte(args[0][1:]) {
			switch f {
			case 'H':
				hard = true
			case 'S':
				soft = true
			case 'a':
				all = true
			default:
				flag = f
			}
		}
		args = args[1:]
	}
	for _, l := range limits() {
		if !all && l.flag != flag {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return c.failf(1, "%s: %v", l.text, err)
		}
		switch {
		case all:
			c.printf("-%c: %-28s %s\n", l.flag, l.text, l.show(now, hard))
		case len(args) == 0:
			c.printf("%s\n", l.show(now, hard))
		default:
			return l.change(c, now, args[0], hard, soft)
		}
	}
	if !all && !strings.ContainsRune("cdfnstuv", rune(flag)) {
		return c.failf(2, "-%c: invalid option", flag)
	}
	return nil
}

func (l limit) show(now unix.Rlimit, hard bool) string {
	value := now.Cur
	if hard {
		value = now.Max
	}
	if value == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(value/l.unit, 10)
}

func (l limit) change(c *builtinCall, now unix.Rlimit, text string, hard, soft bool) error {
	value := uint64(unix.RLIM_INFINITY)
	switch text {
	case "unlimited":
	case "hard":
		value = now.Max
	case "soft":
		value = now.Cur
	default:
		n, err := strconv.ParseUint(text, 10, 53)
		if err != nil {
			return c.failf(1, "%s: invalid number", text)
		}
		value = n * l.unit
	}
	if hard || !soft {
		now.Max = value
	}
	if soft || !hard {
		now.Cur = value
	}
	if err := unix.Setrlimit(l.resource, &now); err != nil {
		return c.failf(1, "%s: cannot modify limit: %v", l.text, err)
	}
	return nil
}
