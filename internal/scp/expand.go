package scp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxWords bounds what braces can make of one word.
const maxWords = 4096

// expand makes of a pattern what a shell in dir would: alternatives in braces,
// home directories, files. A wildcard that matches nothing stays as it is.
func (p pattern) expand(env Environment, dir string) []string {
	var names []string
	for _, one := range p.braces() {
		one = one.tilde(env)
		found := []string{}
		if one.live('*') || one.live('?') || one.live('[') {
			found = one.glob(dir)
		}
		if len(found) == 0 {
			found = []string{one.literal()}
		}
		names = append(names, found...)
	}
	return names
}

// braces expands {a,b}, as bash does. It leaves alone what has no comma in it.
func (p pattern) braces() []pattern {
	done, todo := []pattern{}, []pattern{p}
	for len(todo) > 0 {
		one := todo[0]
		todo = todo[1:]
		start, commas, end := one.group()
		if end < 0 || len(done)+len(todo)+len(commas) >= maxWords {
			done = append(done, one)
			continue
		}
		var made []pattern
		from := start + 1
		for _, to := range append(commas, end) {
			made = append(made, one[:start]+one[from:to]+one[end+1:])
			from = to + 1
		}
		todo = append(made, todo...)
	}
	return done
}

// group finds the first pair of braces with a comma between them; end is -1 if
// there is none.
func (p pattern) group() (start int, commas []int, end int) {
	for start := 0; start < len(p); start++ {
		switch p[start] {
		case '\\':
			start++
		case '{':
			if commas, end := p.closing(start); end >= 0 && len(commas) > 0 {
				return start, commas, end
			}
		}
	}
	return 0, nil, -1
}

// closing finds the brace that closes the one at start, and the commas that
// belong to the two.
func (p pattern) closing(start int) (commas []int, end int) {
	depth := 0
	for i := start; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			depth++
		case ',':
			if depth == 1 {
				commas = append(commas, i)
			}
		case '}':
			if depth--; depth == 0 {
				return commas, i
			}
		}
	}
	return nil, -1
}

// tilde replaces ~ and ~user at the beginning.
func (p pattern) tilde(env Environment) pattern {
	if !strings.HasPrefix(string(p), "~") || env.Home == nil {
		return p
	}
	user, rest := p[1:], pattern("")
	if slash := strings.IndexByte(string(user), '/'); slash >= 0 {
		user, rest = user[:slash], user[slash:]
	}
	home, ok := env.Home(user.literal())
	if !ok {
		return p
	}
	return quote(home) + rest
}

// glob is the files that match, sorted. Relative patterns start in dir, and so
// do their results.
func (p pattern) glob(dir string) []string {
	at := []string{""} // what has been matched of the path
	rest := string(p)
	if strings.HasPrefix(rest, "/") {
		rest = strings.TrimLeft(rest, "/")
		at[0] = "/"
	}
	for rest != "" && len(at) > 0 {
		part, tail, slash := strings.Cut(rest, "/")
		separator := rest[len(part):]
		if slash {
			tail = strings.TrimLeft(tail, "/")
			separator = "/"
		}
		at = pattern(part).matches(dir, at, separator)
		rest = tail
	}
	slices.Sort(at)
	return at
}

// matches extends paths by what a part of the pattern stands for.
func (p pattern) matches(dir string, paths []string, separator string) []string {
	var found []string
	plain := !p.live('*') && !p.live('?') && !p.live('[')
	for _, path := range paths {
		in := path
		if !filepath.IsAbs(path) {
			in = dir + "/" + path
		}
		if plain {
			if _, err := os.Lstat(in + p.literal() + separator); err == nil {
				found = append(found, path+p.literal()+separator)
			}
			continue
		}
		// What cannot be read matches nothing, as in a shell.
		f, err := os.Open(in)
		if err != nil {
			continue
		}
		names, _ := f.Readdirnames(-1)
		f.Close() //nolint:errcheck // it was read only
		for _, name := range names {
			if !p.match(name) {
				continue
			}
			if info, err := os.Stat(in + name); separator == "" || err == nil && info.IsDir() {
				found = append(found, path+name+separator)
			}
		}
	}
	return found
}

// match tells whether a file's name matches. One that begins with a dot does only
// if the pattern does.
func (p pattern) match(name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(string(p), ".") && !strings.HasPrefix(string(p), `\.`) {
		return false
	}
	return match(string(p), name)
}

// match goes back to the last star only: an earlier one could not do better.
func match(p, name string) bool {
	star, mark := "", ""
	backtrack := false
	for p != "" || name != "" {
		if strings.HasPrefix(p, "*") {
			p = p[1:]
			star, mark, backtrack = p, name, true
			continue
		}
		if rest, width, ok := matchOne(p, name); ok {
			p, name = rest, name[width:]
			continue
		}
		if !backtrack || mark == "" {
			return false
		}
		_, width := utf8.DecodeRuneInString(mark)
		mark = mark[width:]
		p, name = star, mark
	}
	return true
}

// matchOne matches one character, which is a byte where the name is not UTF-8.
// rest is the pattern behind it.
func matchOne(p, name string) (rest string, width int, ok bool) {
	if p == "" || name == "" {
		return "", 0, false
	}
	c, width := utf8.DecodeRuneInString(name)
	switch p[0] {
	case '?':
		return p[1:], width, true
	case '[':
		if rest, in, ok := matchSet(p[1:], c); ok {
			return rest, width, in
		}
	case '\\':
		p = p[1:]
	}
	return p[min(1, len(p)):], 1, p != "" && p[0] == name[0]
}

// matchSet matches the inside of [...]. ok is false if it has no end: then the
// bracket is an ordinary character.
func matchSet(p string, c rune) (rest string, in, ok bool) {
	negated := strings.HasPrefix(p, "!") || strings.HasPrefix(p, "^")
	if negated {
		p = p[1:]
	}
	for first := true; p != ""; first = false {
		if p[0] == ']' && !first {
			return p[1:], in != negated, true
		}
		low, width := setRune(p)
		p = p[width:]
		high := low
		if len(p) > 1 && p[0] == '-' && p[1] != ']' {
			high, width = setRune(p[1:])
			p = p[1+width:]
		}
		in = in || low <= c && c <= high
	}
	return "", false, false
}

func setRune(p string) (r rune, width int) {
	if len(p) > 1 && p[0] == '\\' {
		r, width = utf8.DecodeRuneInString(p[1:])
		return r, width + 1
	}
	return utf8.DecodeRuneInString(p)
}
