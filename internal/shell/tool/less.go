package tool

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// A pager is one run of less.
type pager struct {
	c     *Context
	out   *output
	keys  *keyboard
	src   *source
	name  string
	names []string
	file  int // of names

	cols, rows           int
	line, row            int // at the top of the screen: line, and row of it
	left                 int // columns scrolled to the right, with chop
	chop, colours, count bool
	search               *regexp.Regexp
	backwards            bool
	message              string
	number               int  // typed before a command
	tail                 bool // the end was asked for, and is not known yet
}

func less(c *Context) int {
	o, ok := c.parse("RrSNFXEeinMmIGgsx:p:q", "chop-long-lines=S", "RAW-CONTROL-CHARS=R", "quit-if-one-screen=F", "no-init=X",
		"LINE-NUMBERS=N", "ignore-case=i")
	if !ok {
		return 2
	}
	if !c.StdoutTTY || c.Terminal == nil {
		return c.each(o.operands, func(_ string, r io.Reader) error {
			_, err := io.Copy(c.Stdout, r)
			return err
		})
	}
	p := &pager{c: c, names: o.operands, chop: o.has("S"), colours: o.has("Rr"), count: o.has("N"), keys: &keyboard{c: c}}
	if len(p.names) == 0 {
		if c.StdinTTY {
			return c.Usage("a file is needed")
		}
		p.names = []string{"-"}
	}
	for i, name := range p.names { // the first that can be read
		r, err := c.open(name)
		if err != nil {
			c.fail(name, err)
			continue
		}
		p.file = i
		closeRead(r)
		return c.fullScreen(p.run)
	}
	return 1
}

var errNext = errors.New("another file")

func (p *pager) run(out *output) error {
	p.out = out
	for {
		err := p.show()
		if !errors.Is(err, errNext) {
			return err
		}
	}
}

// show shows one file.
func (p *pager) show() error {
	p.name = p.names[p.file]
	r, err := p.c.open(p.name)
	if err != nil {
		p.message = p.name + ": " + reason(err)
		r = io.NopCloser(strings.NewReader(""))
	}
	defer closeRead(r)
	p.src = newSource(r)
	p.cols, p.rows = p.c.Terminal.Size()
	p.line, p.row, p.left = 0, 0, 0
	go p.src.read(r)
	p.tail = false
	p.src.wait(p.c, p.rows)
	for {
		p.cols, p.rows = p.c.Terminal.Size()
		p.rows = max(p.rows, 2)
		if p.src.file != nil {
			p.src.wait(p.c, p.line+p.rows+1)
		}
		p.clamp()
		p.draw()
		key, err := p.keys.next(p.more())
		if err != nil {
			return errStop // the run was given up, or the terminal has gone
		}
		if key >= '0' && key <= '9' {
			p.number = min(p.number*10+int(key-'0'), 1<<30)
			continue
		}
		switch key {
		case keyResize:
		case keyNone:
			if p.tail {
				p.end()
			}
		default:
			p.message, p.tail = "", false
			if err := p.key(key); err != nil {
				return err
			}
			p.number = 0
		}
	}
}

// more is where more of the text is announced. That matters only while the screen
// is not full, or the end is waited for.
func (p *pager) more() <-chan struct{} {
	if n, all := p.src.count(); !all && (n < p.line+p.rows || p.tail) {
		return p.src.more
	}
	return nil
}

// key obeys one key.
func (p *pager) key(key rune) error {
	page := p.rows - 1
	n := max(p.number, 1)
	switch key {
	case 'q', 'Q', ctrl('c'):
		return errStop
	case 'j', 'e', keyEnter, keyDown, ctrl('n'), ctrl('e'):
		p.down(n)
	case 'k', 'y', keyUp, ctrl('p'), ctrl('y'):
		p.up(n)
	case ' ', 'f', ctrl('f'), ctrl('v'), keyPageDown:
		p.down(page)
	case 'b', ctrl('b'), keyPageUp:
		p.up(page)
	case 'd', ctrl('d'):
		p.down(max(page/2, 1))
	case 'u', ctrl('u'):
		p.up(max(page/2, 1))
	case 'g', '<', keyHome:
		p.line, p.row = n-1, 0
	case 'G', '>', keyEnd:
		p.end()
	case keyRight:
		p.left += p.cols / 2
		p.chop = true
	case keyLeft:
		p.left = max(0, p.left-p.cols/2)
	case '/', '?':
		return p.ask(key)
	case 'n', 'N':
		p.find(p.backwards != (key == 'N'))
	case '-':
		p.toggle()
	case ':':
		return p.colon()
	case '=', ctrl('g'):
		p.message = p.position()
	case 'h', 'H':
		p.message = "j k: line  space b: page  d u: half  g G: ends  / ? n N: search  -S -N -R: switches  :n :p: files  q: quit"
	}
	return nil
}

