package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// target is where a copy goes.
type target struct {
	Place
	dir    bool // it is a directory, and what is copied goes into it
	exists bool
	is     info // valid if it exists
}

// plan queues the copies that the user asks for.
func (c *copier) plan(ctx context.Context, sources []Place, dst Place) error {
	c.listing.Add(1)
	defer c.listed()
	several := len(sources) > 1
	sources = c.expand(ctx, sources)
	to, err := c.target(dst)
	if err != nil {
		return err
	}
	if (several || len(sources) > 1) && !to.dir {
		return fmt.Errorf("%s: %w, and there are several sources", dst, errNotDir)
	}
	p := &planner{copier: c, to: to, taken: map[string]bool{}, parts: map[string]map[string]info{}}
	var files []func(context.Context)
	for _, src := range sources {
		task, err := p.add(ctx, src)
		if err != nil {
			c.fail(ctx, src, err, src.FS, dst.FS)
		}
		if task != nil {
			files = append(files, task)
		}
	}
	c.queue.addFiles(files)
	return nil
}

// expand resolves the wildcards of servers' paths, as a shell would.
func (c *copier) expand(ctx context.Context, sources []Place) []Place {
	var all []Place
	for _, src := range sources {
		r, remote := src.FS.(*Remote)
		if !remote || !strings.ContainsAny(src.Path, `*?[\`) {
			all = append(all, src)
			continue
		}
		if _, err := r.lstat(src.Path); err == nil { // a name that is meant as it stands
			all = append(all, src)
			continue
		}
		matches, err := r.glob(ctx, src.Path)
		if err == nil && len(matches) == 0 {
			err = errors.New("nothing matches")
		}
		if err != nil {
			c.fail(ctx, src, err, r)
			continue
		}
		for _, m := range matches {
			all = append(all, Place{r, m})
		}
	}
	return all
}

// target looks at the destination.
func (c *copier) target(dst Place) (target, error) {
	t := target{Place: dst}
	i, err := dst.FS.stat(dst.Path)
	slash := endsInSlash(dst)
	switch {
	case dst.FS.lost() != nil:
		return t, dst.FS.lost()
	case err == nil:
		t.exists, t.is, t.dir = true, i, i.mode.IsDir()
		if slash && !t.dir {
			return t, fmt.Errorf("%s: %w", dst, errNotDir)
		}
	case errors.Is(err, fs.ErrNotExist):
		l, err := dst.FS.lstat(dst.FS.clean(dst.Path)) // SFTP says the same of FILE/
		switch {
		case err == nil && l.mode&fs.ModeSymlink != 0:
			return t, fmt.Errorf("%s: is a symbolic link to nothing", dst)
		case err == nil:
			return t, fmt.Errorf("%s: %w", dst, errNotDir)
		}
	default:
		return t, fmt.Errorf("looking at %s: %w", dst, plain(err))
	}
	return t, nil
}

// endsInSlash reports whether a path is to be a directory.
func endsInSlash(p Place) bool {
	if _, local := p.FS.(Local); local {
		return strings.HasSuffix(p.Path, "/") || strings.HasSuffix(p.Path, string(filepath.Separator))
	}
	return strings.HasSuffix(p.Path, "/")
}

// isContents reports whether what is meant is in a directory, as with `dir/.`,
// not the directory itself.
func isContents(p Place) bool {
	separators := "/"
	if _, local := p.FS.(Local); local {
		separators += string(filepath.Separator)
	}
	path := strings.TrimRight(p.Path, separators)
	last := path[strings.LastIndexAny(path, separators)+1:]
	return last == "" || last == "." || last == ".."
}

// planner turns sources into copies.
type planner struct {
	*copier
	to    target
	taken map[string]bool            // names in the destination that have a source
	parts map[string]map[string]info // unfinished files, by directory of the destination
}

// add plans the copy of one source. Directories it queues itself.
func (p *planner) add(ctx context.Context, src Place) (task func(context.Context), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	from, err := src.FS.stat(src.Path)
	if err != nil {
		return nil, plain(err)
	}
	dst := p.to.Place
	_, name := src.FS.split(src.Path)
	contents := isContents(src)
	if p.to.dir && !contents {
		if !p.to.FS.validName(name) {
			return nil, fmt.Errorf("%s cannot be a file's name at the destination", Quote(name))
		}
		dst.Path = p.to.FS.join(p.to.Path, name)
	}
	if p.taken[dst.Path] && !contents {
		return nil, fmt.Errorf("%s is the copy of another source already", dst)
	}
	p.taken[dst.Path] = true
	if err := p.refused(from); err != nil {
		return nil, err
	}
	if from.mode.IsDir() {
		return nil, p.addTree(src, dst, from)
	}
	return p.addFile(ctx, src, dst, from)
}

// refused says why a source is none, whatever the destination.
func (o Options) refused(from info) error {
	switch {
	case from.mode.IsDir() && !o.Recursive:
		return errIsDir
	case !from.mode.IsDir() && !from.mode.IsRegular():
		return errSpecial
	}
	return nil
}

// Hopeless looks at sources of this machine while there is nowhere to copy them
// to yet. When Copy could do nothing with any of them it returns the
// *FailedError that Copy would, else nil.
func Hopeless(paths []string, o Options) error {
	var failed FailedError
	for _, path := range paths {
		from, err := Local{}.stat(path)
		if err == nil {
			err = o.refused(from)
		}
		if err == nil {
			return nil
		}
		failed.Failures = append(failed.Failures, Failure{Place{Local{}, path}.String(), plain(err)})
	}
	if len(failed.Failures) == 0 {
		return nil
	}
	return &failed
}

func (p *planner) addTree(src, dst Place, from info) error {
	if i, err := dst.FS.stat(dst.Path); err == nil && !i.mode.IsDir() {
		return fmt.Errorf("%s: %w", dst, errNotDir)
	}
	if src.FS == dst.FS {
		inside, err := within(src, dst)
		if err != nil {
			return err
		}
		if inside {
			return fmt.Errorf("%s is in it, or is itself: a directory cannot be copied into itself", dst)
		}
	}
	path, err := src.FS.realPath(src.Path)
	p.addDir(&dir{c: p.copier, src: src, dst: dst, from: from, all: err == nil && path == "/"})
	return nil
}

// within reports whether dst, which may not exist yet, is src or below it.
func within(src, dst Place) (bool, error) {
	outer, err := src.FS.realPath(src.Path)
	if err != nil {
		return false, err
	}
	inner, err := dst.FS.realPath(dst.Path)
	if err != nil { // servers differ in what they say of a path that is not there yet
		folder, name := dst.FS.split(dst.Path)
		if inner, err = dst.FS.realPath(folder); err != nil {
			return false, err
		}
		inner = dst.FS.join(inner, name)
	}
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/"), nil
}

func (p *planner) addFile(ctx context.Context, src, dst Place, from info) (func(context.Context), error) {
	if endsInSlash(p.to.Place) && !p.to.exists {
		return nil, fmt.Errorf("%s: no such directory", p.to.Place)
	}
	e := &entry{c: p.copier, src: src, dst: dst, from: from}
	old, err := dst.FS.lstat(dst.Path)
	if err == nil && old.mode&fs.ModeSymlink != 0 {
		// What the user names is written through a link, as cp does.
		old, err = dst.FS.stat(dst.Path)
		if err == nil && old.mode.IsRegular() {
			e.dst.Path, err = dst.FS.realPath(dst.Path)
		}
		if err != nil {
			return nil, fmt.Errorf("following the link %s: %w", dst, plain(err))
		}
	}
	switch {
	case err == nil:
		e.old = &old
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("looking at %s: %w", dst, plain(err))
	}
	if src.FS == dst.FS && e.old != nil {
		a, errA := src.FS.realPath(src.Path)
		b, errB := dst.FS.realPath(e.dst.Path)
		if errA == nil && errB == nil && a == b {
			return nil, errSame
		}
	}
	if from.size >= resumeMin {
		e.known = p.partsIn(ctx, e.dst)
	}
	return e.task(), nil
}

// partsIn lists the unfinished files beside a target.
func (p *planner) partsIn(ctx context.Context, dst Place) map[string]info {
	folder, _ := dst.FS.split(dst.Path)
	if parts, ok := p.parts[folder]; ok {
		return parts
	}
	present, err := dst.FS.readDir(ctx, folder)
	if err != nil {
		p.Logger.Info("looking for parts", "path", dst.FS.show(folder), "error", err)
	}
	p.parts[folder] = partsOf(present)
	return p.parts[folder]
}

// partsOf are the unfinished files among others.
func partsOf(present []info) map[string]info {
	parts := map[string]info{}
	for _, i := range present {
		if strings.HasPrefix(i.name, ".") && strings.Contains(i.name, partMark) {
			parts[i.name] = i
		}
	}
	return parts
}

// glob returns the paths that match a pattern of a shell's kind, in order. A
// name that begins with a dot is matched only by a pattern that does.
func (r *Remote) glob(ctx context.Context, pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("the pattern cannot be understood: %w", err)
	}
	found := []string{""}
	if strings.HasPrefix(pattern, "/") {
		found = []string{"/"}
	}
	parts := strings.FieldsFunc(pattern, func(c rune) bool { return c == '/' })
	for n, part := range parts {
		var next []string
		for _, dir := range found {
			names, err := r.matches(ctx, dir, part)
			if ctx.Err() != nil || r.lost() != nil {
				return nil, err
			}
			for _, name := range names {
				next = append(next, path.Join(dir, name))
			}
			if err != nil && len(found) == 1 && n < len(parts) {
				return nil, err
			}
		}
		found = next
	}
	if strings.HasSuffix(pattern, "/") {
		for i := range found {
			found[i] += "/"
		}
	}
	return found, nil
}

// matches are the names in a directory that match one part of a pattern.
func (r *Remote) matches(ctx context.Context, dir, part string) ([]string, error) {
	if !strings.ContainsAny(part, `*?[\`) {
		if _, err := r.lstat(path.Join(dir, part)); err != nil {
			return nil, nil //nolint:nilerr // it does not match
		}
		return []string{part}, nil
	}
	entries, err := r.readDir(ctx, orHere(dir))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.show(dir), err)
	}
	var names []string
	for _, i := range entries {
		hidden := strings.HasPrefix(i.name, ".") && !strings.HasPrefix(part, ".")
		if ok, err := path.Match(part, i.name); err == nil && ok && !hidden && validName(i.name) {
			names = append(names, i.name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// orHere is a directory's path, which must not be empty on the wire.
func orHere(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}
