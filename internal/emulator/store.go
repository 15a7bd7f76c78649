package emulator

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// store is the state of the platform under one mutex. The messages in it are immutable: a change puts a changed
// clone in a message's place, so that what a reader took out of the store can be sent without the lock.
type store struct {
	mu         sync.Mutex
	changed    chan struct{} // closed, and replaced, at every change
	services   map[serviceName]*service
	pools      map[serviceName]*service
	jobs       map[jobName]*job
	tombstones []*runpb.Service // deleted services and worker pools, oldest first
	operations map[string]*operation
	enabled    map[projectAPI]bool             // those of Options.DisabledAPIs that were enabled since
	granted    map[string]*iampb.Policy        // of accounts, repositories and secrets, by name
	exports    map[string]exportStatusResponse // by operation id
	projects   map[string]*iampb.Policy        // by project id
	port       string                          // of the ingress, for the services' URLs
	now        func() time.Time
	closed     bool // nothing starts any more
}

// maxTombstones bounds what show_deleted can show.
const maxTombstones = 200

// service is one service or worker pool; all of it belongs to the store's mutex.
type service struct {
	name      serviceName
	pb        *runpb.Service
	policy    *iampb.Policy
	revisions map[string]*revision
	made      int             // revisions made so far, for their names
	ctx       context.Context // ends when the service is deleted or the emulator closed
	cancel    context.CancelFunc
	work      *sync.WaitGroup // its deployments
	deleting  bool
	waiting   []waiter     // operations that end when the service settles
	deletions []*operation // operations that end when it is gone
}

// waiter is an operation that waits for a revision to become ready or fail or, without one, for the service to.
type waiter struct {
	op  *operation
	rev *revision
}

// revision is one revision; all of it belongs to the store's mutex.
type revision struct {
	name     revisionName
	pb       *runpb.Revision
	template *runpb.RevisionTemplate // images pinned to the digests of deploy time
	number   int
	state    runpb.Condition_State // RECONCILING, SUCCEEDED or FAILED
	deleting bool
	cancel   context.CancelFunc // of its deployment
}

func newStore(port string, now func() time.Time) *store {
	return &store{
		changed: make(chan struct{}), services: map[serviceName]*service{}, pools: map[serviceName]*service{},
		jobs: map[jobName]*job{}, operations: map[string]*operation{},
		exports: map[string]exportStatusResponse{}, granted: map[string]*iampb.Policy{}, enabled: map[projectAPI]bool{}, projects: map[string]*iampb.Policy{}, port: port, now: now,
	}
}

// close has everything refused from now on that would start something. Who was let in before has started it.
func (st *store) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
}

// notify wakes who waits for a change. The caller holds the mutex.
func (st *store) notify() {
	close(st.changed)
	st.changed = make(chan struct{})
}

func (st *store) timestamp() *timestamppb.Timestamp { return timestamppb.New(st.now()) }