// toggle reads the letter of a switch.
func (p *pager) toggle() {
	key, err := p.keys.next(nil)
	if err != nil {
		return
	}
	switch key {
	case 'S':
		p.chop, p.left = !p.chop, 0
	case 'N', 'n':
		p.count = !p.count
	case 'R', 'r':
		p.colours = !p.colours
	}
}

func (p *pager) colon() error {
	key, err := p.keys.next(nil)
	if err != nil {
		return errStop // the terminal has gone
	}
	switch {
	case key == 'q':
		return errStop
	case key == 'n' && p.file+1 < len(p.names):
		p.file++
		return errNext
	case key == 'p' && p.file > 0:
		p.file--
		return errNext
	case key == 'n' || key == 'p':
		p.message = "no other file"
	}
	return nil
}

// width is how many columns text has.
func (p *pager) width() int {
	if p.count {
		return max(1, p.cols-8)
	}
	return p.cols
}

// starts are where the rows of a line begin.
func (p *pager) starts(line int) []int {
	if p.chop {
		return []int{0}
	}
	return wrap(p.src.line(line), p.width(), p.colours)
}

func (p *pager) down(n int) {
	for ; n > 0; n-- {
		count, _ := p.src.count()
		if p.row+1 < len(p.starts(p.line)) {
			p.row++
		} else if p.line+1 < count {
			p.line, p.row = p.line+1, 0
		}
	}
}

func (p *pager) up(n int) {
	for ; n > 0 && (p.line > 0 || p.row > 0); n-- {
		if p.row > 0 {
			p.row--
			continue
		}
		p.line--
		p.row = len(p.starts(p.line)) - 1
	}
}

func (p *pager) end() {
	if p.number > 0 {
		p.line, p.row = p.number-1, 0
		return
	}
	p.src.wait(p.c, 1<<60)
	count, all := p.src.count()
	p.line, p.row, p.tail = count, 0, !all
}

// clamp keeps the screen full at the end of the text.
func (p *pager) clamp() {
	count, _ := p.src.count()
	if count == 0 {
		p.line, p.row = 0, 0
		return
	}
	line, row := p.line, p.row
	p.line, p.row = count-1, len(p.starts(count-1))-1
	p.up(p.rows - 2)
	if line < p.line || line == p.line && row < p.row {
		p.line, p.row = line, row
	}
}

func (p *pager) position() string {
	count, all := p.src.count()
	of := strconv.Itoa(count)
	if !all {
		of += "+"
	}
	return p.name + " line " + strconv.Itoa(min(p.line+1, count)) + "/" + of
}

// ask reads what to look for.
func (p *pager) ask(mark rune) error {
	text := ""
	for {
		p.message = string(mark) + text
		p.draw()
		key, err := p.keys.next(nil)
		switch {
		case err != nil:
			return errStop
		case key == keyEscape, key == ctrl('c'), key == keyBackspace && text == "":
			p.message = ""
			return nil
		case key == keyBackspace:
			r := []rune(text)
			text = string(r[:len(r)-1])
		case key == keyEnter, key == '\n':
			p.message = ""
			if text != "" {
				re, err := compile(text, true, strings.ToLower(text) == text)
				if err != nil {
					p.message = err.Error()
					return nil //nolint:nilerr // it was said
				}
				p.search = re
			}
			p.backwards = mark == '?'
			p.find(p.backwards)
			return nil
		case key >= ' ':
			text += string(key)
		}
	}
}

// find goes to the next line with what was looked for.
func (p *pager) find(backwards bool) {
	if p.search == nil {
		p.message = "nothing was looked for yet"
		return
	}
	step := 1
	if backwards {
		step = -1
	}
	for i := p.line + step; p.c.Err() == nil; i += step {
		count, all := p.src.count()
		if i >= count && !all {
			p.src.wait(p.c, i+1)
			count, all = p.src.count()
		}
		if i < 0 || i >= count {
			if p.message = "not found"; !all {
				p.message = "not found in what has been read so far"
			}
			return
		}
		if p.search.MatchString(p.src.line(i)) {
			p.line, p.row = i, 0
			return
		}
	}
}
