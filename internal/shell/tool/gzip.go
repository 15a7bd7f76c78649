package tool

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
)

func gzipTool(c *Context) int { return squeeze(c, false, false) }
func gunzip(c *Context) int   { return squeeze(c, true, false) }
func zcat(c *Context) int     { return squeeze(c, true, true) }

// squeeze is gzip, gunzip and zcat.
func squeeze(c *Context, expand, show bool) int {
	o, ok := c.parse("cdfknqtvr123456789", "stdout=c", "to-stdout=c", "decompress=d", "uncompress=d", "force=f", "keep=k", "test=t",
		"quiet=q", "fast=1", "best=9", "no-name=n", "verbose=v")
	if !ok {
		return 2
	}
	expand, show = expand || o.has("dt"), show || o.has("c")
	level := gzip.DefaultCompression
	if l := o.last("123456789"); l != 0 {
		level = int(l - '0')
	}
	work := func(w io.Writer, r io.Reader) error {
		if expand {
			return inflate(w, r)
		}
		z, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return err
		}
		_, err = io.Copy(z, r)
		return errors.Join(err, z.Close())
	}
	out, status := c.output(), 0
	if len(o.operands) == 0 {
		o.operands = []string{"-"}
	}
	for _, name := range o.operands {
		r, err := c.open(name)
		if err == nil {
			switch {
			case o.has("t"):
				err = work(io.Discard, r)
			case show || name == "-":
				err = work(out, r)
				out.flush()
			default:
				err = inPlace(c, o, name, expand, r, work)
			}
			closeRead(r)
		}
		if err != nil {
			status = c.fail(name, err)
		}
	}
	return out.done(status)
}

func inflate(w io.Writer, r io.Reader) error {
	b := bufio.NewReaderSize(r, chunk)
	if magic, err := b.Peek(3); err == nil && string(magic) == "BZh" {
		_, err := io.Copy(w, bzip2.NewReader(b))
		return err
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z) //nolint:gosec // users unpack what they want
	return err
}

// inPlace puts the other form of a file in its place, with its mode and time.
func inPlace(c *Context, o options, name string, expand bool, r io.Reader, work func(io.Writer, io.Reader) error) (err error) {
	to := name + ".gz"
	if expand {
		to = name
		for _, suffix := range []string{".gz", ".tgz", ".z", ".bz2"} {
			if short, ok := strings.CutSuffix(name, suffix); ok {
				to = short
				if suffix == ".tgz" {
					to += ".tar"
				}
				break
			}
		}
		if to == name {
			return errors.New("its name does not end in .gz")
		}
	} else if strings.HasSuffix(name, ".gz") {
		return errors.New("it ends in .gz already")
	}
	n, err := stat(c.Path(name))
	if err != nil {
		return err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if o.has("f") {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	w, err := os.OpenFile(c.Path(to), flags, fileMode(n.perm()))
	if err != nil {
		return errors.New(to + ": " + reason(err))
	}
	if err := errors.Join(work(w, r), w.Close()); err != nil {
		return errors.Join(err, os.Remove(c.Path(to)))
	}
	if err := os.Chtimes(c.Path(to), n.access, n.modify); err != nil || o.has("k") {
		return err
	}
	return os.Remove(c.Path(name))
}