// canonical replaces a project number by the project's id, for projects that are known.
func (st *store) canonical(l location) location {
	if _, err := strconv.ParseUint(l.project, 10, 64); err != nil {
		return l
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for id := range st.projects {
		if projectNumber(id) == l.project {
			l.project = id
		}
	}
	return l
}

// table is where the services of a name's kind are. The caller holds the mutex.
func (st *store) table(n serviceName) map[serviceName]*service {
	if n.kind == serving.WorkerPool {
		return st.pools
	}
	return st.services
}

// find returns a service. The caller holds the mutex.
func (st *store) find(n serviceName) (*service, error) {
	if s := st.table(n)[n]; s != nil {
		return s, nil
	}
	return nil, n.missing()
}

func (n serviceName) missing() error {
	kind := "SERVICE"
	if n.kind == serving.WorkerPool {
		kind = "WORKERPOOL"
	}
	return rules.NotFound(kind, n.service, n.region, n.project)
}

// findRevision returns a revision and its service. The caller holds the mutex.
func (st *store) findRevision(n revisionName) (*service, *revision, error) {
	if s := st.table(n.serviceName)[n.serviceName]; s != nil {
		if r := s.revisions[n.revision]; r != nil {
			return s, r, nil
		}
	}
	return nil, nil, rules.NotFound("REVISION", n.revision, n.region, n.project)
}

// byHost finds the service that an ingress host names, and the traffic tag in it.
func (st *store) byHost(host string) (n serviceName, tag string, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	rest := host
	if before, after, tagged := strings.Cut(host, "---"); tagged {
		tag, rest = before, after
	}
	for n := range st.services {
		if ingressHost(n, "") == rest {
			return n, tag, true
		}
	}
	return serviceName{}, "", false
}

// uri is the URL of a service or, with a tag, of one of its traffic targets.
func (st *store) uri(n serviceName, tag string) string {
	return "http://" + ingressHost(n, tag) + ":" + st.port
}

// list returns the services that match, newest first, as the platform lists them.
func (st *store) list(match func(serviceName) bool, deleted bool) []*runpb.Service {
	return st.listIn(st.services, parseService, match, deleted)
}

// listIn is list for either kind; parse takes the names of that kind only.
func (st *store) listIn(table map[serviceName]*service, parse func(field, name string) (serviceName, error),
	match func(serviceName) bool, deleted bool,
) []*runpb.Service {
	st.mu.Lock()
	defer st.mu.Unlock()
	var found []*runpb.Service
	for n, s := range table {
		if match(n) {
			found = append(found, s.pb)
		}
	}
	if deleted {
		for _, pb := range st.tombstones {
			if n, err := parse("name", pb.GetName()); err == nil && match(n) {
				found = append(found, pb)
			}
		}
	}
	slices.SortFunc(found, func(a, b *runpb.Service) int { return newestFirst(serviceKey(a), serviceKey(b)) })
	return found
}

// timeKey orders by creation time and then by name; its form sorts as text.
func timeKey(created *timestamppb.Timestamp, name string) string {
	return fmt.Sprintf("%020d %s", created.AsTime().UnixNano(), name)
}

func serviceKey(s *runpb.Service) string   { return timeKey(s.GetCreateTime(), s.GetName()) }
func revisionKey(r *runpb.Revision) string { return timeKey(r.GetCreateTime(), r.GetName()) }

func newestFirst(a, b string) int { return -strings.Compare(a, b) }

func newerFirst(a, b string) bool { return newestFirst(a, b) < 0 }

// bury takes a service out of the store. The caller holds the mutex.
func (st *store) bury(s *service) *runpb.Service {
	pb := proto.CloneOf(s.pb)
	pb.Reconciling = false
	delete(st.table(s.name), s.name)
	st.tombstones = append(st.tombstones, pb)
	if n := len(st.tombstones); n > maxTombstones {
		st.tombstones = slices.Clone(st.tombstones[n-maxTombstones:])
	}
	return pb
}

// sorted returns a service's revisions, oldest first. The caller holds the mutex.
func (s *service) sorted() []*revision {
	return slices.SortedFunc(maps.Values(s.revisions), func(a, b *revision) int { return a.number - b.number })
}

// nextRevision names the next revision: service, five-digit number, three random letters or digits. The caller
// holds the mutex.
func (s *service) nextRevision(named string) (revisionName, int) {
	s.made++
	if named == "" {
		named = fmt.Sprintf("%s-%05d-%s", s.name.service, s.made, randomSuffix(3))
	}
	return revisionName{s.name, named}, s.made
}

// randomSuffix is n random lower-case letters and digits.
func randomSuffix(n int) string { return strings.ToLower(rand.Text()[:n]) }

// newEtag is an opaque fingerprint in the quoted form of the platform's.
func newEtag() string {
	raw := make([]byte, 15)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
	return strconv.Quote(base64.RawURLEncoding.EncodeToString(raw))
}

// newUID is a random UUID (RFC 9562 §5.4).
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
