package screen

import "strconv"

// A colour is the terminal's default (0), or a kind and its value.
type colour uint32

const (
	basic   colour = 1 << 24 // SGR 30 to 37 and 90 to 97: 0 to 15
	indexed colour = 2 << 24 // SGR 38;5
	direct  colour = 3 << 24 // SGR 38;2: red, green, blue
	kinds   colour = 0xff << 24
)

// An attr is a set of attributes, and of what a cell is.
type attr uint16

const (
	bold attr = 1 << iota
	faint
	italic
	blink
	rapid
	reverse
	conceal
	strike
	overline
	underline // times the style, 1 to 5

	wide attr = 1 << 12 // the first half of a wide character
	tail attr = 1 << 13 // the second half

	underlines = 7 * underline
	styled     = underline<<3 - 1 // all but what a cell is
)

// A pen is what SGR and OSC 8 set for the characters to come.
type pen struct {
	fg, bg colour
	attr   attr
	line   colour // of underlines
	link   string // as in OSC 8: parameters, semicolon, address
}

// sgr handles Select Graphic Rendition. Sub-parameters come as in 4:3.
func (p *pen) sgr(params []param) {
	if len(params) == 0 {
		params = []param{{value: 0}}
	}
	for i := 0; i < len(params); i++ {
		n := params[i].or(0)
		subs := subParams(params[i:])
		switch {
		case n == 38 || n == 48 || n == 58:
			c, used, ok := parseColour(params[i:], len(subs))
			if ok {
				p.setColour(n, c)
			}
			i += used
			continue
		case n == 4 && len(subs) > 0:
			p.attr = p.attr&^underlines | underline*attr(min(subs[0].or(1), 5))
		default:
			p.set(n)
		}
		i += len(subs)
	}
}

func (p *pen) set(n int) {
	switch {
	case n == 0:
		*p = pen{link: p.link}
	case n <= 9 && n != 4:
		p.attr |= [...]attr{1: bold, 2: faint, 3: italic, 5: blink, 6: rapid, 7: reverse, 8: conceal, 9: strike}[n]
	case n == 4:
		p.attr = p.attr&^underlines | underline
	case n == 21:
		p.attr = p.attr&^underlines | 2*underline
	case n >= 22 && n <= 29 && n != 26:
		p.attr &^= [...]attr{0: bold | faint, 1: italic, 2: underlines, 3: blink | rapid, 4: 0, 5: reverse, 6: conceal, 7: strike}[n-22]
	case n >= 30 && n <= 37:
		p.fg = basic | colour(n-30)
	case n == 39:
		p.fg = 0
	case n >= 40 && n <= 47:
		p.bg = basic | colour(n-40)
	case n == 49:
		p.bg = 0
	case n == 53:
		p.attr |= overline
	case n == 55:
		p.attr &^= overline
	case n == 59:
		p.line = 0
	case n >= 90 && n <= 97:
		p.fg = basic | colour(n-90+8)
	case n >= 100 && n <= 107:
		p.bg = basic | colour(n-100+8)
	}
}

func (p *pen) setColour(n int, c colour) {
	switch n {
	case 38:
		p.fg = c
	case 48:
		p.bg = c
	case 58:
		p.line = c
	}
}

// subParams are the parameters that colons join to the first.
func subParams(params []param) []param {
	n := 0
	for n < len(params) && params[n].joined {
		n++
	}
	return params[1 : 1+min(n, len(params)-1)]
}

// parseColour reads 38;5;n and 38;2;r;g;b, with semicolons or colons, and with
// the colour space that ISO 8613-6 has and most programs leave out. used is how
// many parameters were read beside the first.
func parseColour(params []param, joined int) (c colour, used int, ok bool) {
	args := params[1:]
	if joined > 0 {
		args = params[1 : 1+joined]
	}
	if len(args) == 0 {
		return 0, 0, false
	}
	switch args[0].or(0) {
	case 5:
		used = min(2, len(args))
		if len(args) > 1 {
			c, ok = indexed|colour(min(args[1].or(0), 255)), true
		}
	case 2:
		values := args[1:]
		if joined > 4 {
			values = args[2:]
		}
		used = min(4, len(args))
		if len(values) >= 3 {
			c, ok = direct, true
			for i := range 3 {
				c |= colour(min(values[i].or(0), 255)) << (16 - 8*i)
			}
		}
	default:
		used = 1
	}
	if joined > 0 {
		used = joined
	}
	return c, used, ok
}

// appendSGR appends what changes one pen into another, links apart.
func appendSGR(b []byte, from, to pen) []byte {
	if from.fg == to.fg && from.bg == to.bg && from.attr&styled == to.attr&styled && from.line == to.line {
		return b
	}
	if to.fg == 0 && to.bg == 0 && to.attr&styled == 0 && to.line == 0 {
		return append(b, "\x1b[m"...)
	}
	b = append(b, "\x1b["...)
	if from.attr&styled != to.attr&styled || from.line != to.line {
		b = append(b, '0')
		b = appendAttrs(b, to)
		from = pen{}
	}
	if from.fg != to.fg {
		b = appendColour(b, to.fg, 30)
	}
	if from.bg != to.bg {
		b = appendColour(b, to.bg, 40)
	}
	return append(b, 'm')
}

func appendAttrs(b []byte, p pen) []byte {
	for i, n := range [...]string{";1", ";2", ";3", ";5", ";6", ";7", ";8", ";9", ";53"} {
		if p.attr&(1<<i) != 0 {
			b = append(b, n...)
		}
	}
	switch style := p.attr & underlines / underline; style {
	case 0:
	case 1:
		b = append(b, ";4"...)
	case 2:
		b = append(b, ";21"...)
	default:
		b = strconv.AppendUint(append(b, ";4:"...), uint64(style), 10)
	}
	switch value := int(p.line &^ kinds); p.line & kinds {
	case indexed:
		b = strconv.AppendInt(append(b, ";58:5:"...), int64(value), 10)
	case direct:
		b = append(b, ";58:2:"...)
		for shift := 16; shift >= 0; shift -= 8 {
			b = strconv.AppendInt(append(b, ':'), int64(value>>shift&255), 10)
		}
	}
	return b
}

// appendColour appends the parameters of a colour; base is 30 or 40.
func appendColour(b []byte, c colour, base int) []byte {
	if b[len(b)-1] != '[' {
		b = append(b, ';')
	}
	value := int(c &^ kinds)
	number := func(n int) { b = strconv.AppendInt(b, int64(n), 10) }
	switch c & kinds {
	case 0:
		number(base + 9)
	case basic:
		if value >= 8 {
			value += 60 - 8
		}
		number(base + value)
	case indexed:
		number(base + 8)
		b = append(b, ";5;"...)
		number(value)
	case direct:
		number(base + 8)
		b = append(b, ";2"...)
		for shift := 16; shift >= 0; shift -= 8 {
			b = append(b, ';')
			number(value >> shift & 255)
		}
	}
	return b
}
