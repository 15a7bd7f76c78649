package provision

import (
	"fmt"
	"strings"
)

// Kind is what sort of thing a twin is made of.
type Kind string

// Kinds.
const (
	KindService    Kind = "service"
	KindJob        Kind = "job"
	KindWorkerPool Kind = "worker-pool"
)

// Target is what a twin is made of.
type Target struct {
	Kind Kind // "" means KindService
	Name string
	// Revision is one of the service or worker pool, instead of the one that runs. Tag is a traffic tag of the service,
	// and names a revision too.
	Revision, Tag string
	// Image runs in the place of the container's own, with all else as in the target.
	Image string
}

// ParseTarget reads what users type: SERVICE, job:NAME or worker-pool:NAME; service:NAME is the first in full. The error
// says what is wrong with the name.
func ParseTarget(s string) (Target, error) {
	kind, name, ok := strings.Cut(s, ":")
	if !ok {
		kind, name = string(KindService), s
	}
	t := Target{Kind: Kind(kind), Name: name}
	switch t.Kind {
	case KindService, KindJob, KindWorkerPool:
		return t, t.Check()
	}
	return Target{}, fmt.Errorf("%q is not SERVICE, job:NAME or worker-pool:NAME", s)
}

// Check says what is wrong with the target's name, or with what is asked of its kind.
func (t Target) Check() error {
	most := MaxName
	switch t.Kind {
	case "", KindService, KindWorkerPool:
	case KindJob:
		most = maxJobName
	default:
		return fmt.Errorf("%q is no kind of target: service, job or worker-pool", t.Kind)
	}
	switch {
	case t.Kind == KindJob && t.Revision != "":
		return fmt.Errorf("job %s has no revisions: it is always taken as it is now", t.Name)
	case t.Tag != "" && t.Kind != "" && t.Kind != KindService:
		return fmt.Errorf("a %s gets no traffic, and has no tags", t.Kind.Words())
	case t.Tag != "" && t.Revision != "":
		return fmt.Errorf("a tag names a revision: tag %s and revision %s cannot both be meant", t.Tag, t.Revision)
	}
	return checkName(t.Kind.Words(), t.Name, most)
}

// Words are the kind in a sentence: "service", "job" or "worker pool".
func (k Kind) Words() string {
	if k == "" {
		k = KindService
	}
	return strings.ReplaceAll(string(k), "-", " ")
}

// String is the target as users type it, without its revision, tag and image.
func (t Target) String() string {
	if t.Kind == "" || t.Kind == KindService {
		return t.Name
	}
	return string(t.Kind) + ":" + t.Name
}
