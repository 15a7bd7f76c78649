package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// entry is a file or a link that is being copied.
type entry struct {
	c        *copier
	in       *dir // nil for one that the user has named
	src, dst Place
	from     info
	old      *info           // what has its name at the destination
	known    map[string]info // unfinished files beside it there
}

// task counts the entry as known of, and returns its copy.
func (e *entry) task() func(context.Context) {
	e.c.progress.allFiles.Add(1)
	if e.from.mode.IsRegular() {
		e.c.progress.allBytes.Add(e.from.size)
	}
	return func(ctx context.Context) {
		err := context.Cause(ctx)
		if err == nil {
			err = e.copy(ctx)
		}
		if err != nil {
			e.c.fail(ctx, e.src, err, e.src.FS, e.dst.FS)
		}
		e.c.progress.files.Add(1)
		e.in.done(ctx)
	}
}

func (e *entry) copy(ctx context.Context) error {
	name := e.src.String()
	e.c.progress.current.Store(&name)
	switch {
	case e.old != nil && e.old.mode.IsDir():
		return fmt.Errorf("%s: is a directory, and this is none", e.dst)
	case e.from.mode&fs.ModeSymlink != 0:
		return e.copyLink()
	case e.old != nil && e.in != nil && !e.old.mode.IsRegular() && e.old.mode&fs.ModeSymlink == 0:
		return fmt.Errorf("%s: %w", e.dst, errSpecial)
	}
	src, err := e.src.FS.open(e.src.Path)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	if e.old != nil && e.in == nil && !e.old.mode.IsRegular() {
		return e.overwrite(ctx, src) // a device, or what is like one
	}
	n, err := e.replace(ctx, src)
	if err != nil {
		return err
	}
	e.copied(n)
	return e.unchanged(src, n)
}

// copyLink makes the same link.
func (e *entry) copyLink() error {
	target, err := e.src.FS.readLink(e.src.Path)
	if err != nil {
		return fmt.Errorf("reading the link: %w", plain(err))
	}
	if e.old != nil {
		if e.old.mode&fs.ModeSymlink != 0 {
			if same, err := e.dst.FS.readLink(e.dst.Path); err == nil && same == target {
				e.c.note(func(r *Report) { r.Links++ })
				return nil
			}
		}
		if err := e.dst.FS.remove(e.dst.Path); err != nil {
			return fmt.Errorf("replacing %s: %w", e.dst, plain(err))
		}
	}
	if err := e.dst.FS.symlink(target, e.dst.Path); err != nil {
		return fmt.Errorf("making the link %s: %w", e.dst, plain(err))
	}
	e.c.note(func(r *Report) { r.Links++ })
	return nil
}

// unchanged tells of a file that was written to while it was copied. What it
// had at first is there, unless it was cut.
func (e *entry) unchanged(src file, n int64) error {
	if n == e.from.size && n <= chunkSize {
		return nil // not worth a question
	}
	now, err := src.info()
	switch {
	case err != nil:
		return fmt.Errorf("looking at the source after the copy: %w", err)
	case n < e.from.size && now.size != e.from.size:
		return fmt.Errorf("it shrank while it was copied: %d of %d bytes are there", n, e.from.size)
	case now.size > e.from.size && e.from.size > 0:
		name := e.src.String()
		e.c.note(func(r *Report) { r.Changed = append(r.Changed, name) })
	}
	return nil
}

// replace writes the content beside the target and renames it.
func (e *entry) replace(ctx context.Context, src file) (int64, error) {
	p, err := e.openPart(src)
	if err != nil {
		if e.old != nil && e.old.mode.IsRegular() && ctx.Err() == nil && refused(err) {
			n, inPlace := e.inPlace(ctx, src)
			if inPlace == nil || errors.Is(inPlace, errPartial) || errors.Is(inPlace, errAttributes) {
				return n, inPlace
			}
		}
		return 0, fmt.Errorf("writing to %s: %w", e.dst, plain(err))
	}
	n, err := p.fill(ctx, src)
	var attributes error // the content counts without them
	if err == nil {
		attributes = p.settle()
	}
	if err = errors.Join(err, p.close()); err != nil {
		return 0, e.abandon(ctx, p, err)
	}
	if e.c.Preserve {
		attributes = errors.Join(attributes, e.setTimes(p.path))
	}
	if err := p.rename(ctx, n); err != nil {
		return 0, e.abandon(ctx, p, err)
	}
	e.removeStale(p.path)
	if attributes != nil {
		return n, fmt.Errorf("%w: %w", errAttributes, attributes)
	}
	return n, nil
}

func (e *entry) setTimes(path string) error {
	if err := e.dst.FS.chtimes(path, e.from.access, e.from.modified); err != nil {
		return fmt.Errorf("setting the times: %w", plain(err))
	}
	return nil
}

// refused reports whether a directory takes no new files, which is no reason
// why one that is there could not be written over.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || strings.Contains(strings.ToLower(err.Error()), "read-only file system")
}

// noSpace reports whether a file system is full. Then nothing that is there is
// written over: it would be lost.
func noSpace(err error) bool {
	text := strings.ToLower(err.Error())
	return errors.Is(err, ErrNoSpace) || strings.Contains(text, ErrNoSpace.Error()) ||
		strings.Contains(text, "quota exceeded") || strings.Contains(text, "not enough space")
}

// What became of a file nevertheless.
var (
	errPartial    = errors.New("it was left incomplete")
	errAttributes = errors.New("copied, but without the source's times or permissions")
)

// inPlace writes over an existing file that cannot be replaced.
func (e *entry) inPlace(ctx context.Context, src file) (n int64, err error) {
	dst, err := e.dst.FS.rewrite(e.dst.Path)
	if err != nil {
		return 0, err
	}
	e.c.Logger.Info("writing in place", "path", e.dst.String())
	var to io.WriterAt = dst
	regular := e.old.mode.IsRegular()
	if w, ok := dst.(io.Writer); ok && !regular {
		to = newInOrder(w) // pipes and terminals have no places
	}
	n, written, err := e.c.move(ctx, src, to, 0, e.from.size, false)
	if err == nil && written != n && regular {
		err = dst.truncate(n)
	}
	var attributes error
	if err == nil && e.c.Preserve && regular {
		attributes = dst.chmod(permOf(e.from.mode))
	}
	err = errors.Join(err, dst.Close())
	if err != nil {
		return 0, fmt.Errorf("writing over %s: %w; %w", e.dst, plain(err), errPartial)
	}
	if e.c.Preserve && regular {
		attributes = errors.Join(attributes, e.setTimes(e.dst.Path))
	}
	if attributes != nil {
		return n, fmt.Errorf("%w: %w", errAttributes, attributes)
	}
	e.c.note(func(r *Report) { r.Moved += n })
	return n, nil
}

// overwrite writes to something that is no file of its own: a device, a pipe,
// or what a link of the user's leads to.
func (e *entry) overwrite(ctx context.Context, src file) error {
	n, err := e.inPlace(ctx, src)
	if err != nil {
		return err
	}
	e.copied(n)
	return nil
}

// copied notes a file that is whole.
func (e *entry) copied(n int64) {
	e.c.Logger.Info("copied", "path", e.src.String(), "to", e.dst.String(), "bytes", n)
	e.c.note(func(r *Report) { r.Files++; r.Bytes += n })
}
