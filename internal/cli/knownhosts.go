package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxKnownHosts bounds the lines of our file of known hosts: the oldest go.
	maxKnownHosts = 500
	// knownHostsPatience is how long other writers of the file are waited for: a
	// program that connects to many twins at once has many proxies, and each of
	// them has its disk write.
	knownHostsPatience = 30 * time.Second
)

// knownHostsPath is our own file of known hosts, beside the key.
func (a *app) knownHostsPath() (string, error) {
	dir, err := a.configDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "known_hosts"), nil
}

// knowHost makes key, in authorized_keys form, the only one that ssh accepts of
// alias. A key that stood there before is another instance's, and of no use any
// more: this one came over TLS from the present one.
func knowHost(ctx context.Context, file, alias, key string) (err error) {
	if !isHostName(alias) {
		return fmt.Errorf("%q cannot stand in a file of known hosts", alias)
	}
	fields := strings.Fields(key)
	if len(fields) < 2 {
		return fmt.Errorf("the agent's host key %q is none", key)
	}
	line := alias + " " + fields[0] + " " + fields[1]
	if knownHosts, err := readKnownHosts(file); err == nil && knownHosts.has(alias, line) {
		return nil
	}
	defer func() {
		if err != nil {
			err = withHints(fmt.Errorf("writing the host key of %s into %s: %w", alias, file, err),
				"export CLOUDSSH_CONFIG_DIR=/some/private/folder")
		}
	}()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // a link stays one
	}
	ctx, cancel := context.WithTimeout(ctx, knownHostsPatience)
	defer cancel()
	unlock, err := lockFile(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	knownHosts, err := readKnownHosts(file)
	if err != nil || knownHosts.has(alias, line) { // by another who came first
		return err
	}
	return replaceFile(file, knownHosts.with(alias, line).bytes())
}

// knownHosts are the lines of a file, oldest first.
type knownHosts []string

func readKnownHosts(file string) (knownHosts, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lines knownHosts
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (k knownHosts) bytes() []byte {
	var b bytes.Buffer
	for _, line := range k {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

// isOf reports whether a line is about alias alone, as all of ours are.
func isOf(line, alias string) bool {
	name, _, _ := strings.Cut(line, " ")
	return strings.EqualFold(name, alias)
}

// has reports whether line is there, and nothing else about alias.
func (k knownHosts) has(alias, line string) bool {
	found := false
	for _, l := range k {
		switch {
		case l == line:
			found = true
		case isOf(l, alias):
			return false
		}
	}
	return found
}

// with is k with line as the only one about alias, as the newest.
func (k knownHosts) with(alias, line string) knownHosts {
	var kept knownHosts
	for _, l := range k {
		if !isOf(l, alias) {
			kept = append(kept, l)
		}
	}
	kept = append(kept, line)
	return kept[max(0, len(kept)-maxKnownHosts):]
}

// replaceFile puts a file into the place of another: a reader finds the one or
// the other, whole, and a crash leaves one of them.
func replaceFile(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// lockWait is how often a lock that somebody has is tried.
const lockWait = 20 * time.Millisecond

// lockFile takes the lock of a file, which is made when it is not there, and
// which ends with its holder.
func lockFile(ctx context.Context, name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		locked, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
		}
		if locked {
			return f.Close, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for the lock %s: %w", name, context.Cause(ctx)), f.Close())
		case <-time.After(lockWait):
		}
	}
}
