package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

// configPath is the file that config edits, absolute.
func (a *app) configPath(o *configOptions) (string, error) {
	if o.file != "" {
		return filepath.Abs(o.file)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", withHints(fmt.Errorf("locating ~/.ssh/config: %w", err), "cloudssh config write --file FILE")
	}
	return filepath.Join(home, ".ssh", "config"), nil
}

// ownProgram is the path under which this program will be found later: the one
// it was called by rather than what that leads to, because package managers
// keep the name and replace the file behind it.
func ownProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding our own program: %w", err)
	}
	if called, err := exec.LookPath(os.Args[0]); err == nil {
		if called, err := filepath.Abs(called); err == nil && sameFile(self, called) {
			return called, nil
		}
	}
	return self, nil
}

func sameFile(a, b string) bool {
	first, errA := os.Stat(a)
	second, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(first, second)
}

// configEdit is a change of a file.
type configEdit struct {
	path          string // as the user knows it
	target        string // behind symbolic links, which stay
	before, after []byte
	info          fs.FileInfo // nil: there is no file
}

func (e *configEdit) changed() bool {
	return !bytes.Equal(e.before, e.after)
}

// errConcurrent is a file that somebody else changed while we did.
var errConcurrent = errors.New("another program keeps changing the file")

// editConfig changes a file by edit, which is told what would be made for it.
// If somebody else changes the file meanwhile it begins again.
func editConfig(path string, dryRun bool, edit func(*sshconfig.File, sshconfig.Made) error) (*configEdit, error) {
	for range 5 {
		e, made, err := planEdit(path, edit)
		if err == nil && !dryRun && e.changed() {
			err = e.apply(made)
		}
		if !errors.Is(err, errConcurrent) {
			return e, err
		}
	}
	return nil, fmt.Errorf("changing %s: %w", path, errConcurrent)
}

// planEdit reads the file and says what it is to be.
func planEdit(path string, edit func(*sshconfig.File, sshconfig.Made) error) (*configEdit, sshconfig.Made, error) {
	e, err := readConfig(path)
	if err != nil {
		return nil, sshconfig.Made{}, err
	}
	f, err := sshconfig.Parse(e.before)
	if err != nil {
		return nil, sshconfig.Made{}, explainConfig(path, err)
	}
	made := f.Made()
	if e.info == nil {
		_, err := os.Stat(filepath.Dir(e.target))
		made = sshconfig.Made{File: true, Folder: errors.Is(err, fs.ErrNotExist)}
	}
	if err := edit(f, made); err != nil {
		return nil, made, explainConfig(path, err)
	}
	e.after = f.Bytes()
	return e, made, nil
}

// explainConfig says which file an error is about, and what to do.
func explainConfig(path string, err error) error {
	var marker *sshconfig.MarkerError
	err = fmt.Errorf("editing %s: %w", path, err)
	switch {
	case errors.As(err, &marker):
		return withHints(err, "delete what is left of the block, then: cloudssh config write")
	case errors.Is(err, sshconfig.ErrUTF16):
		return withHints(err, "save it as UTF-8 without a byte order mark")
	}
	return err
}

// withPrint adds to an error about a file what else can be done.
func withPrint(err error) error {
	return withHints(err,
		"cloudssh config print # shows the block, to be put where the file is made",
		"cloudssh config write --file FILE # and `Include FILE` above everything else in the configuration")
}

// readConfig reads a file, which need not be there.
func readConfig(path string) (*configEdit, error) {
	target, err := behindLinks(path)
	if err != nil {
		return nil, fmt.Errorf("following %s: %w", path, err)
	}
	e := &configEdit{path: path, target: target}
	e.info, err = os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		e.info = nil
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if !e.info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if e.before, err = os.ReadFile(target); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return e, nil
}

// behindLinks is where a path leads, also if nothing is there yet.
func behindLinks(path string) (string, error) {
	for range 40 { // as many as Linux follows
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			return target, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // no link, but a file that is not there
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(dir, link)
		}
		path = link
	}
	return "", errors.New("too many symbolic links")
}

// apply makes the change.
func (e *configEdit) apply(made sshconfig.Made) error {
	if err := e.writable(); err != nil {
		return withPrint(fmt.Errorf("changing %s: %w", e.path, err))
	}
	if len(e.after) == 0 && made.File && e.info != nil {
		return e.remove(made)
	}
	if e.info == nil && made.Folder {
		if err := makeFolder(filepath.Dir(e.target)); err != nil {
			return withPrint(fmt.Errorf("making a place for %s: %w", e.path, err))
		}
	}
	if err := e.replace(); err != nil {
		return withPrint(fmt.Errorf("changing %s: %w", e.path, err))
	}
	return nil
}

// writable refuses a file that is not meant to be written to, although its
// folder may let us replace it.
func (e *configEdit) writable() error {
	if e.info == nil {
		return nil
	}
	if e.info.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("it is read-only (mode %04o)", e.info.Mode().Perm())
	}
	f, err := os.OpenFile(e.target, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// makeFolder makes a folder that belongs to whom its parent belongs to: root
// may be at work in a user's home.
func makeFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return giveTo(dir, parent)
}

// replace puts a new file in the old one's place, at once and as it was:
// mode and owner.
func (e *configEdit) replace() (err error) {
	dir := filepath.Dir(e.target)
	mode, like := fs.FileMode(0o600), e.info
	if e.info != nil {
		mode = e.info.Mode().Perm()
	} else if like, err = os.Stat(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".cloudssh-config-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(e.after)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close(), giveTo(f.Name(), like), e.recheck()); err != nil {
		return err
	}
	return os.Rename(f.Name(), e.target)
}

// recheck makes sure that the file is still what the change was made from.
func (e *configEdit) recheck() error {
	now, err := os.ReadFile(e.target)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.info == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), err == nil && (e.info == nil || !bytes.Equal(now, e.before)):
		return errConcurrent
	}
	return err
}

// remove takes away what was made for the block, now that nothing is left.
func (e *configEdit) remove(made sshconfig.Made) error {
	if err := e.recheck(); err != nil {
		return err
	}
	if err := os.Remove(e.target); err != nil {
		return err
	}
	if !made.Folder {
		return nil
	}
	dir := filepath.Dir(e.target)
	left, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking into %s: %w", dir, err)
	}
	if len(left) > 0 {
		return nil
	}
	return os.Remove(dir)
}
