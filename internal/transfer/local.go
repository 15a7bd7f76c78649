package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Local is this machine's files.
type Local struct{}

func (Local) show(path string) string      { return Quote(path) }
func (Local) join(dir, name string) string { return filepath.Join(dir, name) }
func (Local) clean(path string) string     { return filepath.Clean(path) }

func (Local) split(path string) (dir, name string) {
	path = filepath.Clean(path)
	return filepath.Dir(path), filepath.Base(path)
}

func (Local) validName(name string) bool {
	if runtime.GOOS == "windows" && strings.ContainsAny(name, `\/:`) {
		return false
	}
	return validName(name) && filepath.IsLocal(name)
}

func (l Local) stat(path string) (info, error)  { return infoOf(os.Stat(path)) }
func (l Local) lstat(path string) (info, error) { return infoOf(os.Lstat(path)) }

func infoOf(fi os.FileInfo, err error) (info, error) {
	if err != nil {
		return info{}, err
	}
	i := info{name: fi.Name(), mode: fi.Mode(), size: fi.Size(), modified: fi.ModTime(), access: fi.ModTime()}
	i.fromSystem(fi)
	return i, nil
}

func (Local) realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

func (Local) readDir(ctx context.Context, path string) ([]info, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	infos := make([]info, 0, len(entries))
	for _, e := range entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		i, err := infoOf(e.Info())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, i)
	}
	return infos, nil
}

func (Local) readLink(path string) (string, error) { return os.Readlink(path) }

func (Local) open(path string) (file, error) { return localFileOf(os.Open(path)) }

func (Local) create(path string, perm fs.FileMode) (f file, made, want fs.FileMode, err error) {
	o, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm|0o600)
	if err != nil {
		return nil, 0, 0, err
	}
	fi, err := o.Stat()
	if err != nil {
		return nil, 0, 0, errors.Join(err, o.Close(), os.Remove(path))
	}
	return localFile{o}, fi.Mode().Perm(), fi.Mode().Perm() & perm, nil
}

func (Local) reopen(path string) (file, error) {
	return localFileOf(os.OpenFile(path, os.O_RDWR|noFollow, 0))
}

func (Local) rewrite(path string) (file, error) {
	return localFileOf(os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0))
}

func (Local) mkdir(path string, perm fs.FileMode) (made, want fs.FileMode, err error) {
	if err := os.Mkdir(path, perm.Perm()|0o700); err != nil {
		return 0, 0, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	return fi.Mode().Perm(), fi.Mode().Perm() & perm, nil
}

func (Local) symlink(target, path string) error         { return os.Symlink(target, path) }
func (Local) rename(from, to string) error              { return os.Rename(from, to) }
func (Local) remove(path string) error                  { return os.Remove(path) }
func (Local) chmod(path string, mode fs.FileMode) error { return os.Chmod(path, mode) }
func (Local) lost() error                               { return nil }

func (Local) chtimes(path string, access, modified time.Time) error {
	return os.Chtimes(path, access, modified)
}

// localFile is an open file of this machine.
type localFile struct{ *os.File }

func localFileOf(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return localFile{f}, nil
}

func (f localFile) info() (info, error)          { return infoOf(f.Stat()) }
func (f localFile) truncate(size int64) error    { return f.Truncate(size) }
func (f localFile) chmod(mode fs.FileMode) error { return f.Chmod(mode) }
