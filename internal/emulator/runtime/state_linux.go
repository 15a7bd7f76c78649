package runtime

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The state directory:
//
//	images/<boot ID>/<chain ID>  unpacked images
//	run/<owner>.lock             locked (flock) for as long as the owner lives
//	run/<owner>/                 everything that one Runtime makes
//	run/<owner>/tool             path of its OCI runtime's binary
//	run/<owner>/root/            its OCI runtime's state
//	run/<owner>/netns/<sandbox>  network namespaces
//	run/<owner>/sandboxes/<sandbox>/{etc,volumes,<container>}
//	run/<owner>/tmp/             what is being unpacked
//
// Unpacked images are not flushed to disk: a machine that crashes may lose their
// content while it keeps their names. So they hold for one boot of the machine.
type ownerState struct {
	id   string
	dir  string
	lock *os.File
}

// newOwnerState makes the directory of a Runtime. Its lock is held before the directory exists, so
// that whoever finds the directory with a free lock knows that the owner is dead.
func newOwnerState(stateDir string) (*ownerState, error) {
	id := hex.EncodeToString(random(4))
	s := &ownerState{id: id, dir: filepath.Join(stateDir, "run", id)}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	for s.lock == nil {
		var err error
		if s.lock, err = lockFile(s.dir+".lock", unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("locking the state directory: %w", err)
		}
	}
	for _, d := range []string{"root", "netns", "sandboxes", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("making the state directory: %w", err), s.remove())
		}
	}
	return s, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// lockFile opens and locks a file. It returns nil when the file was removed meanwhile, by one who
// had it locked, or, with LOCK_NB, when another holds the lock.
func lockFile(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return nil, errors.Join(err, f.Close())
	}
	var opened, named unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &opened)
	if err == nil {
		err = unix.Stat(name, &named)
	}
	if err != nil || opened.Ino != named.Ino {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// remove removes the directory, then the lock.
func (s *ownerState) remove() error {
	if err := removeTree(s.dir); err != nil {
		return err
	}
	if err := os.Remove(s.lock.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.lock.Close()
}

// deadOwners locks and returns the states whose owner is dead.
func deadOwners(stateDir string) ([]*ownerState, error) {
	run := filepath.Join(stateDir, "run")
	entries, err := os.ReadDir(run)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var dead []*ownerState
	var errs []error
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), ".lock")
		if e.IsDir() && exists(filepath.Join(run, id+".lock")) {
			continue // found by its lock
		}
		lock, err := lockFile(filepath.Join(run, id+".lock"), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			errs = append(errs, err)
		}
		if lock != nil {
			dead = append(dead, &ownerState{id: id, dir: filepath.Join(run, id), lock: lock})
		}
	}
	return dead, errors.Join(errs...)
}

// bootID identifies this boot of the machine, see random(4).
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(text) < 8 {
		return "unknown"
	}
	return string(text[:8])
}
