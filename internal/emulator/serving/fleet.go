package serving

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// idleTimeout is the platform's.
const idleTimeout = 15 * time.Minute

// A Fleet is the instances of all revisions. It is safe for concurrent use.
type Fleet struct {
	o       Options
	files   volumeFiles
	buffers sync.Pool

	mu        sync.Mutex
	closed    bool
	revisions map[Key]*revision
	logs      map[Key]*logBuffer
	old       []Key // of removed revisions whose logs are kept, oldest first
}

// New returns a Fleet without revisions.
func New(o Options) (*Fleet, error) {
	if o.Runtime == nil || o.Pull == nil || o.StateDir == "" {
		return nil, errors.New("serving: Runtime, Pull and StateDir are required")
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = idleTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	files, err := newVolumeFiles(o.StateDir)
	if err != nil {
		return nil, err
	}
	return &Fleet{
		o:         o,
		files:     files,
		buffers:   sync.Pool{New: func() any { return new([copyBuffer]byte) }},
		revisions: map[Key]*revision{},
		logs:      map[Key]*logBuffer{},
	}, nil
}

// add registers a revision that is about to be deployed.
func (f *Fleet) add(rev Revision) (*revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := rev.Key()
	switch {
	case f.closed:
		return nil, ErrRemoved
	case f.revisions[key] != nil:
		return nil, ErrExists
	}
	r := newRevision(f, rev)
	f.revisions[key] = r
	f.logs[key] = r.log
	f.old = slices.DeleteFunc(f.old, func(k Key) bool { return k == key })
	return r, nil
}

func (f *Fleet) find(key Key) *revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revisions[key]
}

// Scale changes the service's share of a revision's scaling, as [Revision] has it. Instances over the new maximum
// take no new requests. It does nothing when there is no such revision.
func (f *Fleet) Scale(key Key, minInstances, maxInstances int) {
	if r := f.find(key); r != nil {
		r.scale(minInstances, maxInstances)
	}
}

// Instances returns the ids of a revision's instances that run or start, the oldest first.
func (f *Fleet) Instances(key Key) []string {
	r := f.find(key)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, i := range r.instances {
		if i.life.Err() == nil {
			ids = append(ids, i.id)
		}
	}
	return ids
}

// Remove shuts a revision's instances down, SIGTERM first and SIGKILL after 10 s or when ctx ends, and forgets the
// revision, all but its logs. When it returns nothing of the instances is left. Requests that wait get 503; a deployment
// that is under way ends with ErrRemoved. It does nothing when there is no such revision.
func (f *Fleet) Remove(ctx context.Context, key Key) error {
	r := f.find(key)
	if r == nil {
		return nil
	}
	err := r.remove(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.revisions[key] == r {
		delete(f.revisions, key)
		f.old = append(f.old, key)
	}
	for len(f.old) > keptLogs {
		delete(f.logs, f.old[0])
		f.old = f.old[1:]
	}
	return err
}

// Close removes all revisions as Remove does, all at once, and returns when nothing of them is left: no instance,
// no goroutine, no file of a volume.
func (f *Fleet) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	keys := slices.Collect(maps.Keys(f.revisions))
	f.mu.Unlock()
	errs := make([]error, len(keys)+1)
	var wg sync.WaitGroup
	for n, key := range keys {
		wg.Go(func() { errs[n] = f.Remove(ctx, key) })
	}
	wg.Wait()
	errs[len(keys)] = f.files.remove()
	return errors.Join(errs...)
}
