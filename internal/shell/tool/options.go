package tool

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags and operands of a command line.
type options struct {
	given    []option
	operands []string
}

// An option is one flag; value is empty unless it takes one.
type option struct {
	flag  byte
	value string
}

// parse reads the command line as getopt_long(3) does, and complains itself
// when it cannot. short is getopt's: letters, those with a value followed by a
// colon, by two when the value is optional and must be attached; a leading plus
// sign ends the flags at the first operand. long has "name=letter" for each long
// name; as anywhere else, it may be shortened.
func (c *Context) parse(short string, long ...string) (options, bool) {
	short, first := strings.CutPrefix(short, "+")
	var o options
	for args := c.Args[1:]; len(args) > 0; {
		arg := args[0]
		args = args[1:]
		var why string
		switch {
		case arg == "--":
			o.operands = append(o.operands, args...)
			return o, true
		case strings.HasPrefix(arg, "--"):
			args, why = o.long(arg[2:], args, short, long)
		case len(arg) > 1 && arg[0] == '-':
			args, why = o.letters(arg[1:], args, short)
		case first:
			o.operands = append(append(o.operands, arg), args...)
			return o, true
		default:
			o.operands = append(o.operands, arg)
		}
		if why != "" {
			c.Usage("%s (try %s --help)", why, c.Args[0])
			return o, false
		}
	}
	return o, true
}

// letters takes one word of short flags, and the word after it if that is a
// value. why is empty unless something is wrong.
func (o *options) letters(word string, args []string, short string) (rest []string, why string) {
	for i := range len(word) {
		at := strings.IndexByte(short, word[i])
		if at < 0 || word[i] == ':' {
			return args, "unknown option -" + word[i:i+1]
		}
		kind := short[at+1:]
		switch {
		case strings.HasPrefix(kind, "::"):
			o.given = append(o.given, option{word[i], word[i+1:]})
			return args, ""
		case strings.HasPrefix(kind, ":"):
			value := word[i+1:]
			if value == "" {
				if len(args) == 0 {
					return args, "option -" + word[i:i+1] + " needs a value"
				}
				value, args = args[0], args[1:]
			}
			o.given = append(o.given, option{word[i], value})
			return args, ""
		}
		o.given = append(o.given, option{word[i], ""})
	}
	return args, ""
}

// long takes one long flag, and the word after it if that is its value.
func (o *options) long(word string, args []string, short string, names []string) (rest []string, why string) {
	name, value, attached := strings.Cut(word, "=")
	var found []string
	for _, n := range names {
		if full, _, _ := strings.Cut(n, "="); full == name {
			found = []string{n}
			break
		} else if strings.HasPrefix(full, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return args, "unknown option --" + name
	case 1:
	default:
		return args, "option --" + name + " could be several"
	}
	flag := found[0][len(found[0])-1]
	at := strings.IndexByte(short, flag)
	takes := at >= 0 && strings.HasPrefix(short[at+1:], ":")
	optional := takes && strings.HasPrefix(short[at+1:], "::")
	switch {
	case attached && !takes:
		return args, "option --" + name + " takes no value"
	case takes && !attached && !optional:
		if len(args) == 0 {
			return args, "option --" + name + " needs a value"
		}
		value, args = args[0], args[1:]
	}
	o.given = append(o.given, option{flag, value})
	return args, ""
}

// has reports whether one of the flags was given.
func (o options) has(flags string) bool { return o.last(flags) != 0 }

// last is that of the flags which was given last, or 0.
func (o options) last(flags string) byte {
	for _, g := range slices.Backward(o.given) {
		if strings.IndexByte(flags, g.flag) >= 0 {
			return g.flag
		}
	}
	return 0
}

// value is what was given last for the flag, or "".
func (o options) value(flag byte) string {
	for _, g := range slices.Backward(o.given) {
		if g.flag == flag {
			return g.value
		}
	}
	return ""
}

// values are all that were given for the flag.
func (o options) values(flag byte) []string {
	var all []string
	for _, g := range o.given {
		if g.flag == flag {
			all = append(all, g.value)
		}
	}
	return all
}

// number reads the value of a flag as a number with a suffix of sizes; absent is
// what it is when the flag was not given.
func (o options) number(flag byte, absent int64) (int64, error) {
	if !o.has(string(flag)) {
		return absent, nil
	}
	return size(o.value(flag))
}

// size reads 10, 10k, 10M, 10G, 10KB, 10KiB or 2b (blocks of 512 bytes).
func size(s string) (int64, error) {
	digits := strings.TrimRight(s, "bBkKiMGTc")
	unit := int64(1)
	switch strings.TrimSuffix(strings.ToUpper(s[len(digits):]), "IB") {
	case "", "C":
	case "B":
		unit = 512
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	case "T":
		unit = 1 << 40
	case "KB":
		unit = 1e3
	case "MB":
		unit = 1e6
	case "GB":
		unit = 1e9
	default:
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n * unit, err
}

// duration reads 1, 0.5, 10s, 5m, 2h, 1d, as sleep(1) and timeout(1) do.
func duration(s string) (time.Duration, error) {
	number, unit := s, time.Second
	if s != "" {
		switch s[len(s)-1] {
		case 's':
			number = s[:len(s)-1]
		case 'm':
			number, unit = s[:len(s)-1], time.Minute
		case 'h':
			number, unit = s[:len(s)-1], time.Hour
		case 'd':
			number, unit = s[:len(s)-1], 24*time.Hour
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 {
		return 0, strconv.ErrSyntax
	}
	return time.Duration(f * float64(unit)), nil
}
