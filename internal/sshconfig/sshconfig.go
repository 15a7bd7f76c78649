// Package sshconfig puts blocks of ours into the text of an OpenSSH client
// configuration and takes them out again, without touching a byte outside them.
// It is pure text: files, permissions and programs are its caller's business.
package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The markers are comments to ssh. What follows mark and the colon is the
// prefix of the hosts that the block is for; a block that names none is taken
// for any prefix's.
const (
	beginMark = "# >>> cloudssh config"
	endMark   = "# <<< cloudssh config"
)

// Lines of a block in which it remembers what was not there before it, so that
// who takes it out can take that away too.
const (
	madeFileLine   = "# cloudssh made this file."
	madeFolderLine = "# cloudssh made this folder."
)

// Made is what was made to hold a block.
type Made struct{ File, Folder bool }

// File is the text of a configuration, taken apart.
type File struct {
	parts []part
}

// part is a stretch of the user's text, or one block of ours with its markers
// and the line end after it.
type part struct {
	text   []byte
	block  bool
	prefix string // of a block; empty if it names none
	made   Made
}

// MarkerError is a block of which only one end is there. Nobody can say then
// which lines are ours.
type MarkerError struct {
	Line int // counted from 1
	End  bool
}

func (e *MarkerError) Error() string {
	if e.End {
		return fmt.Sprintf("line %d ends a block of cloudssh's that begins nowhere", e.Line)
	}
	return fmt.Sprintf("line %d begins a block of cloudssh's that ends nowhere", e.Line)
}

// ErrUTF16 is a file that ssh cannot read and that no block can be put into.
var ErrUTF16 = errors.New("the file is in UTF-16, which ssh does not read")

// Parse takes a configuration apart.
func Parse(content []byte) (*File, error) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, ErrUTF16
	}
	var (
		f     File
		cur   part
		begin int // line of the open block's marker
		line  int
	)
	flush := func() {
		if len(cur.text) > 0 {
			f.parts = append(f.parts, cur)
		}
		cur = part{}
	}
	if rest, ok := bytes.CutPrefix(content, []byte(bom)); ok {
		f.parts, content = []part{{text: []byte(bom)}}, rest
	}
	for text := range bytes.Lines(content) {
		line++
		trimmed := strings.TrimSpace(string(text))
		switch {
		case isMark(trimmed, beginMark):
			if cur.block {
				return nil, &MarkerError{Line: begin}
			}
			flush()
			cur, begin = part{block: true, prefix: prefixOf(trimmed)}, line
		case isMark(trimmed, endMark) && !cur.block:
			return nil, &MarkerError{Line: line, End: true}
		}
		cur.text = append(cur.text, text...)
		cur.remember(trimmed)
		if cur.block && isMark(trimmed, endMark) {
			flush()
		}
	}
	if cur.block {
		return nil, &MarkerError{Line: begin}
	}
	flush()
	return &f, nil
}

// bom may begin a file that was written on Windows, where ssh reads past it. It
// is a part of its own, and stays the first.
const bom = "\ufeff"

// isMark reports whether a line is a marker, and not a longer word.
func isMark(line, mark string) bool {
	rest, ok := strings.CutPrefix(line, mark)
	return ok && (rest == "" || rest[0] == ' ' || rest[0] == ':')
}

func prefixOf(line string) string {
	fields := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(line, beginMark), ":"))
	if len(fields) == 0 || fields[0] == ">>>" {
		return ""
	}
	return fields[0]
}

func (p *part) remember(line string) {
	if p.block {
		p.made.File = p.made.File || line == madeFileLine
		p.made.Folder = p.made.Folder || line == madeFolderLine
	}
}

// Bytes is the text again.
func (f *File) Bytes() []byte {
	var b []byte
	for _, p := range f.parts {
		b = append(b, p.text...)
	}
	return b
}

// Prefixes are those of the blocks, in their order.
func (f *File) Prefixes() []string {
	var prefixes []string
	for _, p := range f.parts {
		if p.block {
			prefixes = append(prefixes, p.prefix)
		}
	}
	return prefixes
}

// Made is what was made for the blocks that are there.
func (f *File) Made() Made {
	var m Made
	for _, p := range f.parts {
		m.File = m.File || p.made.File
		m.Folder = m.Folder || p.made.Folder
	}
	return m
}

// OverlapError is a block that would get hosts of another.
type OverlapError struct{ Prefix, Other string }

func (e *OverlapError) Error() string {
	return fmt.Sprintf("the block for %s* and the one for %s* that is there would get the same hosts", e.Prefix, e.Other)
}

// Put puts a block in: in the place of one with the same prefix, where the
// user may have moved it to, else above everything, because ssh takes the
// first value that it finds. Several of the same prefix become one.
func (f *File) Put(b Block) error {
	for _, p := range f.Prefixes() {
		if p != "" && p != b.Prefix && (strings.HasPrefix(p, b.Prefix) || strings.HasPrefix(b.Prefix, p)) {
			return &OverlapError{Prefix: b.Prefix, Other: p}
		}
	}
	made := f.Made()
	b.Made.File = b.Made.File || made.File
	b.Made.Folder = b.Made.Folder || made.Folder
	lines, err := b.lines()
	if err != nil {
		return err
	}
	eol := f.lineEnd()
	ours := part{text: []byte(strings.Join(lines, eol) + eol), block: true, prefix: b.Prefix, made: b.Made}
	at := slices.IndexFunc(f.parts, func(p part) bool { return p.replacedBy(b.Prefix) })
	if at < 0 {
		first := 0
		if len(f.parts) > 0 && string(f.parts[0].text) == bom {
			first = 1
		}
		f.parts = slices.Insert(f.parts, first, ours)
		return nil
	}
	f.parts[at] = ours
	rest := slices.DeleteFunc(f.parts[at+1:], func(p part) bool { return p.replacedBy(b.Prefix) })
	f.parts = f.parts[:at+1+len(rest)]
	return nil
}

func (p part) replacedBy(prefix string) bool {
	return p.block && (p.prefix == prefix || p.prefix == "")
}

// lineEnd is how the user's lines end.
func (f *File) lineEnd() string {
	for _, p := range f.parts {
		if i := bytes.IndexByte(p.text, '\n'); !p.block && i >= 0 {
			if i > 0 && p.text[i-1] == '\r' {
				return "\r\n"
			}
			return "\n"
		}
	}
	return "\n"
}

// Remove takes the blocks of a prefix out, or all if it is empty, and returns
// the prefixes of those that were there.
func (f *File) Remove(prefix string) []string {
	var taken []string
	f.parts = slices.DeleteFunc(f.parts, func(p part) bool {
		ours := p.block && (prefix == "" || p.prefix == prefix)
		if ours {
			taken = append(taken, p.prefix)
		}
		return ours
	})
	return taken
}
