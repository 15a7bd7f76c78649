package serving

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// gate is a handler that answers when it is let.
func gate(entered chan<- string, leave <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- r.URL.Path
		select {
		case <-leave:
			_, _ = io.WriteString(w, "ok")
		case <-r.Context().Done():
		}
	})
}

func concurrency(n, most int32) func(*fixture) {
	return template(func(t *runpb.RevisionTemplate) {
		t.MaxInstanceRequestConcurrency = n
		t.Scaling = &runpb.RevisionScaling{MaxInstanceCount: most}
	})
}

func TestSecondRequestQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		second := f.start("/2")
		synctest.Wait()
		if len(entered) != 1 {
			t.Fatalf("%d requests are in the container, want 1", len(entered))
		}
		leave <- struct{}{}
		f.wantAnswer(<-first, 200, "ok")
		synctest.Wait()
		if len(entered) != 2 {
			t.Fatalf("%d requests were in the container, want 2", len(entered))
		}
		leave <- struct{}{}
		f.wantAnswer(<-second, 200, "ok")
		if _, made := f.runtime.counts(); made != 1 {
			t.Errorf("%d instances were made, want 1", made)
		}
	})
}

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		begin := time.Now()
		f.wantAnswer(f.get("/2"), 429, "Rate exceeded.")
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("the request waited %s, want 30s", d)
		}
		f.wantLog("The request was aborted because there was no available instance.")
		close(leave)
		f.wantAnswer(<-first, 200, "ok")
	})
}

func TestQueueLeavesWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 3), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/2", nil)
			f.fleet.Handler(f.rev.Key()).ServeHTTP(httptest.NewRecorder(), r)
		}()
		synctest.Wait()
		cancel()
		<-gone
		close(leave)
		f.wantAnswer(<-first, 200, "ok")
		f.wantAnswer(f.get("/3"), 200, "ok")
		if <-entered != "/1" || <-entered != "/3" {
			t.Error("a request whose client had left reached the container")
		}
	})
}

func TestParallelRequestsStartOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 20), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), template(func(t *runpb.RevisionTemplate) {
			t.HealthCheckDisabled = true
		}))
		f.deploy()
		f.wantInstances(0)
		var answers []<-chan *httptest.ResponseRecorder
		for range 20 {
			answers = append(answers, f.start("/"))
		}
		synctest.Wait()
		pass(time.Second)
		synctest.Wait()
		if len(entered) != 20 {
			t.Errorf("%d requests are in containers, want 20", len(entered))
		}
		f.wantInstances(1)
		close(leave)
		for _, a := range answers {
			f.wantAnswer(<-a, 200, "ok")
		}
		if _, made := f.runtime.counts(); made != 1 {
			t.Errorf("%d instances were made, want 1", made)
		}
	})
}

func TestScaleOutToMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 10), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(2, 3))
		f.deploy()
		var answers []<-chan *httptest.ResponseRecorder
		for range 10 {
			answers = append(answers, f.start("/"))
		}
		pass(time.Second)
		if len(entered) != 6 {
			t.Errorf("%d requests are in containers, want 2 in each of 3", len(entered))
		}
		f.wantInstances(3)
		close(leave)
		for _, a := range answers {
			f.wantAnswer(<-a, 200, "ok")
		}
	})
}

func TestScaleToZeroAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(text("ok"), nil))
		f.deploy()
		pass(10 * time.Minute)
		f.wantAnswer(f.get("/"), 200, "ok")
		pass(14 * time.Minute)
		f.wantInstances(1)
		pass(2 * time.Minute)
		f.wantInstances(0)
		if open, _ := f.runtime.counts(); open != 0 {
			t.Errorf("%d sandboxes are left", open)
		}
		f.wantAnswer(f.get("/"), 200, "ok")
		f.wantInstances(1)
	})
}

func TestMinimumIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		f := newFixture(t, web(text("ok"), exit), func(f *fixture) { f.rev.MinInstances = 2 })
		f.deploy()
		pass(time.Hour)
		f.wantInstances(2)
		exit <- memExit{runtime.Exit{Code: 1}}
		synctest.Wait()
		f.wantInstances(1)
		pass(restartDelay + time.Second)
		f.wantInstances(2)
		f.fleet.Scale(f.rev.Key(), 0, 0)
		pass(16 * time.Minute)
		f.wantInstances(0)
	})
}

func TestScaleDownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 10), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 2))
		f.deploy()
		a, b := f.start("/a"), f.start("/b")
		pass(time.Second)
		f.wantInstances(2)
		f.fleet.Scale(f.rev.Key(), 0, 1)
		f.wantInstances(1)
		if open, _ := f.runtime.counts(); open != 2 {
			t.Errorf("%d sandboxes, want both until their requests are served", open)
		}
		close(leave)
		f.wantAnswer(<-a, 200, "ok")
		f.wantAnswer(<-b, 200, "ok")
		synctest.Wait()
		if open, _ := f.runtime.counts(); open != 1 {
			t.Errorf("%d sandboxes, want 1", open)
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(gate(make(chan string, 1), nil), nil), template(func(t *runpb.RevisionTemplate) {
			t.Timeout = durationpb.New(90 * time.Second)
		}))
		f.deploy()
		begin := time.Now()
		f.wantAnswer(f.get("/"), 504, "upstream request timeout")
		if d := time.Since(begin); d != 90*time.Second {
			t.Errorf("the request took %s, want 90s", d)
		}
		f.wantLog("it has reached the maximum request timeout")
		f.wantInstances(1)
	})
}

func TestCrashDuringRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), exit))
		f.deploy()
		before := f.fleet.Instances(f.rev.Key())
		answer := f.start("/")
		<-entered
		exit <- memExit{runtime.Exit{Code: 3}}
		if w := <-answer; w.Code != 503 {
			t.Errorf("answer %d, want 503", w.Code)
		}
		f.wantInstances(0)
		f.wantLog("Container called exit(3).")
		close(leave)
		f.wantAnswer(f.get("/"), 200, "ok")
		if after := f.fleet.Instances(f.rev.Key()); len(after) != 1 || after[0] == before[0] {
			t.Errorf("instances %v, then %v: want a new one", before, after)
		}
	})
}

func TestNoStartOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := func(context.Context, runtime.Proc) error { return memExit{runtime.Exit{Code: 1}} }
		f := newFixture(t, crash, template(func(t *runpb.RevisionTemplate) { t.HealthCheckDisabled = true }))
		f.deploy()
		a, b := f.start("/a"), f.start("/b")
		f.wantAnswer(<-a, 503, "Service Unavailable")
		f.wantAnswer(<-b, 503, "Service Unavailable")
		f.wantLog("The request failed because the instance could not start successfully.")
		if _, made := f.runtime.counts(); made > 2 {
			t.Errorf("%d instances were made for 2 requests", made)
		}
	})
}

func TestLivenessProbeEndsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := make(chan bool, 1)
		healthy <- true
		f := newFixture(t, web(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if ok := <-healthy; !ok {
				w.WriteHeader(http.StatusInternalServerError)
			}
			healthy <- false
		}), nil), template(func(t *runpb.RevisionTemplate) {
			t.Containers[0].LivenessProbe = &runpb.Probe{
				PeriodSeconds: 5, FailureThreshold: 2,
				ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{Path: "/live"}},
			}
		}))
		f.deploy()
		pass(9 * time.Second)
		f.wantInstances(1)
		pass(2 * time.Second)
		f.wantInstances(0)
		f.wantLog(`LIVENESS HTTP probe failed 2 times consecutively for container "hello-1" on port 8080 path "/live". The instance has been shut down.`)
	})
}
