package provision_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// fake is a backend whose twins are words.
type fake struct {
	create func(ctx context.Context, req provision.Request, n int) (*provision.Twin, error)
	delete func(ctx context.Context) error
	events []string
	// deleteCtx is the state of the context that Delete got.
	deleteErr      error
	deleteDeadline time.Duration
}

func (b *fake) Services(context.Context) iter.Seq2[provision.Service, error] { return nil }
func (b *fake) Twins(context.Context) iter.Seq2[provision.Twin, error]       { return nil }

func (b *fake) Plan(context.Context, provision.Request, provision.Progress) (*provision.Plan, error) {
	return nil, nil
}

func (b *fake) Renew(context.Context, provision.Twin, time.Time) error { return nil }

func (b *fake) Create(ctx context.Context, req provision.Request, _ provision.Progress) (*provision.Twin, error) {
	b.events = append(b.events, "create")
	if b.create != nil {
		return b.create(ctx, req, len(b.events))
	}
	req.Made(twin())
	t := twin()
	return &t, nil
}

func (b *fake) Delete(ctx context.Context, t provision.Twin) error {
	b.events = append(b.events, "delete "+t.Name)
	b.deleteErr = ctx.Err()
	if d, ok := ctx.Deadline(); ok {
		b.deleteDeadline = time.Until(d)
	}
	if b.delete != nil {
		return b.delete(ctx)
	}
	return nil
}

func (b *fake) want(t *testing.T, events ...string) {
	t.Helper()
	if !slices.Equal(b.events, events) {
		t.Errorf("events %q, want %q", b.events, events)
	}
}

func twin() provision.Twin {
	return provision.Twin{Name: "app-ssh", Source: "app", Project: "p1", Region: "r1"}
}

func joinedTwin() *provision.Twin {
	t := twin()
	t.Joined = true
	return &t
}

var errWork = errors.New("exit 7")

func TestWithDeletes(t *testing.T) {
	type f = func(context.Context, *provision.Twin) (bool, error)
	for name, tc := range map[string]struct {
		f      f
		keep   bool
		err    error
		events []string
	}{
		"success":       {func(context.Context, *provision.Twin) (bool, error) { return true, nil }, false, nil, []string{"create", "delete app-ssh"}},
		"failure":       {func(context.Context, *provision.Twin) (bool, error) { return true, errWork }, false, errWork, []string{"create", "delete app-ssh"}},
		"f keeps":       {func(context.Context, *provision.Twin) (bool, error) { return false, errWork }, false, errWork, []string{"create"}},
		"asked to keep": {func(context.Context, *provision.Twin) (bool, error) { return true, nil }, true, nil, []string{"create"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b fake
			err := provision.With(t.Context(), &b, provision.Request{Keep: tc.keep}, provision.Options{}, tc.f)
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("error %v", err)
			}
			b.want(t, tc.events...)
		})
	}
}

func TestWithCreateFails(t *testing.T) {
	b := fake{create: func(context.Context, provision.Request, int) (*provision.Twin, error) { return nil, errWork }}
	err := provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
		t.Error("f ran without a twin")
		return true, nil
	})
	if !errors.Is(err, errWork) {
		t.Errorf("error %v", err)
	}
	b.want(t, "create")
}

func TestWithCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b fake
		ctx, cancel := context.WithCancel(t.Context())
		err := provision.With(ctx, &b, provision.Request{}, provision.Options{}, func(ctx context.Context, _ *provision.Twin) (bool, error) {
			cancel()
			<-ctx.Done()
			return true, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		b.want(t, "create", "delete app-ssh")
		if b.deleteErr != nil {
			t.Errorf("the deletion's context had ended: %v", b.deleteErr)
		}
		if b.deleteDeadline != 60*time.Second {
			t.Errorf("the deletion may take %v", b.deleteDeadline)
		}
	})
}

func TestWithDeleteFails(t *testing.T) {
	b := fake{delete: func(context.Context) error { return provision.Hint(errors.New("no permission"), "ask for it") }}
	err := provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
		return true, errWork
	})
	if !errors.Is(err, errWork) || !strings.Contains(err.Error(), "deleting app-ssh: no permission") {
		t.Errorf("error %v", err)
	}
	want := []string{"cloudssh cleanup --project p1", "gcloud run services delete app-ssh --region r1 --project p1", "ask for it"}
	var hinted interface{ Hints() []string }
	if !errors.As(err, &hinted) || !slices.Equal(hinted.Hints(), want) {
		t.Errorf("hints of %v", err)
	}
}

