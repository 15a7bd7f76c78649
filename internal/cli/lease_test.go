package cli

import (
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func TestLeaseIsDueAtItsHalf(t *testing.T) {
	made := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	twin := provision.Twin{Created: made, Lease: provision.Lease{Expires: made.Add(2 * time.Hour)}}
	for ttl, due := range map[time.Duration]time.Time{
		2 * time.Hour: made.Add(time.Hour),
		time.Hour:     made.Add(90 * time.Minute), // somebody else's was longer
		0:             made.Add(time.Hour),        // as long as it was made for
	} {
		if got := newLease(twin, ttl).due(); !got.Equal(due) {
			t.Errorf("ttl %s: due at %s, want %s", ttl, got, due)
		}
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"less than $0.01":                   dollars(0.004),
		"about $0.07":                       dollars(0.0685),
		"about $12.30":                      dollars(12.3),
		"8h":                                long(8 * time.Hour),
		"1h30m":                             long(90 * time.Minute),
		"10s":                               long(10 * time.Second),
		"20m":                               long(20 * time.Minute),
		"an estimate at list price, tier 1": priceNote("us-central1"),
		"an estimate at list price; the price tier of mars-1 is not known": priceNote("mars-1"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	made := time.Now().Add(-10 * time.Hour)
	expired := provision.Twin{Created: made, Lease: provision.Lease{Expires: made.Add(time.Hour)}}
	if d := lived(expired, time.Now()); d != time.Hour {
		t.Errorf("a twin whose lease has ended lived %s", d)
	}
}

func TestClaimSweep(t *testing.T) {
	stamp := t.TempDir() + "/swept"
	now := time.Now()
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {time.Minute, false}, {59 * time.Minute, false}, {61 * time.Minute, true}, {62 * time.Minute, false}, {-time.Hour, true}} {
		if got := claimSweep(stamp, now.Add(step.at)); got != step.want {
			t.Errorf("after %s: %v", step.at, got)
		}
	}
	if claimSweep(t.TempDir()+"/none/swept", now) {
		t.Error("sweeping without a place for the stamp would happen on every run")
	}
}
