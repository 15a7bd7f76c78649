package provision

import "time"

// Shape is what a twin takes of the platform: the sum of its containers' limits, which is what is billed.
type Shape struct {
	CPU          float64 // vCPU
	Memory       float64 // GiB
	MinInstances int     // instances kept when nobody is connected
}

// List prices in USD per second of a service whose instances are billed for as long as they live ("instance-based", as
// those of twins are), https://cloud.google.com/run/pricing. The free tier and discounts are not in them, nor is egress.
const (
	tier1CPU    = 0.000018 // per vCPU
	tier1Memory = 0.000002 // per GiB
	// tier2Factor is the ratio of the two tiers' prices in the lists known here, for CPU and memory alike.
	tier2Factor = 1.4
)

// Tier is the price tier of a region, 1 or 2, by the list at https://cloud.google.com/run/docs/locations. known is false
// for a region that was not in it; the tier then is 1, so that an estimate is a lower bound.
func Tier(region string) (tier int, known bool) {
	switch region {
	case "asia-east1", "asia-northeast1", "asia-northeast2", "asia-south1", "asia-southeast3",
		"europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west4", "europe-west8", "europe-west9",
		"me-west1", "northamerica-south1",
		"us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west8":
		return 1, true
	case "africa-south1", "asia-east2", "asia-northeast3", "asia-south2", "asia-southeast1", "asia-southeast2",
		"australia-southeast1", "australia-southeast2",
		"europe-central2", "europe-west10", "europe-west12", "europe-west2", "europe-west3", "europe-west6",
		"me-central1", "me-central2", "northamerica-northeast1", "northamerica-northeast2",
		"southamerica-east1", "southamerica-west1", "us-west2", "us-west3", "us-west4":
		return 2, true
	}
	return 1, false
}

// Rate is the list price of an hour of one instance, in USD: an estimate, which callers mark as one. It is 0 when the
// shape is not known.
func Rate(region string, s Shape) float64 {
	perSecond := s.CPU*tier1CPU + s.Memory*tier1Memory
	if tier, _ := Tier(region); tier == 2 {
		perSecond *= tier2Factor
	}
	return perSecond * time.Hour.Seconds()
}

// Cost is the list price of one instance that lives for d, in USD; an estimate, like Rate.
func Cost(region string, s Shape, d time.Duration) float64 {
	return Rate(region, s) * max(d, 0).Hours()
}
