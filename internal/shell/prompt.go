//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/cloudssh/cloudssh/internal/shell/line"
)

// defaultPrompt is user@twin:directory#
const defaultPrompt = `\u@\h:\w\$ `

// prompt is what a variable says, expanded.
func (p *prompter) prompt(name, otherwise string) string {
	text := otherwise
	if vr := p.get(name); vr.IsSet() {
		text = vr.String()
	}
	return p.expandPrompt(text)
}

// get is a variable of the shell, as the interpreter knows it.
func (p *prompter) get(name string) expand.Variable {
	if vr, ok := p.runner.Vars[name]; ok {
		return vr
	}
	return p.env.Get(name)
}

// promptEnviron lets a prompt use variables.
type promptEnviron struct{ p *prompter }

func (e promptEnviron) Get(name string) expand.Variable {
	if name == "?" {
		return expand.Variable{Set: true, Kind: expand.String, Str: strconv.Itoa(e.p.status)}
	}
	return e.p.get(name)
}

func (e promptEnviron) Each(func(string, expand.Variable) bool) {}

// expandPrompt replaces bash's escapes, and then variables. The values of the
// escapes are not expanded.
func (p *prompter) expandPrompt(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		i++
		if value, ok := p.promptEscape(text[i]); ok {
			out.WriteString(strings.NewReplacer(`\`, `\\`, "$", `\$`, "`", "\\`").Replace(value))
			continue
		}
		if n := min(3, len(text)-i); n == 3 {
			if code, err := strconv.ParseUint(text[i:i+3], 8, 8); err == nil {
				out.WriteByte(byte(code))
				i += 2
				continue
			}
		}
		out.WriteByte('\\')
		out.WriteByte(text[i])
	}
	word, err := syntax.NewParser().Document(strings.NewReader(out.String()))
	if err != nil {
		return out.String()
	}
	expanded, err := expand.Document(&expand.Config{Env: promptEnviron{p}}, word)
	if err != nil {
		return out.String()
	}
	return expanded
}

func (p *prompter) promptEscape(c byte) (string, bool) {
	switch c {
	case 'u':
		return userName(p.get("USER").String()), true
	case 'h', 'H':
		host := p.host()
		if short, _, ok := strings.Cut(host, "."); ok && c == 'h' {
			host = short
		}
		return host, true
	case 'w', 'W':
		return p.shortDir(c == 'W'), true
	case '$':
		if os.Geteuid() == 0 {
			return "#", true
		}
		return "$", true
	case 'n':
		return "\n", true
	case 'r':
		return "\r", true
	case 'e':
		return "\x1b", true
	case 'a':
		return "\a", true
	case '[', ']':
		return "", true // the width of escape sequences is known anyway
	case '\\':
		return `\`, true
	case 's':
		return p.name, true
	case 'j':
		return strconv.Itoa(len(p.jobs.all())), true
	case 'v', 'V':
		return p.Version, true
	}
	return p.promptTime(c)
}

func (p *prompter) promptTime(c byte) (string, bool) {
	layout, ok := map[byte]string{
		't': "15:04:05", 'T': "03:04:05", '@': "03:04 PM", 'A': "15:04", 'd': "Mon Jan 02",
	}[c]
	if !ok {
		return "", false
	}
	return time.Now().Format(layout), true
}

// host is the name of the twin, which is the service of this container.
func (p *prompter) host() string {
	for _, name := range []string{"CLOUDSSH_TWIN", "K_SERVICE"} {
		if value := p.get(name).String(); value != "" {
			return value
		}
	}
	return hostname()
}

// userName is the user's name; one that nobody has a name for is a number.
func userName(told string) string {
	if told != "" {
		return told
	}
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil && u.Username != "" {
		return u.Username
	}
	if os.Geteuid() == 0 {
		return "root"
	}
	return strconv.Itoa(os.Geteuid())
}

// shortDir is the working directory with ~ for the home directory.
func (p *prompter) shortDir(base bool) string {
	dir, home := p.runner.Dir, p.get("HOME").String()
	if home != "" && home != "/" {
		if dir == home {
			return "~"
		}
		if rest, ok := strings.CutPrefix(dir, home+"/"); ok {
			dir = "~/" + rest
		}
	}
	if base {
		return filepath.Base(dir)
	}
	return dir
}

// readLine reads a line with the editor, or without a terminal as it comes.
func (p *prompter) readLine(prompt string) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.mistake(r)
			text, err = "", line.ErrInterrupted
		}
	}()
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	p.edits(cancel)
	defer p.edited()
	if p.gone() {
		return "", io.EOF
	}
	if p.tty == nil || p.get("TERM").String() == "dumb" {
		return p.readPlain(ctx, prompt)
	}
	if err := p.tty.turn.take(ctx); err != nil {
		return "", err
	}
	defer p.tty.turn.pass()
	p.tty.take()
	undo, err := p.tty.raw(true)
	if err != nil {
		p.hungUp()
		return "", err
	}
	defer undo()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	e := &line.Editor{
		Read:     func(b []byte) (int, error) { return p.readKey(ctx, resized, b) },
		Write:    p.tty.file.Write,
		Size:     p.tty.size,
		History:  p.history.lines,
		Complete: p.complete,
	}
	return e.ReadLine(prompt)
}

// mistake says what must not happen. The shell goes on: it is all that the user
// has in this container.
func (s *Shell) mistake(what any) {
	fmt.Fprintf(s.Stderr, "%s: a mistake in cloudssh: %v\n%s", s.name, what, debug.Stack()) //nolint:errcheck // there is nobody left to tell
}

// readKey reads a key, or notices that the terminal has another size.
func (p *prompter) readKey(ctx context.Context, resized <-chan os.Signal, b []byte) (int, error) {
	if ready, err := poll(p.tty.fd, -1, false); ready && err == nil {
		if n, err := readPolled(ctx, p.tty.file, b); err == nil {
			return n, nil
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-resized:
			cancel(line.ErrResized)
		case <-ctx.Done():
		}
	}()
	n, err := readPolled(ctx, p.tty.file, b)
	cancel(nil)
	<-watched
	if errors.Is(err, syscall.EIO) && p.tty.taken() {
		p.tty.take() // a program of the background has it
		return 0, nil
	}
	if err != nil && !errors.Is(err, line.ErrResized) && !errors.Is(err, line.ErrInterrupted) {
		p.hungUp() // a terminal that is there has no end
		err = io.EOF
	}
	return n, err
}

// readPlain reads a line from what is no terminal: nothing is echoed.
func (p *prompter) readPlain(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(p.Stderr, prompt) //nolint:errcheck // what is gone is noticed when reading
	source := byteReader{r: p.stdin(ctx)}
	defer source.unread()
	var text []byte
	for {
		b, err := source.next()
		switch {
		case errors.Is(err, line.ErrInterrupted):
			fmt.Fprintln(p.Stderr) //nolint:errcheck // what is gone is noticed when reading
			return "", err
		case err != nil && len(text) > 0:
			return string(text), nil
		case err != nil:
			return "", io.EOF
		case b == '\n':
			return strings.TrimSuffix(string(text), "\r"), nil
		}
		text = append(text, b)
	}
}
