package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// resumeMin is the size of a part worth keeping, in bytes: what lies less
	// than a window before its end is not trusted.
	resumeMin = 2 * window * chunkSize
	// tailSize is how much before the place of resumption is compared.
	tailSize = chunkSize
	// partMark is in the name of every part.
	partMark = ".cloudssh-part-"
	// maxName is the length of a name that file systems take, in bytes.
	maxName = 255
	// cleanTimeout bounds the removal of a part after a copy was interrupted.
	cleanTimeout = 5 * time.Second
)

// part is the unfinished copy of a file.
type part struct {
	e          *entry
	path       string
	file       file
	from       int64       // where to go on
	made, want fs.FileMode // what it has, and is to have
	length     int64       // of what was written so far
}

// partName is the name of a part: it belongs to one state of one source.
func partName(name, source string, from info) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", name, source, from.size, from.modified.UnixNano()))
	return partPrefix(name) + hex.EncodeToString(sum[:partHash])
}

// partHash is how much of the hash is in the name, in bytes.
const partHash = 8

// partPrefix begins the names of all parts of a name.
func partPrefix(name string) string {
	const most = maxName - len(".") - len(partMark) - 2*partHash
	if len(name) > most {
		cut := most
		for cut > 0 && utf8.ValidString(name) && !utf8.RuneStart(name[cut]) {
			cut-- // some systems take no halves of characters
		}
		name = name[:cut]
	}
	return "." + name + partMark
}

// openPart makes the part, or finds one to go on with.
func (e *entry) openPart(src file) (*part, error) {
	folder, name := e.dst.FS.split(e.dst.Path)
	p := &part{e: e, path: e.dst.FS.join(folder, partName(name, e.src.String(), e.from))}
	perm := permOf(e.from.mode)
	var err error
	if p.file, p.made, p.want, err = e.dst.FS.create(p.path, perm); err != nil {
		if ok, resumeErr := p.resume(src); resumeErr != nil {
			return nil, errors.Join(err, resumeErr)
		} else if !ok {
			if e.dst.FS.remove(p.path) != nil { // it was not for its being there
				return nil, err
			}
			if p.file, p.made, p.want, err = e.dst.FS.create(p.path, perm); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case e.c.Preserve:
		p.want = perm
	case e.old != nil && e.old.mode.IsRegular():
		p.want = e.old.perm()
	}
	return p, nil
}

// resume goes on with a part that is there, if it is one to trust.
func (p *part) resume(src file) (ok bool, err error) {
	e := p.e
	if e.c.NoResume || e.from.size < resumeMin {
		return false, nil
	}
	there, err := e.dst.FS.lstat(p.path)
	if err != nil || !there.mode.IsRegular() || there.size < resumeMin || there.size > e.from.size {
		return false, nil //nolint:nilerr // there is nothing to go on with
	}
	f, err := e.dst.FS.reopen(p.path)
	if err != nil {
		return false, nil //nolint:nilerr // the same
	}
	at := (there.size - window*chunkSize) / chunkSize * chunkSize
	if same, err := sameBytes(src, f, at-tailSize); err != nil || !same {
		e.c.Logger.Info("not resuming", "path", e.dst.String(), "same", same, "error", err)
		return false, f.Close()
	}
	// What follows is not certain, and holes must read as zeros.
	if err := f.truncate(at); err != nil {
		return false, f.Close()
	}
	p.file, p.from, p.made = f, at, there.perm()
	p.want = p.made & permOf(e.from.mode)
	e.c.Logger.Info("resuming", "path", e.dst.String(), "at", at)
	e.c.progress.bytes.Add(at)
	e.c.progress.skipped.Add(at)
	return true, nil
}

// sameBytes compares tailSize bytes of two files.
func sameBytes(a, b io.ReaderAt, at int64) (bool, error) {
	bufA, bufB := make([]byte, tailSize), make([]byte, tailSize)
	if _, err := a.ReadAt(bufA, at); err != nil {
		return false, err
	}
	if _, err := b.ReadAt(bufB, at); err != nil {
		return false, err
	}
	return bytes.Equal(bufA, bufB), nil
}

// fill writes the content, and returns its length.
func (p *part) fill(ctx context.Context, src file) (int64, error) {
	local := p.e.from.sparse
	_, remote := p.e.src.FS.(*Remote) // which does not say whether a file has holes
	n, written, err := p.e.c.move(ctx, src, p.file, p.from, p.e.from.size, local || remote)
	p.length = written
	p.e.c.note(func(r *Report) { r.Moved += max(n, written) - p.from })
	if err != nil {
		return n, plain(err)
	}
	if written != n {
		err = p.file.truncate(n)
	}
	return n, err
}

// settle gives the part the target's mode.
func (p *part) settle() error {
	if p.made == p.want {
		return nil
	}
	err := p.file.chmod(p.want)
	switch {
	case err == nil:
		return nil
	case p.e.c.Preserve:
		return fmt.Errorf("setting the mode: %w", plain(err))
	}
	p.e.c.Logger.Info("setting the mode", "path", p.e.dst.String(), "error", err) // of a file system that has none
	return nil
}

func (p *part) close() error {
	f := p.file
	if f == nil {
		return nil
	}
	p.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", p.e.dst, plain(err))
	}
	return nil
}

