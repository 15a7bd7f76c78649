package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
)

// maxDepth bounds how deep a tree goes: a hostile server can send one without
// an end. Linux has no deeper ones, by the length of paths.
const maxDepth = 2048

// dir is a directory that is being copied. Its mode and times are set when all
// that is in it has been copied: a read-only one could not be filled otherwise.
type dir struct {
	c        *copier
	parent   *dir
	src, dst Place
	from     info
	depth    int
	all      bool // it is the root of all

	fresh  bool        // it was made by us, so it is empty
	made   fs.FileMode // of a fresh one: what it has now
	want   fs.FileMode // and what it is to have
	opened bool

	open atomic.Int64 // what is not done yet: itself and all in it
}

// addDir queues the copy of a directory.
func (c *copier) addDir(d *dir) {
	d.open.Store(1)
	if d.parent != nil {
		d.parent.open.Add(1)
	}
	c.listing.Add(1)
	c.queue.addDir(func(ctx context.Context) {
		if err := d.copy(ctx); err != nil {
			c.fail(ctx, d.src, err, d.src.FS, d.dst.FS)
		}
		c.listed()
		d.done(ctx)
	})
}

// listed notes that one place less may bring more to do.
func (c *copier) listed() {
	if c.listing.Add(-1) == 0 {
		c.progress.listed.Store(true)
	}
}

// done notes that the directory or something in it is done.
func (d *dir) done(ctx context.Context) {
	for ; d != nil; d = d.parent {
		if d.open.Add(-1) > 0 {
			return
		}
		if err := d.finish(ctx); err != nil {
			d.c.fail(ctx, d.dst, err, d.dst.FS)
		}
	}
}

// copy makes the directory and queues what is in it.
func (d *dir) copy(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d.depth > maxDepth {
		return fmt.Errorf("more than %d directories in one another", maxDepth)
	}
	entries, err := d.src.FS.readDir(ctx, d.src.Path)
	if err != nil {
		return fmt.Errorf("reading the directory: %w", plain(err))
	}
	if err := d.make(); err != nil {
		return err
	}
	there, parts := map[string]info{}, map[string]info(nil)
	if !d.fresh {
		present, err := d.dst.FS.readDir(ctx, d.dst.Path)
		if err != nil {
			return fmt.Errorf("reading the destination %s: %w", d.dst, plain(err))
		}
		for _, i := range present {
			there[i.name] = i
		}
		parts = partsOf(present)
	}
	d.opened = true
	d.entries(ctx, entries, there, parts)
	return nil
}

// make makes the directory at the destination, or finds it there.
func (d *dir) make() (err error) {
	d.made, d.want, err = d.dst.FS.mkdir(d.dst.Path, permOf(d.from.mode))
	if err == nil {
		d.fresh = true
		d.c.note(func(r *Report) { r.Dirs++ })
		return nil
	}
	look := d.dst.FS.lstat
	if d.parent == nil {
		look = d.dst.FS.stat // what the user has named may be a link
	}
	i, lookErr := look(d.dst.Path)
	switch {
	case lookErr != nil:
		return fmt.Errorf("making the directory %s: %w", d.dst, plain(err))
	case i.mode.IsDir():
		return nil
	case i.mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s: %w", d.dst, errOverlink)
	}
	return fmt.Errorf("%s: %w", d.dst, errNotDir)
}

// entries queues what is in the directory.
func (d *dir) entries(ctx context.Context, entries []info, there, parts map[string]info) {
	c := d.c
	var files []func(context.Context)
	seen := make(map[string]bool, len(entries))
	for _, i := range entries {
		src := Place{d.src.FS, d.src.FS.join(d.src.Path, i.name)}
		if !validName(i.name) || !d.dst.FS.validName(i.name) || seen[i.name] {
			c.fail(ctx, Place{d.src.FS, d.src.Path + "/" + i.name}, errBadName)
			continue
		}
		seen[i.name] = true
		dst := Place{d.dst.FS, d.dst.FS.join(d.dst.Path, i.name)}
		switch {
		case d.all && i.mode.IsDir() && (i.name == "proc" || i.name == "sys"):
			c.note(func(r *Report) { r.Virtual = append(r.Virtual, src.String()) })
		case i.mode.IsDir():
			c.addDir(&dir{c: c, parent: d, src: src, dst: dst, from: i, depth: d.depth + 1})
		case i.mode.IsRegular(), i.mode&fs.ModeSymlink != 0:
			e := &entry{c: c, in: d, src: src, dst: dst, from: i, known: parts}
			if old, ok := there[i.name]; ok {
				e.old = &old
			}
			files = append(files, e.task())
		default:
			c.Logger.Info("skipped", "path", src.String(), "type", i.mode.Type().String())
			c.note(func(r *Report) { r.Skipped = append(r.Skipped, src.String()) })
		}
	}
	d.open.Add(int64(len(files)))
	c.queue.addFiles(files)
}

// finish gives the directory its mode and times.
func (d *dir) finish(ctx context.Context) error {
	if !d.opened || (ctx.Err() != nil && !d.fresh) || d.dst.FS.lost() != nil {
		return nil //nolint:nilerr // the loss has been told
	}
	want, set := d.want, d.fresh && d.made != d.want
	if d.c.Preserve {
		want, set = permOf(d.from.mode), true
	}
	var errs []error
	if set {
		err := d.dst.FS.chmod(d.dst.Path, want)
		switch {
		case err != nil && d.c.Preserve:
			errs = append(errs, fmt.Errorf("setting the mode: %w", plain(err)))
		case err != nil:
			d.c.Logger.Info("setting the mode", "path", d.dst.String(), "error", err) // of a file system that has none
		}
	}
	if d.c.Preserve {
		if err := d.dst.FS.chtimes(d.dst.Path, d.from.access, d.from.modified); err != nil {
			errs = append(errs, fmt.Errorf("setting the times: %w", plain(err)))
		}
	}
	return errors.Join(errs...)
}
