//go:build linux || darwin

package shell

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A table has the jobs that the user can speak of.
type table struct {
	mu   sync.Mutex
	last int // the highest number so far
	jobs []*job
	used []*job // the current job last
}

// add makes a job the current one. Numbers are not used again while a job of
// a higher one is there.
func (t *table) add(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.id == 0 {
		t.last++
		j.id = t.last
	}
	if !slices.Contains(t.jobs, j) {
		t.jobs = append(t.jobs, j)
	}
	t.used = append(slices.DeleteFunc(t.used, func(o *job) bool { return o == j }), j)
}

func (t *table) remove(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	other := func(o *job) bool { return o == j }
	t.jobs, t.used = slices.DeleteFunc(t.jobs, other), slices.DeleteFunc(t.used, other)
}

func (t *table) all() []*job {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.jobs)
}

// mark is + for the current job, - for the one before, else a space.
func (t *table) mark(j *job) byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := len(t.used); {
	case n > 0 && t.used[n-1] == j:
		return '+'
	case n > 1 && t.used[n-2] == j:
		return '-'
	}
	return ' '
}

// find returns the job that the user calls spec: %1, %%, %+, %-, %name, %?text.
func (t *table) find(spec string) (*job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := strings.TrimPrefix(spec, "%")
	n := len(t.used)
	switch name {
	case "", "%", "+":
		if n > 0 {
			return t.used[n-1], nil
		}
		return nil, errors.New("no current job")
	case "-":
		if n > 1 {
			return t.used[n-2], nil
		}
		return nil, errors.New("no previous job")
	}
	if id, err := strconv.Atoi(name); err == nil {
		for _, j := range t.jobs {
			if j.id == id {
				return j, nil
			}
		}
		return nil, fmt.Errorf("%s: no such job", spec)
	}
	var found []*job
	for _, j := range t.jobs {
		part, inside := strings.CutPrefix(name, "?")
		if inside && strings.Contains(j.text, part) || !inside && strings.HasPrefix(j.text, name) {
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: no such job", spec)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%s: ambiguous job", spec)
}
