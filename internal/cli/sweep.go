package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	// sweepEvery is how often a project is looked through for what was left.
	sweepEvery = time.Hour
	// sweepJoin is how long the end of a command waits for a sweep.
	sweepJoin = 2 * time.Second
	// sweepTimeout bounds a sweep.
	sweepTimeout = 2 * time.Minute
	// oldLog is when the log of a guard is of no use any more: no lease is
	// longer.
	oldLog = 31 * 24 * time.Hour
)

// sweep deletes our expired twins in the background, at most once an hour for
// a project. The function it returns gives it a moment to end. It has the
// platform's clients for itself, since a command may change its region; and
// that it fails is nobody's trouble: the next one tries again.
func (a *app) sweep(ctx context.Context, c *cloud) (join func()) {
	dir, err := a.stateDir()
	if err != nil {
		a.log.Debug("not sweeping", "error", err)
		return func() {}
	}
	if !claimSweep(filepath.Join(dir, "swept-"+fileName(c.config.Project, c.emulator)), time.Now()) {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		removeOldLogs(dir, time.Now())
		own := *c
		err := own.open(ctx, a)
		if err == nil {
			err = errors.Join(a.deleteExpired(ctx, &own), own.backend.Close())
		}
		if err != nil {
			a.log.Debug("sweeping", "error", err)
		}
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(sweepJoin):
		}
	}
}

// claimSweep reports whether it is time, and makes it ours: of two that start
// at once the second finds a fresh stamp, or both sweep, which harms nobody.
func claimSweep(stamp string, now time.Time) bool {
	info, err := os.Stat(stamp)
	if err == nil && now.Sub(info.ModTime()) < sweepEvery && !info.ModTime().After(now) {
		return false
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return os.WriteFile(stamp, nil, 0o600) == nil && os.Chtimes(stamp, now, now) == nil
}

func (a *app) deleteExpired(ctx context.Context, c *cloud) (failed error) {
	for t, err := range c.backend.Twins(ctx) {
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case t.Mine && t.Expired(time.Now()):
			err := c.backend.Delete(ctx, t)
			failed = errors.Join(failed, err)
			a.log.Debug("deleted an expired twin", "twin", t.Name, "error", err)
		}
	}
	return failed
}

func removeOldLogs(dir string, now time.Time) {
	logs, _ := filepath.Glob(filepath.Join(dir, "guard-*.log")) // the pattern is well formed
	for _, name := range logs {
		if info, err := os.Stat(name); err == nil && now.Sub(info.ModTime()) > oldLog {
			_ = os.Remove(name) // best effort
		}
	}
}

// fileName joins words to one that every file system takes.
func fileName(words ...string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, strings.Join(words, "_"))
}

// stopped says that the platform stopped the instance of a twin that a guard
// held, and with it the sessions that waited there. The guard writes it, and
// whoever asks for the session next is told.
type stopped struct {
	Twin, Source string
	At           time.Time
}

func (a *app) writeStopped(t provision.Twin) error {
	dir, err := a.stateDir()
	if err != nil {
		return err
	}
	b, err := json.Marshal(stopped{Twin: t.Name, Source: t.Source, At: time.Now()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "stopped-"+fileName(t.Project, t.Region, t.Name)+".json"), b, 0o600)
}

// noteStopped tells, once, of sessions that were lost in twins of a service.
func (a *app) noteStopped(service string) {
	dir, err := a.statePath()
	if err != nil {
		return
	}
	files, _ := filepath.Glob(filepath.Join(dir, "stopped-*.json")) // the pattern is well formed
	for _, name := range files {
		var s stopped
		b, err := os.ReadFile(name)
		if err != nil || json.Unmarshal(b, &s) != nil || (service != "" && s.Source != service) {
			continue
		}
		a.ui.Notef("the platform stopped the instance of %s at %s, and the session that was detached in it", s.Twin, clock(s.At))
		_ = os.Remove(name) // told twice is no harm
	}
}
