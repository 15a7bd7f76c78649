package transfer

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// validName reports whether a name that a listing gave stands for an entry of
// the listed directory. A hostile server may send others.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// Quote makes a path fit for a terminal: as it is when all of it can be
// printed, else quoted with escapes.
func Quote(path string) string {
	if utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return path
	}
	return strconv.Quote(path)
}
