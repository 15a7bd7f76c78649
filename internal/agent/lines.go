//go:build linux || darwin

package agent

import (
	"bytes"
	"io"
	"syscall"
	"unicode/utf8"
)

// maxLine is how long a line may be, as on Linux' terminals.
const maxLine = 4095

// A lineDiscipline is the little of a terminal that an instance without
// pseudo-terminals can have: a client whose own terminal is raw sees what it
// types, corrects it, and sends it line by line. The program has pipes. So there
// are no full-screen programs, and no program can turn the echo off.
type lineDiscipline struct {
	echo   io.Writer // the client's screen
	to     io.Writer // the program's input
	signal func(syscall.Signal)
	line   []byte
}

// feed takes what was typed; io.EOF says that the input ends here.
func (d *lineDiscipline) feed(typed []byte) error {
	for _, c := range typed {
		if err := d.key(c); err != nil {
			return err
		}
	}
	return nil
}

func (d *lineDiscipline) key(c byte) error {
	const ctrlC, ctrlD, backspace, ctrlU, ctrlW, ctrlBackslash, del = 3, 4, 8, 21, 23, 28, 127
	switch c {
	case '\r', '\n':
		d.show("\r\n")
		return d.send('\n')
	case ctrlD:
		if len(d.line) == 0 {
			return io.EOF
		}
		return d.send()
	case ctrlC:
		d.interrupt("^C\r\n", syscall.SIGINT)
	case ctrlBackslash:
		d.interrupt("^\\\r\n", syscall.SIGQUIT)
	case backspace, del:
		d.erase(1)
	case ctrlU:
		d.erase(len(d.line))
	case ctrlW:
		rest := bytes.TrimRight(d.line, " \t")
		rest = rest[:bytes.LastIndexAny(rest, " \t")+1]
		d.erase(utf8.RuneCount(d.line[len(rest):]))
	default:
		if len(d.line) == maxLine {
			d.show("\a")
			return nil
		}
		d.line = append(d.line, c)
		d.show(shown(c))
	}
	return nil
}

// send gives the line to the program.
func (d *lineDiscipline) send(end ...byte) error {
	_, err := d.to.Write(append(d.line, end...))
	d.line = nil
	return err
}

func (d *lineDiscipline) interrupt(shown string, sig syscall.Signal) {
	d.line = nil
	d.show(shown)
	d.signal(sig)
}

// erase takes n characters back.
func (d *lineDiscipline) erase(n int) {
	for ; n > 0 && len(d.line) > 0; n-- {
		last, size := utf8.DecodeLastRune(d.line)
		d.line = d.line[:len(d.line)-size]
		if last < ' ' && last != '\t' { // as ^X
			d.show("\b \b")
		}
		d.show("\b \b")
	}
}

// shown is what a character looks like. The bytes of a longer one go as they come.
func shown(c byte) string {
	if c < ' ' && c != '\t' {
		return "^" + string(rune(c+'@'))
	}
	return string([]byte{c})
}

func (d *lineDiscipline) show(text string) {
	io.WriteString(d.echo, text) //nolint:errcheck // a client that is gone ends the input, too
}

// A lineWriter writes text to a client whose terminal is raw.
type lineWriter struct{ io.Writer }

func (w lineWriter) Write(p []byte) (int, error) {
	if _, err := w.Writer.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// typeInto copies what the client types to the program, line by line.
func (s *session) typeInto(p *process) {
	d := &lineDiscipline{
		echo: sessionWriter{s, s.channel}, to: p.stdin,
		signal: func(sig syscall.Signal) { p.signal(sig) }, //nolint:errcheck // it may be gone
	}
	buf := make([]byte, inputSize)
	for {
		n, err := s.channel.Read(buf)
		if n > 0 && d.feed(buf[:n]) != nil || err != nil {
			return
		}
	}
}