func TestWithPanic(t *testing.T) {
	for name, joined := range map[string]bool{"made": false, "joined": true} {
		t.Run(name, func(t *testing.T) {
			var b fake
			if joined {
				b.create = func(context.Context, provision.Request, int) (*provision.Twin, error) { return joinedTwin(), nil }
			}
			defer func() {
				p, ok := recover().(*provision.PanicError)
				if !ok || !errors.Is(p, errWork) || !strings.Contains(p.Error(), "with_test.go") {
					t.Errorf("recovered %v", p)
				}
				if joined {
					b.want(t, "create")
				} else {
					b.want(t, "create", "delete app-ssh")
				}
			}()
			_ = provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
				panic(errWork)
			})
			t.Error("With returned")
		})
	}
}

func TestWithGoexit(t *testing.T) {
	var b fake
	done := make(chan bool)
	go func() {
		returned := false
		defer func() { done <- returned }()
		_ = provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
			runtime.Goexit()
			return false, nil
		})
		returned = true
	}()
	if <-done {
		t.Error("With returned")
	}
	b.want(t, "create", "delete app-ssh")
}

func TestWithStartsAgainWhenTwinGoes(t *testing.T) {
	for name, joined := range map[string]bool{"joined": true, "made": false} {
		t.Run(name, func(t *testing.T) {
			b := fake{create: func(context.Context, provision.Request, int) (*provision.Twin, error) {
				tw := twin()
				tw.Joined = joined
				return &tw, nil
			}}
			calls := 0
			err := provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
				if calls++; calls == 1 {
					return false, provision.ErrTwinGone
				}
				return true, nil
			})
			if err != nil {
				t.Error(err)
			}
			b.want(t, "create", "delete app-ssh", "create", "delete app-ssh")
		})
	}
}

func TestWithStartsAgainOnlySoOften(t *testing.T) {
	b := fake{create: func(context.Context, provision.Request, int) (*provision.Twin, error) { return joinedTwin(), nil }}
	err := provision.With(t.Context(), &b, provision.Request{}, provision.Options{}, func(context.Context, *provision.Twin) (bool, error) {
		return false, provision.ErrTwinGone
	})
	if !errors.Is(err, provision.ErrTwinGone) {
		t.Errorf("error %v", err)
	}
	if n := len(b.events); n != 7 { // three times created and deleted, then created and left
		t.Errorf("events %q", b.events)
	}
}

func TestWithAbandoned(t *testing.T) {
	blocked := func(release chan struct{}, reached chan struct{}) func() {
		return func() { close(reached); <-release }
	}
	for name, tc := range map[string]struct {
		in    string
		hints int
	}{
		"before a twin is made": {"early", 0},
		"while it is created":   {"create", 2},
		"in f":                  {"f", 2},
		"while it is deleted":   {"delete", 2},
	} {
		t.Run(name, func(t *testing.T) {
			release, reached, abandon := make(chan struct{}), make(chan struct{}), make(chan struct{})
			block := blocked(release, reached)
			at := func(place string) {
				if tc.in == place {
					block()
				}
			}
			b := &fake{
				create: func(_ context.Context, req provision.Request, _ int) (*provision.Twin, error) {
					at("early")
					req.Made(twin())
					at("create")
					made := twin()
					return &made, nil
				},
				delete: func(context.Context) error { at("delete"); return nil },
			}
			go func() { <-reached; close(abandon) }()
			err := provision.With(t.Context(), b, provision.Request{}, provision.Options{Abandon: abandon},
				func(context.Context, *provision.Twin) (bool, error) { at("f"); return true, nil })
			defer close(release)
			var a *provision.AbandonedError
			if !errors.As(err, &a) || len(a.Hints()) != tc.hints {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWithReportsDeletion(t *testing.T) {
	var steps []string
	progress := func(step string) (func(string), func(error)) {
		steps = append(steps, step)
		return func(string) {}, func(err error) { steps = append(steps, "done") }
	}
	err := provision.With(t.Context(), &fake{}, provision.Request{}, provision.Options{Progress: progress},
		func(context.Context, *provision.Twin) (bool, error) { return true, nil })
	if err != nil || !slices.Equal(steps, []string{"deleting app-ssh", "done"}) {
		t.Errorf("error %v, steps %q", err, steps)
	}
}
