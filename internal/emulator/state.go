package emulator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// stateDir is what the emulators of one user keep between them and apart: images, unpacked once, are in the parent and
// shared; what an emulator alone uses is in a slot, a directory that it holds locked.
type stateDir struct {
	dir  string // shared
	slot string // of this emulator
	lock *os.File
}

// errLocked is lockFile's answer when another process holds the lock.
var errLocked = errors.New("locked by another process")

// maxSlots is how many emulators may share a state directory.
const maxSlots = 64

func defaultStateDir() string {
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "cloudssh-emulator")
	}
	return filepath.Join(os.TempDir(), "cloudssh-emulator-"+strconv.Itoa(os.Getuid()))
}

// openState takes the first free slot of a state directory and empties it, and every other free one: what is in them
// was left by emulators that were killed.
func openState(dir string) (*stateDir, error) {
	if dir == "" {
		dir = defaultStateDir()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	if err := checkOwner(dir); err != nil {
		return nil, err
	}
	var own *stateDir
	for i := range maxSlots {
		slot := filepath.Join(dir, "emulator-"+strconv.Itoa(i))
		if _, err := os.Stat(slot); own != nil && errors.Is(err, os.ErrNotExist) {
			break
		}
		s, err := takeSlot(dir, slot)
		switch {
		case errors.Is(err, errLocked):
		case err != nil:
			return nil, errors.Join(err, own.release())
		case own == nil:
			own = s
		default:
			if err := s.release(); err != nil {
				return nil, errors.Join(err, own.release())
			}
		}
	}
	if own == nil {
		return nil, fmt.Errorf("state directory %s is in use by %d emulators", dir, maxSlots)
	}
	return own, nil
}

// takeSlot locks and empties a slot.
func takeSlot(dir, slot string) (*stateDir, error) {
	if err := os.MkdirAll(slot, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(slot, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the state directory: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", lock.Name(), err), lock.Close())
	}
	s := &stateDir{dir: dir, slot: slot, lock: lock}
	if err := s.empty(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// empty removes all but the lock.
func (s *stateDir) empty() error {
	entries, err := os.ReadDir(s.slot)
	if err != nil {
		return fmt.Errorf("emptying %s: %w", s.slot, err)
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.slot, e.Name())); err != nil {
			return fmt.Errorf("emptying %s: %w", s.slot, err)
		}
	}
	return nil
}

// release empties the slot and unlocks it. The lock file stays: removing it would let two emulators lock two files of
// the same name.
func (s *stateDir) release() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.empty(), s.lock.Close())
}
