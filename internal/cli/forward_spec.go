package cli

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
)

// A forward is one -L, -R or -D, as it was asked for.
type forward struct {
	flag, text string     // -L and what came with it
	remote     bool       // it listens in the twin and leads here; else the other way
	listen     listenAddr // where connections come in
	to         target     // where they lead; none: where each asks by SOCKS
	bound      string     // where it listens, with the port that was chosen; empty until then
}

// listenAddr is where a forward listens.
type listenAddr struct {
	host  string // empty or *: everywhere
	given bool   // else it is loopback, as localhost
	port  int    // 0: one that is free
	path  string // of a socket; then the others mean nothing
}

func (l listenAddr) String() string {
	switch {
	case l.path != "":
		return l.path
	case !l.given:
		return net.JoinHostPort("localhost", strconv.Itoa(l.port))
	case l.host == "":
		return net.JoinHostPort("*", strconv.Itoa(l.port))
	}
	return net.JoinHostPort(l.host, strconv.Itoa(l.port))
}

// target is an address to connect to, for net.Dial and its like.
type target struct{ network, address string }

func (t target) socks() bool { return t.network == "" }

// socket is the path of one, if it is one.
func (t target) socket() string {
	if t.network != "unix" {
		return ""
	}
	return t.address
}

func (f *forward) String() string { return f.flag + " " + f.text }

// describe says where a forward leads, to a person.
func (f *forward) describe(twin string) string {
	listen := f.bound
	if listen == "" {
		listen = f.listen.String()
	}
	switch {
	case f.remote && f.to.socks():
		return fmt.Sprintf("%s in %s to anywhere from here (SOCKS)", listen, twin)
	case f.remote:
		return fmt.Sprintf("%s in %s to %s here", listen, twin, f.to.address)
	case f.to.socks():
		return fmt.Sprintf("%s to anywhere from %s (SOCKS)", listen, twin)
	}
	return fmt.Sprintf("%s to %s in %s", listen, f.to.address, twin)
}

var (
	errForm = errors.New("the form is wrong")
	errPort = errors.New("ports are numbers from 1 to 65535")
	errPath = errors.New("a path in the twin is absolute")
)

// The forms that the flags have, for their errors.
const (
	localForm   = "[BIND:]PORT:HOST:PORT, [BIND:]PORT:/SOCKET, /SOCKET:HOST:PORT or /SOCKET:/SOCKET"
	dynamicForm = "[BIND:]PORT"
	stdioForm   = "HOST:PORT or /SOCKET"
)

// parseForward reads the argument of -L or -R, in the forms of OpenSSH
// (ssh(1), and parse_forward in its readconf.c).
func parseForward(flag, text string) (*forward, error) {
	f := &forward{flag: flag, text: text, remote: flag == "-R"}
	form := localForm
	if f.remote {
		form += ", or for SOCKS " + dynamicForm
	}
	fields, err := splitFields(text)
	if err == nil {
		err = f.fill(fields)
	}
	there := f.to.socket()
	if f.remote {
		there = f.listen.path
	}
	if err == nil && there != "" && !path.IsAbs(there) {
		err = errPath
	}
	if err != nil {
		return nil, usagef("%s %q: %w; want %s", flag, text, err, form)
	}
	return f, nil
}

// parseDynamic reads the argument of -D.
func parseDynamic(text string) (*forward, error) {
	f := &forward{flag: "-D", text: text}
	fields, err := splitFields(text)
	switch {
	case err != nil:
	case len(fields) > 2:
		err = errForm
	default:
		err = f.listen.fill(fields)
	}
	if err != nil {
		return nil, usagef("-D %q: %w; want %s", text, err, dynamicForm)
	}
	return f, nil
}

// parseStdio reads the argument of -W.
func parseStdio(text string) (target, error) {
	fields, err := splitFields(text)
	if err == nil {
		var to target
		if to, err = parseTarget(fields); err == nil && to.socket() != "" && !path.IsAbs(to.socket()) {
			err = errPath
		}
		if err == nil {
			return to, nil
		}
	}
	return target{}, usagef("-W %q: %w; want %s", text, err, stdioForm)
}

// field is a part of the argument between colons.
type field struct {
	text string
	path bool // of a socket: it has a slash
}

// splitFields splits at colons. Brackets around a field keep its colons, as in
// [::1], and so does a backslash before one.
func splitFields(text string) ([]field, error) {
	var fields []field
	for {
		var (
			f    field
			rest string
			more bool
		)
		if inner, ok := strings.CutPrefix(text, "["); ok {
			if f.text, rest, ok = strings.Cut(inner, "]"); !ok {
				return nil, errors.New("a bracket is not closed")
			}
			if rest, more = strings.CutPrefix(rest, ":"); !more && rest != "" {
				return nil, errForm
			}
		} else {
			f.text, rest, more = cutField(text)
		}
		f.path = strings.Contains(f.text, "/")
		if strings.ContainsRune(f.text, 0) {
			return nil, errForm
		}
		fields = append(fields, f)
		if !more {
			return fields, nil
		}
		text = rest
	}
}

// cutField cuts at the first colon that has no backslash before it.
func cutField(text string) (f, rest string, more bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == ':':
			return b.String(), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == ':' || text[i+1] == '\\'):
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String(), "", false
}

// fill sorts the fields of -L or -R by what they can be.
func (f *forward) fill(fields []field) error {
	n := 1 // how many say where to listen
	switch {
	case len(fields) > 4:
		return errForm
	case fields[0].path:
	case len(fields) == 4, len(fields) == 3 && fields[2].path, len(fields) == 2 && !fields[1].path:
		n = 2
	}
	if err := f.listen.fill(fields[:n]); err != nil {
		return err
	}
	if len(fields) == n && f.remote {
		return nil
	}
	to, err := parseTarget(fields[n:])
	f.to = to
	return err
}

// fill reads [BIND:]PORT or the path of a socket.
func (l *listenAddr) fill(fields []field) (err error) {
	last := fields[len(fields)-1]
	if last.path {
		if len(fields) > 1 {
			return errForm
		}
		l.path = last.text
		return nil
	}
	if len(fields) == 2 {
		l.given = true
		if l.host = fields[0].text; l.host == "*" {
			l.host = ""
		}
		if fields[0].path {
			return errForm
		}
	}
	l.port, err = parsePort(last.text)
	return err
}

// parseTarget reads HOST:PORT or the path of a socket.
func parseTarget(fields []field) (target, error) {
	switch {
	case len(fields) == 1 && fields[0].path:
		return target{"unix", fields[0].text}, nil
	case len(fields) != 2 || fields[0].text == "" || fields[0].path:
		return target{}, errForm
	}
	port, err := parsePort(fields[1].text)
	if err != nil || port == 0 {
		return target{}, errPort
	}
	return target{"tcp", net.JoinHostPort(fields[0].text, strconv.Itoa(port))}, nil
}

func parsePort(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, errPort
	}
	return int(n), nil
}
