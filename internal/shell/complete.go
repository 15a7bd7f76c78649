//go:build linux || darwin

package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"

	"github.com/cloudssh/cloudssh/internal/shell/line"
)

// A partialWord is the word before the cursor.
type partialWord struct {
	start   int
	text    string // without quotes
	quote   byte   // the quote that is open, or 0
	command bool   // it stands where a command does
	first   string // the command of which it is an argument
}

// complete is what the word before the cursor could be: a variable, a command,
// or a file.
func (p *prompter) complete(text string, pos int) (start int, found []line.Candidate) {
	w := wordBefore(text[:pos])
	if dollar := strings.LastIndexByte(text[w.start:pos], '$'); dollar >= 0 && w.quote != '\'' {
		at := w.start + dollar + 1
		brace := strings.HasPrefix(text[at:pos], "{")
		name := strings.TrimPrefix(text[at:pos], "{")
		if isName(name) {
			return at, p.completeVariable(name, brace)
		}
	}
	if w.command && !strings.Contains(w.text, "/") && !strings.HasPrefix(w.text, "~") {
		return w.start, p.completeCommand(w)
	}
	if strings.HasPrefix(w.text, "%") && slices.Contains([]string{"fg", "bg", "kill", "wait", "disown"}, w.first) {
		return w.start, p.completeJob(w)
	}
	return w.start, p.completeFile(w)
}

// wordBefore finds the last word of a text, and what it is for.
func wordBefore(text string) partialWord {
	w := partialWord{command: true}
	var word strings.Builder
	var words []string
	in := false
	end := func(next int) {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in, w.start = false, next
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case w.quote == '\'' && c != '\'', w.quote == '"' && c != '"' && c != '\\':
			word.WriteByte(c)
		case w.quote == c:
			w.quote = 0
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			in = true
		case c == '\'' || c == '"':
			w.quote, in = c, true
		case strings.IndexByte(" \t\n", c) >= 0:
			end(i + 1)
		case strings.IndexByte(";|&(`{", c) >= 0 && (c != '{' || !in):
			end(i + 1)
			words = nil
		case c == '<' || c == '>':
			end(i + 1)
			words = append(words, ">") // a file follows
		default:
			word.WriteByte(c)
			in = true
		}
	}
	w.text = word.String()
	words = slices.DeleteFunc(words, beforeCommand)
	w.command = len(words) == 0
	if !w.command {
		w.first = words[0]
	}
	return w
}

// beforeCommand says whether a command follows a word.
func beforeCommand(word string) bool {
	if name, _, ok := strings.Cut(word, "="); ok && isName(name) && name != "" {
		return true
	}
	return slices.Contains([]string{
		"sudo", "time", "exec", "command", "builtin", "!", "if", "then", "else", "elif", "while", "until", "do",
		"xargs", "nohup", "watch", "which", "type", "help",
	}, word)
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func (p *prompter) completeVariable(prefix string, brace bool) []line.Candidate {
	names := map[string]bool{}
	add := func(name string, vr expand.Variable) bool {
		if vr.IsSet() && strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, internalPrefix) {
			names[name] = true
		}
		return true
	}
	p.env.Each(add)
	for name, vr := range p.runner.Vars {
		add(name, vr)
	}
	var found []line.Candidate
	for _, name := range sortedKeys(names) {
		c := line.Candidate{Text: name, Shown: "$" + name, More: true}
		if brace {
			c.Text = "{" + name + "}"
		}
		found = append(found, c)
	}
	return found
}

// commands are the names of all that can be called.
func (p *prompter) commands() map[string]bool {
	names := map[string]bool{}
	for name := range p.tools {
		names[name] = true
	}
	for name, b := range p.own {
		names[name] = !b.hidden
	}
	for name := range p.runner.Funcs {
		names[name] = true
	}
	for _, name := range strings.Fields(`alias break case cd continue declare do done echo elif else esac eval exec
		exit export false fi for function getopts if local mapfile popd printf pushd pwd readonly return select
		shift shopt source test then time true typeset unalias unset until while`) {
		names[name] = true
	}
	for _, dir := range filepath.SplitList(p.get("PATH").String()) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if names[e.Name()] || !e.Type().IsRegular() && e.Type()&os.ModeSymlink == 0 {
				continue
			}
			names[e.Name()] = true
		}
	}
	return names
}

func (p *prompter) completeCommand(w partialWord) []line.Candidate {
	if w.text == "" {
		return nil
	}
	names := p.commands()
	var found []line.Candidate
	for _, name := range sortedKeys(names) {
		if names[name] && strings.HasPrefix(name, w.text) && !strings.HasPrefix(name, internalPrefix) {
			found = append(found, line.Candidate{Text: name})
		}
	}
	for _, c := range p.completeFile(w) {
		if c.More { // the directories of here may hold programs
			found = append(found, c)
		}
	}
	return found
}

func (p *prompter) completeJob(w partialWord) []line.Candidate {
	var found []line.Candidate
	for _, j := range p.jobs.all() {
		if spec := "%" + itoa(j.id); strings.HasPrefix(spec, w.text) {
			found = append(found, line.Candidate{Text: spec, Shown: spec + " " + j.text})
		}
	}
	return found
}

func (p *prompter) completeFile(w partialWord) []line.Candidate {
	dir, prefix := filepath.Split(w.text)
	path := dir
	if home := p.get("HOME").String(); strings.HasPrefix(dir, "~/") && home != "" {
		path = home + dir[1:]
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.runner.Dir, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var found []line.Candidate
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, prefix) || strings.HasPrefix(name, ".") && prefix == "" {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, name))
			isDir = err == nil && info.IsDir()
		}
		if (w.first == "cd" || w.first == "rmdir" || w.first == "pushd") && !isDir {
			continue
		}
		c := line.Candidate{Text: escapeWord(dir+name, w.quote), Shown: name}
		switch {
		case isDir:
			c.Text, c.Shown, c.More = c.Text+"/", name+"/", true
		case w.quote != 0:
			c.Text += string(w.quote)
		}
		found = append(found, c)
	}
	return found
}

// escapeWord is a file's name as it must be typed.
func escapeWord(name string, quote byte) string {
	switch quote {
	case '\'':
		return "'" + strings.ReplaceAll(name, "'", `'\''`)
	case '"':
		return `"` + strings.NewReplacer(`"`, `\"`, "$", `\$`, "`", "\\`", `\`, `\\`).Replace(name)
	}
	var out strings.Builder
	for i, r := range name {
		if strings.ContainsRune(" \t\n\\'\"`$&|;<>()*?[]{}!#~", r) && (r != '~' || i > 0) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
