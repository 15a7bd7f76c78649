package scp

import (
	"bufio"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a line. Linux has names of at most 255 bytes.
const maxLine = 4096

// readLine reads a line without its newline.
func readLine(r *bufio.Reader) (string, error) {
	text, err := r.ReadSlice('\n')
	if len(text) > maxLine || err == bufio.ErrBufferFull { //nolint:errorlint // ReadSlice does not wrap
		return "", fatal("protocol error: a line is too long")
	}
	if err != nil {
		return "", errLost
	}
	return string(text[:len(text)-1]), nil
}

// A record is a control line.
type record struct {
	kind         byte // C D E T, 1 or 2
	mode         uint32
	size         int64
	name         string // of C and D: one part of a path, and neither . nor ..
	mtime, atime time.Time
}

// parseRecord reads a control line. The errors are those of OpenSSH's scp.
func parseRecord(line string) (record, error) {
	if line == "" {
		return record{}, fatal("protocol error: unexpected <newline>")
	}
	r := record{kind: line[0]}
	switch r.kind {
	case 1, 2:
		return r, nil
	case 'E':
		return r, nil
	case 'T':
		return r, r.parseTimes(line[1:])
	case 'C', 'D':
		return r, r.parseEntry(line[1:])
	}
	return record{}, fatal("protocol error: expected control record")
}

func (r *record) parseTimes(text string) error {
	fields := strings.Split(text, " ")
	if len(fields) != 4 {
		return fatal("protocol error: times are not four numbers")
	}
	var numbers [4]int64
	for i, field := range fields {
		n, ok := number(field)
		if !ok || i%2 == 1 && n > 999_999 {
			return fatal("protocol error: bad time %q", field)
		}
		numbers[i] = n
	}
	r.mtime = time.Unix(numbers[0], numbers[1]*1000)
	r.atime = time.Unix(numbers[2], numbers[3]*1000)
	return nil
}

func (r *record) parseEntry(text string) error {
	mode, rest, ok := strings.Cut(text, " ")
	if !ok {
		return fatal("protocol error: mode not delimited")
	}
	bits, err := strconv.ParseUint(mode, 8, 12)
	if err != nil || len(mode) != 4 {
		return fatal("protocol error: bad mode")
	}
	size, name, ok := strings.Cut(rest, " ")
	if !ok {
		return fatal("protocol error: size not delimited")
	}
	if r.size, ok = number(size); !ok {
		return fatal("protocol error: bad size")
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fatal("error: unexpected filename: %s", name)
	}
	r.mode, r.name = uint32(bits), name
	return nil
}

// number reads decimal digits, and nothing else.
func number(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return int64(n), err == nil && n <= math.MaxInt64
}
