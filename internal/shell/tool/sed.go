package tool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func sed(c *Context) int {
	o, ok := c.parse("nEre:f:i::sz", "quiet=n", "silent=n", "regexp-extended=E", "expression=e", "file=f", "in-place=i", "separate=s", "null-data=z")
	if !ok {
		return 2
	}
	var script []string
	files := o.operands
	for _, g := range o.given {
		switch g.flag {
		case 'e':
			script = append(script, g.value)
		case 'f':
			text, err := c.readAll(g.value)
			if err != nil {
				return c.fail(g.value, err)
			}
			script = append(script, strings.TrimSuffix(text, "\n"))
		}
	}
	if !o.has("ef") {
		if len(files) == 0 {
			return c.Usage("a script is needed")
		}
		script, files = files[:1], files[1:]
	}
	p := sedParser{in: strings.Join(script, "\n"), extended: o.has("Er"), labels: map[string]int{}}
	if err := p.parse(); err != nil {
		return c.Errorf("%s", err)
	}
	m := &sedMachine{c: c, program: p.program, silent: o.has("n") || strings.HasPrefix(p.in, "#n\n"), end: '\n', holdNewline: true, writers: map[string]*output{}}
	if o.has("z") {
		m.end = 0
	}
	defer m.close()
	if !o.has("is") {
		m.out = c.output()
		return m.out.done(m.run(files))
	}
	status := 0
	for _, name := range files {
		if m.quit {
			break
		}
		status = max(status, m.alone(name, o))
	}
	return max(status, m.status)
}

// readAll reads a file or Stdin.
func (c *Context) readAll(name string) (string, error) {
	r, err := c.open(name)
	if err != nil {
		return "", err
	}
	defer closeRead(r)
	text, err := io.ReadAll(r)
	return string(text), err
}

// alone edits one file by itself; with -i the result takes its place once it is
// complete.
func (m *sedMachine) alone(name string, o options) int {
	m.number, m.active = 0, map[int]int{}
	if !o.has("i") {
		m.out = m.c.output()
		return m.out.done(m.run([]string{name}))
	}
	path := m.c.Path(name)
	n, err := stat(path)
	if err != nil {
		return m.c.fail(name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sed*")
	if err != nil {
		return m.c.fail(name, err)
	}
	m.out = newOutput(f)
	status := m.run([]string{name})
	if m.out.flush(); m.out.err != nil {
		err = m.out.err
	}
	err = errors.Join(err, f.Close())
	if suffix := o.value('i'); err == nil && suffix != "" {
		err = os.Rename(path, path+suffix)
	}
	if err == nil {
		err = errors.Join(keepAttributes(f.Name(), n), os.Rename(f.Name(), path))
	}
	if err != nil {
		return m.c.fail(name, errors.Join(err, os.Remove(f.Name())))
	}
	return status
}
