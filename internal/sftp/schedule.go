//go:build linux || darwin

package sftp

import (
	"slices"
	"sync"
)

// How many requests are in hand at most, and how many bytes of their bodies
// and replies. What comes beyond waits in the channel, where the client sees
// its window fill.
const (
	maxJobs   = 32
	maxWeight = 2 << 20
)

// An order says what a job may run beside.
type order int

const (
	// A job without an order touches nothing that others change.
	_ order = iota
	// looks: it sees names, sizes and times, so it must not run beside what
	// changes them.
	looks
	// reads from its file; beside other reads, but for the one that continues
	// where the last one ends: it comes next, so that the file is read
	// sequentially, which network file systems need to be fast.
	reads
	// lists goes on with a directory: looks, and is alone with its handle.
	lists
	// changes its file, alone. Writes to one file keep their order: were the
	// second done and the first lost with the connection, a client that
	// resumes at the file's size would leave a hole.
	changes
	// barrier: it comes after all before it and before all after it.
	barrier
)

// A job is a request that was understood.
type job struct {
	id   uint32
	body []byte // goes back to the pool afterwards
	run  func(*message) error

	order  order
	files  [2]*handle // what reads, lists and changes mean
	offset uint64     // of a read
	length uint64     // of a read
	weight int        // bytes of its body and its reply

	waits int    // jobs that must be done before; guarded by the schedule
	after []*job // jobs that wait for this one; guarded by the schedule
}

// before reports whether j must be done before a later job starts.
func (j *job) before(later *job) bool {
	switch {
	case j.order == barrier || later.order == barrier:
		return true
	case j.sharesFile(later):
		if j.order == reads && later.order == reads {
			return later.offset == j.offset+j.length
		}
		return j.order >= lists || later.order >= lists
	}
	return j.sees() && later.order == changes || j.order == changes && later.sees()
}

func (j *job) sees() bool { return j.order == looks || j.order == lists }

func (j *job) sharesFile(o *job) bool {
	for _, f := range j.files {
		for _, g := range o.files {
			if f != nil && g != nil && f.sameFile(g) {
				return true
			}
		}
	}
	return false
}

// covers reports whether whatever comes before later and is older than j comes
// before j already: j is no different, so what stands in the way of later
// stood in its way.
func (j *job) covers(later *job) bool {
	return j.order == barrier || j.order == changes && later.order == changes && j.files == later.files
}

// A schedule holds the jobs in hand.
type schedule struct {
	mu     sync.Mutex
	room   sync.Cond
	jobs   []*job // not done yet, in the order they came
	unsent int    // weight of all whose reply is not sent
	count  int    // of them
}

func newSchedule() *schedule {
	s := &schedule{}
	s.room.L = &s.mu
	return s
}

// add takes a job on, once there is room, and reports whether it may run now;
// if not, done will return it.
func (s *schedule) add(j *job) (now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.count >= maxJobs || s.count > 0 && s.unsent+j.weight > maxWeight {
		s.room.Wait()
	}
	for _, earlier := range slices.Backward(s.jobs) {
		if !earlier.before(j) {
			continue
		}
		earlier.after = append(earlier.after, j)
		j.waits++
		if earlier.covers(j) {
			break
		}
	}
	s.jobs = append(s.jobs, j)
	s.unsent += j.weight
	s.count++
	return j.waits == 0
}

// done says that a job has taken effect, and returns those that may run now.
func (s *schedule) done(j *job) (next []*job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.jobs, j)
	s.jobs = slices.Delete(s.jobs, i, i+1)
	for _, later := range j.after {
		if later.waits--; later.waits == 0 {
			next = append(next, later)
		}
	}
	j.after = nil
	return next
}

// sent says that the reply of a job is out, or lost.
func (s *schedule) sent(weight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent -= weight
	s.count--
	s.room.Broadcast()
}

// wait waits until all jobs are done and their replies are sent.
func (s *schedule) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.count > 0 {
		s.room.Wait()
	}
}
