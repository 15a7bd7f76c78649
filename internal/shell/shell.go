//go:build linux || darwin

package shell

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"github.com/cloudssh/cloudssh/internal/shell/tool"
)

// A Config is what a shell is started with.
type Config struct {
	Args    []string // Args[0] is the name that the program was called by
	Environ []string
	Stdin   *os.File
	Stdout  *os.File
	Stderr  *os.File
	Version string
}

// A Shell is one shell process.
type Shell struct {
	Config
	options
	name  string // $0, and who complains
	tools map[string]tool.Tool
	own   map[string]builtin

	runner *interp.Runner
	env    expand.Environ // what it began with
	jobs   table
	tty    *terminal // nil: there is none

	mu         sync.Mutex
	foreground *job
	traps      map[string]string
	pending    []string // traps of signals that have come
	history    *history
	handles    func(os.Signal) bool
}

// Run is the whole life of a shell, or of one tool, and returns its exit status.
func Run(ctx context.Context, c Config) int {
	s := &Shell{Config: c, name: filepath.Base(c.Args[0]), traps: map[string]string{}}
	s.tools = make(map[string]tool.Tool)
	for _, t := range tool.All() {
		s.tools[t.Name] = t
	}
	s.own = s.builtins()
	if name := strings.TrimPrefix(s.name, "-"); s.tools[name].Run != nil {
		return s.multicall(ctx, append([]string{name}, c.Args[1:]...))
	}
	if len(c.Args) > 2 && c.Args[1] == "--"+toolOption && s.tools[c.Args[2]].Run != nil {
		return s.multicall(ctx, c.Args[2:])
	}
	if status, over := s.parseArgs(); over {
		return status
	}
	if name := s.operand(); name != "" && s.tools[name].Run != nil && !exists(name) {
		return s.multicall(ctx, s.params)
	}
	if err := s.start(); err != nil {
		return s.complain(2, "%v", err)
	}
	return s.live(ctx)
}

// complain says what is wrong with how the shell was called.
func (s *Shell) complain(status int, format string, args ...any) int {
	fmt.Fprintf(s.Stderr, "%s: %s\n", s.name, fmt.Sprintf(format, args...)) //nolint:errcheck // there is nobody left to tell
	return status
}

// toolOption has the program be one of its tools, and not a script of that name.
const toolOption = "tool"

// operand is the first word that is no option, if it could be a tool's name.
func (s *Shell) operand() string {
	if s.command != nil || s.fromStdin || len(s.params) == 0 || strings.Contains(s.params[0], "/") {
		return ""
	}
	return s.params[0]
}

// multicall is the program under the name of one of its tools.
func (s *Shell) multicall(ctx context.Context, args []string) int {
	dir := workingDir("")
	s.tty = openTerminal(s.Stdin, s.Stderr)
	j := newJob(ctx, args[0])
	if !tool.OwnProcess(args[0]) { // which dies of them
		defer s.signals(func(sig os.Signal) { s.passOn(j, sig) })()
	}
	env := expand.ListEnviron(s.Environ...)
	return s.runTool(j.ctx, j, s.tools[args[0]], &tool.Context{
		Args: args, Dir: dir, Environ: s.Environ,
		Env:   func(name string) string { return env.Get(name).String() },
		Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
	})
}

// start makes the interpreter.
func (s *Shell) start() error {
	env := s.environ()
	s.env = env
	runner, err := interp.New(
		interp.Env(env),
		interp.Dir(workingDir(env.Get("PWD").String())),
		interp.StdIO(s.Stdin, s.Stdout, s.Stderr),
		interp.Interactive(s.interactive),
		interp.CallHandler(s.callHandler),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.execHandler }),
		interp.OpenHandler(s.openHandler),
	)
	if err != nil {
		return err
	}
	for _, set := range s.set {
		if err := interp.Params(set...)(runner); err != nil {
			return err
		}
	}
	var params []string
	if len(s.params) > 0 {
		params = s.params[1:]
	}
	if err := interp.Params(append([]string{"--"}, params...)...)(runner); err != nil {
		return err
	}
	s.runner = runner
	return nil
}

