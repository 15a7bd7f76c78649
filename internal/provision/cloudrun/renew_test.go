package cloudrun

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func (c *cloud) get(name string) *runpb.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.services[parent+name]
}

// change replaces a service by one that is changed.
func (c *cloud) change(name string, f func(*runpb.Service)) {
	svc := proto.CloneOf(c.get(name))
	f(svc)
	c.put(svc)
}

func TestRenew(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	before := c.get("app-ssh")
	later := twin.Expires.Add(8 * time.Hour)
	if err := b.Renew(t.Context(), *twin, later); err != nil {
		t.Fatal(err)
	}
	after := c.get("app-ssh")
	there, _ := b.twinOf(after)
	if !there.Expires.Equal(later) {
		t.Errorf("the lease ends at %s, want %s", there.Expires, later)
	}
	want := maps.Clone(before.GetLabels())
	want["cloudssh-expires"] = after.GetLabels()["cloudssh-expires"]
	if !maps.Equal(after.GetLabels(), want) {
		t.Errorf("labels %v, want %v", after.GetLabels(), want)
	}
	if !proto.Equal(before.GetTemplate(), after.GetTemplate()) || c.count("UpdateService app-ssh labels") != 1 || c.count("UpdateService") != 1 {
		t.Errorf("more than the labels was written: %q", c.calls)
	}
	for _, earlier := range []time.Time{later, later.Add(-time.Hour), {}} {
		if err := b.Renew(t.Context(), *twin, earlier); err != nil || c.count("UpdateService") != 1 {
			t.Errorf("renewed to %s: %v", earlier, err)
		}
	}
	if err := b.Delete(t.Context(), *twin); err != nil { // its etag is another now
		t.Error(err)
	}
}

func TestRenewTriesAgain(t *testing.T) {
	for name, code := range map[string]codes.Code{"etag": codes.Aborted, "network": codes.Unavailable} {
		t.Run(name, func(t *testing.T) {
			c, b := start(t)
			twin := create(t, c, b)
			c.fault = func(call string) error {
				if call == "UpdateService app-ssh labels" && c.count("UpdateService") < 3 {
					return status.Error(code, "not now")
				}
				return nil
			}
			later := twin.Expires.Add(time.Hour)
			if err := b.Renew(t.Context(), *twin, later); err != nil {
				t.Fatal(err)
			}
			if there, _ := b.twinOf(c.get("app-ssh")); !there.Expires.Equal(later) {
				t.Errorf("the lease ends at %s", there.Expires)
			}
		})
	}
}

func TestRenewRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *cloud, twin *provision.Twin)
		gone   bool
		text   string
	}{
		"deleted": {func(c *cloud, _ *provision.Twin) { delete(c.services, parent+"app-ssh") }, true, ""},
		"leaving": {func(c *cloud, _ *provision.Twin) {
			c.change("app-ssh", func(s *runpb.Service) { s.DeleteTime = timestamppb.Now() })
		}, true, ""},
		"another":    {func(_ *cloud, twin *provision.Twin) { twin.Maker = "somebody" }, true, ""},
		"no twin":    {func(c *cloud, _ *provision.Twin) { c.change("app-ssh", func(s *runpb.Service) { s.Labels = nil }) }, false, "is no twin"},
		"permission": {func(c *cloud, _ *provision.Twin) { c.fault = denyUpdate }, false, "run.services.update"},
		"for ever":   {func(c *cloud, _ *provision.Twin) { c.fault = abortUpdate }, false, "not now"},
	} {
		t.Run(name, func(t *testing.T) {
			c, b := start(t)
			twin := create(t, c, b)
			tc.change(c, twin)
			err := b.Renew(t.Context(), *twin, twin.Expires.Add(time.Hour))
			if errors.Is(err, provision.ErrTwinGone) != tc.gone {
				t.Errorf("error %v", err)
			}
			wantText(t, err, "renewing the lease of app-ssh", tc.text)
		})
	}
	c, b := start(t)
	twin := create(t, c, b)
	b.pollFirst, b.pollMost = time.Hour, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	c.fault = func(call string) error {
		if call == "UpdateService app-ssh labels" {
			go cancel() // during the call, or in the hour after it
		}
		return abortUpdate(call)
	}
	if err := b.Renew(ctx, *twin, twin.Expires.Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

func denyUpdate(call string) error {
	if call == "UpdateService app-ssh labels" {
		return status.Error(codes.PermissionDenied, "Permission 'run.services.update' denied on resource 'x' (or resource may not exist).")
	}
	return nil
}

func abortUpdate(call string) error {
	if call == "UpdateService app-ssh labels" {
		return status.Error(codes.Aborted, "not now")
	}
	return nil
}

func TestMinInstances(t *testing.T) {
	c, b := start(t)
	req := request()
	req.MinInstances = 1
	kept, err := b.Create(t.Context(), req, c.progress)
	if err != nil {
		t.Fatal(err)
	}
	if kept.Shape.MinInstances != 1 {
		t.Errorf("shape %v", kept.Shape)
	}
	// Who asks for none can join one that is kept, but not the other way round.
	if joined, err := b.Create(t.Context(), request(), c.progress); err != nil || !joined.Joined || joined.Name != kept.Name {
		t.Errorf("joined %+v, %v", joined, err)
	}
	if err := b.Delete(t.Context(), *kept); err != nil {
		t.Fatal(err)
	}
	create(t, c, b)
	if other, err := b.Create(t.Context(), req, c.progress); err != nil || other.Joined || other.Name == kept.Name {
		t.Errorf("made %+v, %v", other, err)
	}
	req.MinInstances = 2
	_, err = b.Create(t.Context(), req, c.progress)
	wantText(t, err, "0 or 1 instances")
}
