package cli_test

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// stage holds clients where a test wants them: in a phase of a session, which
// an emulator's hooks see. Each test has a target of its own in the emulator,
// and finds its clients by that target's name.
type stage struct {
	mu    sync.Mutex
	stops map[string]*stop
	lines map[string]*line
	dials map[string]int // upgrades asked for
}

// stop is where the next client of a target is held.
type stop struct {
	place   string
	pass    int           // so many go by before the one that is held
	taken   bool          // somebody is held, or was
	reached chan struct{} // closed when somebody is held
	release chan struct{} // closed when everybody may go on
	freeing sync.Once
}

// free lets everybody go on.
func (p *stop) free() { p.freeing.Do(func() { close(p.release) }) }

// Places of a stop.
const (
	placeFind   = "find"
	placeRead   = "read"
	placePush   = "push"
	placeCreate = "create"
	placeReady  = "ready"
	placeDial   = "dial"
	placeDelete = "delete"
)

func newStage() *stage {
	return &stage{stops: map[string]*stop{}, lines: map[string]*line{}, dials: map[string]int{}}
}

// arm makes the next client of target, after those that pass, stop at place.
func (s *stage) arm(target, place string, pass int) *stop {
	p := &stop{place: place, pass: pass, reached: make(chan struct{}), release: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops[target] = p
	return p
}

// lay puts a line between target's twins and their clients.
func (s *stage) lay(target, door string) *line {
	l := newLine(door)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[target] = l
	return l
}

func (s *stage) line(target string) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[target]
}

func (s *stage) dialled(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials[target]++
}

// dialsOf is how often clients of a target have asked for an upgrade.
func (s *stage) dialsOf(target string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials[target]
}

// take returns the stop of a target if it is here and nobody is in it.
func (s *stage) take(target, place string) *stop {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.stops[target]
	if p == nil || p.place != place || p.taken {
		return nil
	}
	if p.pass > 0 {
		p.pass--
		return nil
	}
	p.taken = true
	return p
}

// hold holds the caller, if this is where its target's client is to stop.
func (s *stage) hold(ctx context.Context, target, place string) {
	p := s.take(target, place)
	if p == nil {
		return
	}
	close(p.reached)
	select {
	case <-p.release:
	case <-ctx.Done():
	}
}

// targetOf is the target whose twin, revision of a twin or URL of a twin this
// is; not ok for the target itself.
func targetOf(name string) (target string, ok bool) {
	target, _, ok = strings.Cut(name[strings.LastIndex(name, "/")+1:], "-ssh")
	return target, ok
}

// faults are the hooks of an emulator with this stage.
func (s *stage) faults() emulator.Faults {
	return emulator.Faults{
		AdminError: func(method, resource string) error {
			target, twin := targetOf(resource)
			switch {
			case method == "GetService" && !twin:
				s.hold(context.Background(), target, placeFind)
			case method == "CreateService" && twin:
				s.hold(context.Background(), target, placeCreate)
			case method == "DeleteService" && twin:
				s.hold(context.Background(), target, placeDelete)
			}
			return nil
		},
		DenyPull: func(repo string) bool {
			target, _ := targetOf(repo)
			s.hold(context.Background(), target, placeRead)
			return false
		},
		DenyPush: func(repo string) bool {
			target, _ := targetOf(repo)
			s.hold(context.Background(), target, placePush)
			return false
		},
		BeforeReady: func(ctx context.Context, revision string) error {
			if target, twin := targetOf(revision); twin {
				s.hold(ctx, target, placeReady)
			}
			return nil
		},
		FrontEnd: s.frontEnd,
	}
}

func (s *stage) frontEnd(w http.ResponseWriter, r *http.Request) bool {
	target, twin := targetOf(r.Host)
	if !twin || r.Header.Get(relayed) != "" {
		return false
	}
	upgrade, l := r.Header.Get("Upgrade") != "", s.line(target)
	if upgrade {
		s.dialled(target)
		s.hold(r.Context(), target, placeDial)
	}
	if l == nil || r.Context().Err() != nil {
		return false
	}
	if upgrade {
		l.carry(w, r)
	}
	return upgrade || !l.pass(true, r.Context().Done())
}
