package tool

import (
	"crypto/md5"  //nolint:gosec // md5sum is for comparing, not for security
	"crypto/sha1" //nolint:gosec // as is sha1sum
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"
)

func md5sum(c *Context) int    { return digest(c, md5.New) }
func sha1sum(c *Context) int   { return digest(c, sha1.New) }
func sha256sum(c *Context) int { return digest(c, sha256.New) }
func sha512sum(c *Context) int { return digest(c, sha512.New) }

func digest(c *Context, fresh func() hash.Hash) int {
	o, ok := c.parse("bctsw1", "binary=b", "check=c", "text=t", "status=s", "quiet=1", "warn=w")
	if !ok {
		return 2
	}
	out := c.output()
	sum := func(r io.Reader) (string, error) {
		h := fresh()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	if o.has("c") {
		return checkDigests(c, o, out, sum)
	}
	status := c.each(o.operands, func(name string, r io.Reader) error {
		text, err := sum(r)
		if err == nil {
			out.line(text + "  " + name)
		}
		return err
	})
	return out.done(status)
}

// checkDigests compares files with lists of digests.
func checkDigests(c *Context, o options, out *output, sum func(io.Reader) (string, error)) int {
	bad, unreadable := 0, 0
	status := c.each(o.operands, func(_ string, list io.Reader) error {
		return lines(list, func(line []byte, _ bool) bool {
			want, name, ok := strings.Cut(string(line), " ")
			if !ok {
				return true
			}
			name = strings.TrimLeft(name, " *")
			r, err := c.open(name)
			var got string
			if err == nil {
				got, err = sum(r)
				closeRead(r)
			}
			switch {
			case err != nil:
				c.fail(name, err)
				out.line(name + ": FAILED open or read")
				unreadable++
			case !strings.EqualFold(got, want):
				out.line(name + ": FAILED")
				bad++
			case !o.has("1s"):
				out.line(name + ": OK")
			}
			return !out.failed()
		})
	})
	out.flush()
	if unreadable > 0 {
		status = c.Errorf("%d files could not be read", unreadable)
	}
	if bad > 0 {
		status = c.Errorf("%d digests did not match", bad)
	}
	return out.done(status)
}

func base64Tool(c *Context) int {
	o, ok := c.parse("diw:", "decode=d", "ignore-garbage=i", "wrap=w")
	if !ok {
		return 2
	}
	width, err := o.number('w', 76)
	if err != nil {
		return c.Usage("-w needs a number")
	}
	out := c.output()
	status := c.each(o.operands, func(_ string, r io.Reader) error {
		if o.has("d") {
			_, err := io.Copy(out, base64.NewDecoder(base64.StdEncoding, r))
			var corrupt base64.CorruptInputError
			if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
				return errors.New("invalid input")
			}
			return err
		}
		w := &wrapper{out: out, width: int(width)}
		e := base64.NewEncoder(base64.StdEncoding, w)
		if _, err := io.Copy(e, r); err != nil {
			return err
		}
		if err := e.Close(); err != nil {
			return err
		}
		if w.column > 0 && width > 0 {
			out.byte('\n')
		}
		return nil
	})
	return out.done(status)
}

// A wrapper breaks lines at a width; 0 is none.
type wrapper struct {
	out           *output
	width, column int
}

func (w *wrapper) Write(p []byte) (int, error) {
	if w.width == 0 {
		return w.out.Write(p)
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), w.width-w.column)
		if _, err := w.out.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
		if w.column += n; w.column == w.width {
			w.out.byte('\n')
			w.column = 0
		}
	}
	return len(p), nil
}
