package provision_test

import (
	"math"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestCost(t *testing.T) {
	small := provision.Shape{CPU: 1, Memory: 0.5}
	for region, want := range map[string]float64{
		"us-central1":  0.0684,
		"europe-west3": 0.0684 * 1.4,
		"moon-dark1":   0.0684, // unknown: the lower bound
	} {
		if got := provision.Rate(region, small); !near(got, want) {
			t.Errorf("%s: %v an hour, want %v", region, got, want)
		}
	}
	if got := provision.Cost("us-central1", provision.Shape{CPU: 2, Memory: 2}, 90*time.Minute); !near(got, 0.216) {
		t.Errorf("cost %v", got)
	}
	if got := provision.Cost("us-central1", small, -time.Hour); got != 0 {
		t.Errorf("a clock that went back costs %v", got)
	}
	if got := provision.Rate("us-central1", provision.Shape{}); got != 0 {
		t.Errorf("an unknown shape costs %v", got)
	}
}

func TestTier(t *testing.T) {
	for region, want := range map[string]int{"us-central1": 1, "asia-south1": 1, "us-west8": 1, "us-west2": 2, "me-central2": 2} {
		if tier, known := provision.Tier(region); tier != want || !known {
			t.Errorf("%s: tier %d, %v", region, tier, known)
		}
	}
	if _, known := provision.Tier("us-west99"); known {
		t.Error("a region that does not exist is known")
	}
}