// rename puts the whole content in its place. What cannot be replaced, because
// something is mounted on it, or, on Windows, because it is open, is written
// over.
func (p *part) rename(ctx context.Context, size int64) error {
	e := p.e
	err := e.dst.FS.rename(p.path, e.dst.Path)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("renaming it to %s: %w", e.dst, plain(err))
	if e.old == nil || !e.old.mode.IsRegular() || noSpace(err) || ctx.Err() != nil || e.dst.FS.lost() != nil {
		return err
	}
	content, openErr := e.dst.FS.open(p.path)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	whole := *e
	whole.from.size = size
	_, inPlace := whole.inPlace(ctx, content)
	inPlace = errors.Join(inPlace, content.Close())
	if inPlace != nil && !errors.Is(inPlace, errAttributes) {
		return errors.Join(err, inPlace)
	}
	return errors.Join(inPlace, e.dst.FS.remove(p.path))
}

// abandon gives a part up: it is removed, unless a second try can go on with
// it. The error names what could not be removed.
func (e *entry) abandon(ctx context.Context, p *part, err error) error {
	side := e.dst.FS
	cut := ctx.Err() != nil || e.src.FS.lost() != nil || side.lost() != nil
	if cut && p.length >= resumeMin && e.from.size >= resumeMin && !noSpace(err) && e.c.Keep(side) {
		e.c.note(func(r *Report) { r.Parts = append(r.Parts, side.show(p.path)) })
		return err
	}
	if side.lost() != nil {
		return err // its files are out of reach
	}
	removed := make(chan error, 1)
	go func() { removed <- side.remove(p.path) }()
	limit := time.NewTimer(cleanTimeout)
	defer limit.Stop()
	select {
	case removeErr := <-removed:
		if removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			return errors.Join(err, fmt.Errorf("removing %s: %w", side.show(p.path), plain(removeErr)))
		}
	case <-limit.C:
		return errors.Join(err, fmt.Errorf("%s may be left behind", side.show(p.path)))
	}
	return err
}

// removeStale removes parts of earlier states of the same source, which
// nothing goes on with any more.
func (e *entry) removeStale(current string) {
	if len(e.known) == 0 {
		return
	}
	folder, name := e.dst.FS.split(e.dst.Path)
	for other, i := range e.known {
		stale := e.dst.FS.join(folder, other)
		if i.mode.IsRegular() && strings.HasPrefix(other, partPrefix(name)) && stale != current {
			if err := e.dst.FS.remove(stale); err != nil {
				e.c.Logger.Info("removing an old part", "path", stale, "error", err)
			}
		}
	}
}
