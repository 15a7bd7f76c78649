// Package transfer copies files and trees between this machine and SFTP
// servers, or between two of them, through this process.
package transfer

// What a copy is, where cp and scp leave room or differ:
//
//   - A source that is a symbolic link is followed. Links inside a tree are
//     copied as links, as cp -r does: a tree with a loop or with a link out of
//     itself ends, and comes back as it was. Inside a tree nothing is ever
//     written through a link that is at the destination.
//   - A copy of / is without /proc and /sys, which have no end.
//   - Content is written to `.NAME.cloudssh-part-HASH` beside the target and
//     renamed when it is whole. HASH stands for the source's size and time. Only
//     where the directory refuses new files, or the target cannot be replaced
//     (a mount point), an existing target is written over in place.
//   - A part of at least resumeMin that is found is gone on with, from a
//     place that was certainly written, if what stands before it is the same on
//     both sides.
//   - Without Preserve a new file has the source's permissions less the umask
//     of its side, and an existing one keeps its own. Set-user-ID and
//     set-group-ID are never copied: the owner is not, either.
//   - SFTP has whole seconds, so times are exact to the second.
//   - Long runs of zeros are not written, so sparse files stay sparse.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Options say how to copy.
type Options struct {
	Recursive bool // directories too
	Preserve  bool // times, and permissions without the umask
	NoResume  bool // parts of earlier copies are not gone on with

	// Keep says whether an unfinished part is worth keeping on a side. Nil
	// means on this machine's only.
	Keep func(FS) bool

	Progress *Progress    // may be nil
	Logger   *slog.Logger // may be nil
}

// Place is a path on one side, as the user wrote it.
type Place struct {
	FS   FS
	Path string
}

// String is the place for people.
func (p Place) String() string { return p.FS.show(p.Path) }

// Report is what came of a copy.
type Report struct {
	Files, Dirs, Links int64
	Bytes              int64    // of files that are whole, at the destination
	Moved              int64    // bytes that were moved for it
	Skipped            []string // what is no file, directory or link
	Virtual            []string // /proc and /sys, left out of a copy of all there is
	Changed            []string // files that grew while they were copied
	Parts              []string // unfinished files that a second try goes on with
}

// Failure is something that was not copied.
type Failure struct {
	Path string // as shown to people
	Err  error
}

// FailedError says that a copy went through, but not for everything.
type FailedError struct {
	Failures []Failure // in the order of their paths
	Copied   int64     // files, links and directories that were
}

func (e *FailedError) Error() string {
	var b strings.Builder
	for i, f := range e.Failures {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %v", f.Path, f.Err)
	}
	return b.String()
}

// Errors that callers may want to tell apart.
var (
	ErrNoSpace  = errors.New("no space left on device")
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory (not copied without -r)")
	errSpecial  = errors.New("not a regular file")
	errSame     = errors.New("source and destination are the same file")
	errBadName  = errors.New("the server sent a name that could escape the destination: refused")
	errOverlink = errors.New("a symbolic link is in the way: refused to write through it")
)

// copier is one run of Copy.
type copier struct {
	Options
	stop     func(error) // ends all that is under way
	progress *Progress
	tokens   chan struct{} // chunks that may be in memory at once
	queue    *queue
	listing  atomic.Int64 // places that may bring more to do

	mu       sync.Mutex
	report   Report
	failures []Failure
	fatal    error
}

func newCopier(o Options) *copier {
	c := &copier{Options: o, progress: o.Progress, tokens: make(chan struct{}, maxChunks), queue: newQueue()}
	if c.progress == nil {
		c.progress = new(Progress)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Keep == nil {
		c.Keep = func(side FS) bool { _, local := side.(Local); return local }
	}
	return c
}

// Copy copies sources to dst. What can be copied is copied: the error is a
// *FailedError when all that went wrong concerns single files, and another one
// when a side was lost or ctx ended, which stops the copy.
func Copy(ctx context.Context, sources []Place, dst Place, o Options) (Report, error) {
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := newCopier(o)
	c.stop = cancel
	if err := c.plan(working, sources, dst); err != nil {
		return c.report, err
	}
	c.work(working)
	return c.result(ctx)
}

// result is the end of a copy.
func (c *copier) result(ctx context.Context) (Report, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(c.failures, func(a, b Failure) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(c.report.Skipped)
	slices.Sort(c.report.Parts)
	var failed error
	if len(c.failures) > 0 {
		failed = &FailedError{Failures: c.failures, Copied: c.report.Files + c.report.Links + c.report.Dirs}
	}
	switch {
	case ctx.Err() != nil:
		return c.report, errors.Join(failed, context.Cause(ctx))
	case c.fatal != nil:
		return c.report, errors.Join(failed, c.fatal)
	}
	return c.report, failed
}

// fail notes that something was not copied. The loss of a side stops all.
func (c *copier) fail(ctx context.Context, where Place, err error, sides ...FS) {
	for _, side := range sides {
		if lost := side.lost(); lost != nil {
			c.mu.Lock()
			if c.fatal == nil {
				c.fatal = lost
				c.stop(lost)
			}
			c.mu.Unlock()
			return
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return
	}
	c.Logger.Info("not copied", "path", where.String(), "error", err)
	c.progress.failed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, Failure{Path: where.String(), Err: plain(err)})
}

// note changes the report.
func (c *copier) note(change func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report)
}