// environ is the environment with what a shell always has.
func (s *Shell) environ() expand.Environ {
	env := expand.ListEnviron(s.Environ...)
	shown := variables{env, map[string]expand.Variable{}}
	set := func(name, value string, exported bool) {
		if !env.Get(name).IsSet() {
			shown.extra[name] = expand.Variable{Set: true, Exported: exported, Kind: expand.String, Str: value}
		}
	}
	name := s.name
	if s.command != nil && len(s.params) > 0 || s.script != "" {
		name = s.params[0]
	}
	shown.extra[nameVariable] = expand.Variable{Set: true, Kind: expand.String, Str: name}
	set("HOME", "/", true)
	set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", true)
	set("HOSTNAME", hostname(), false)
	set("PS4", "+ ", false)
	if s.interactive {
		set("PS1", defaultPrompt, false)
		set("PS2", "> ", false)
	}
	if dir := temporary(env.Get("HOME").String()); dir != "" {
		set("TMPDIR", dir, false) // where the interpreter makes the pipes of <(...)
	}
	return shown
}

// temporary is a directory in the place of /tmp where that cannot be written,
// "" if it can or if there is none.
func temporary(home string) string {
	if unix.Access("/tmp", unix.W_OK) == nil {
		return ""
	}
	for _, dir := range []string{"/dev/shm", "/var/tmp", "/run", home} {
		if filepath.IsAbs(dir) && unix.Access(dir, unix.W_OK) == nil {
			return dir
		}
	}
	return ""
}

// variables are an environment and more.
type variables struct {
	expand.Environ
	extra map[string]expand.Variable
}

func (v variables) Get(name string) expand.Variable {
	if vr, ok := v.extra[name]; ok {
		return vr
	}
	return v.Environ.Get(name)
}

func (v variables) Each(f func(string, expand.Variable) bool) {
	more := true
	v.Environ.Each(func(name string, vr expand.Variable) bool {
		if _, ok := v.extra[name]; !ok {
			more = f(name, vr)
		}
		return more
	})
	for name, vr := range v.extra {
		if !more {
			return
		}
		more = f(name, vr)
	}
}

// workingDir is where the process is, as the user calls it: a name in PWD is
// believed when it is the same directory. A directory that is gone is /.
func workingDir(pwd string) string {
	dir, err := os.Getwd()
	if err != nil {
		return "/"
	}
	here, err := os.Stat(".")
	if err != nil {
		return "/"
	}
	if there, err := os.Stat(pwd); err == nil && filepath.IsAbs(pwd) && os.SameFile(here, there) {
		return filepath.Clean(pwd)
	}
	if _, err := os.Stat(dir); err != nil {
		return "/"
	}
	return dir
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// environOf lists what a program or tool inherits.
func environOf(env expand.Environ) []string {
	at := map[string]int{}
	var list []string
	for name, vr := range env.Each {
		i, known := at[name]
		if !vr.IsSet() || !vr.Exported || vr.Kind != expand.String {
			if known {
				list[i] = ""
			}
			continue
		}
		if !known {
			at[name] = len(list)
			list = append(list, "")
			i = len(list) - 1
		}
		list[i] = name + "=" + vr.String()
	}
	kept := list[:0]
	for _, kv := range list {
		if kv != "" {
			kept = append(kept, kv)
		}
	}
	return kept
}

// jobOf is the job that a command belongs to: that of the nearest &, or the
// line's own.
func (s *Shell) jobOf(ctx context.Context, env expand.Environ) *job {
	if spec := env.Get(jobVariable).String(); spec != "" {
		if j, err := s.jobs.find(spec); err == nil {
			return j
		}
	}
	if j, ok := ctx.Value(jobKey{}).(*job); ok {
		return j
	}
	return newJob(ctx, "")
}

type jobKey struct{}

// complainOn is how a builtin complains. It returns status 1.
func complainOn(w io.Writer, name, format string, args ...any) int {
	fmt.Fprintf(w, "%s: %s\n", name, fmt.Sprintf(format, args...)) //nolint:errcheck // there is nobody left to tell
	return 1
}

func itoa(n int) string { return strconv.Itoa(n) }
