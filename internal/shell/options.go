//go:build linux || darwin

package shell

import (
	"fmt"
	"slices"
	"strings"
)

// options are how the shell was called.
type options struct {
	command     *string  // -c
	script      string   // a file
	fromStdin   bool     // -s
	login       bool     // -l, or a name that begins with -
	interactive bool     // -i, or a terminal and no command
	noRC        bool     // --norc
	noProfile   bool     // --noprofile
	params      []string // $0 and on
	set         [][]string
}

const usage = `Usage: %[1]s [-lis] [-abefhmnuvx] [-o OPTION] [FILE [ARGUMENT]...]
       %[1]s [OPTION]... -c COMMAND [NAME [ARGUMENT]...]
       %[1]s TOOL [ARGUMENT]...

A shell in one file, with its own ls, cat, grep and so on.

  -c COMMAND   run a command
  -l           be a login shell: read /etc/profile and ~/.profile
  -i           be interactive
  -s           read commands from standard input
  --norc, --noprofile, --posix, --list (the tools), --version, --help
`

// parseArgs reads the arguments. It is over when they were a question.
func (s *Shell) parseArgs() (status int, over bool) {
	s.login = strings.HasPrefix(s.Args[0], "-")
	s.name = strings.TrimPrefix(s.name, "-")
	rest := s.Args[1:]
	command := false
	for len(rest) > 0 {
		arg := rest[0]
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			if arg == "-" {
				rest = rest[1:]
			}
			break
		}
		rest = rest[1:]
		if arg == "--" {
			break
		}
		if long, ok := strings.CutPrefix(arg, "--"); ok {
			if status, over := s.longOption(long); over {
				return status, true
			}
			continue
		}
		var err error
		if rest, err = s.shortOptions(arg, rest, &command); err != nil {
			return s.complain(2, "%v", err), true
		}
	}
	return s.operands(rest, command)
}

// operands are the words after the options.
func (s *Shell) operands(rest []string, command bool) (status int, over bool) {
	s.params = rest
	switch {
	case command && len(rest) == 0:
		return s.complain(2, "-c: option requires an argument"), true
	case command:
		s.command, s.params = &rest[0], rest[1:]
	case s.fromStdin:
		s.params = append([]string{s.name}, rest...)
	case len(rest) > 0:
		s.script = rest[0]
	}
	if !command && s.script == "" && isTerminal(s.Stdin) && isTerminal(s.Stderr) {
		s.interactive = true
	}
	return 0, false
}

func (s *Shell) longOption(name string) (status int, over bool) {
	switch name {
	case "login":
		s.login = true
	case "norc":
		s.noRC = true
	case "noprofile":
		s.noProfile = true
	case "posix", "noediting":
	case "version":
		fmt.Fprintln(s.Stdout, "cloudssh-shell", s.Version) //nolint:errcheck // nothing else is said
		return 0, true
	case "list":
		for _, name := range s.toolNames() {
			fmt.Fprintln(s.Stdout, name) //nolint:errcheck // nothing else is said
		}
		return 0, true
	case "help":
		fmt.Fprintf(s.Stdout, usage, s.name) //nolint:errcheck // nothing else is said
		return 0, true
	default:
		return s.complain(2, "--%s: invalid option", name), true
	}
	return 0, false
}

// shortOptions reads one word such as -xc; -o takes the next one.
func (s *Shell) shortOptions(arg string, rest []string, command *bool) ([]string, error) {
	for _, flag := range arg[1:] {
		switch flag {
		case 'c':
			*command = true
		case 'l':
			s.login = true
		case 'i':
			s.interactive = true
		case 's':
			s.fromStdin = true
		case 'b', 'h', 'm', 'v': // of no effect here
		case 'o':
			if len(rest) == 0 {
				return nil, fmt.Errorf("%co: option requires an argument", arg[0])
			}
			s.set = append(s.set, []string{arg[:1] + "o", rest[0]})
			rest = rest[1:]
		case 'a', 'e', 'f', 'n', 'u', 'x':
			s.set = append(s.set, []string{arg[:1] + string(flag)})
		default:
			return nil, fmt.Errorf("%c%c: invalid option", arg[0], flag)
		}
	}
	return rest, nil
}

func (s *Shell) toolNames() []string {
	names := make([]string, 0, len(s.tools))
	for name := range s.tools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
