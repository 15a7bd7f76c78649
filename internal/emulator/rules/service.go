package rules

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	maxDescription = 512
	// maxTagAndID is what is left of a 63 character host label in
	// TAG---SERVICE-<10 character hash>-<2 character region>.
	maxTagAndID = 46
)

// service checks s, apart from its traffic. old is nil on creation.
func (c *checker) service(id string, s, old *runpb.Service) {
	if n := utf8.RuneCountInString(s.GetDescription()); n > maxDescription {
		c.malformed("description", "should have at most %d characters, has %d.", maxDescription, n)
	}
	c.labels("labels", s.GetLabels())
	c.annotations("annotations", s.GetAnnotations(), old.GetAnnotations())
	enum(c, "ingress", s.GetIngress(), runpb.IngressTraffic_name)
	c.binaryAuthorization(s.GetBinaryAuthorization())
	c.serviceScaling(s.GetScaling())
	c.multiRegion(s.GetMultiRegionSettings())
	if slices.Contains(s.GetCustomAudiences(), "") {
		c.malformed("custom_audiences", "should not contain an empty audience.")
	}
	if s.GetTemplate() == nil {
		c.malformed("template", "should be set.")
		return
	}
	c.template(id, s.GetTemplate())
	c.launchStage(id, s)
}

// enum refuses a number that the schema does not know; the wire carries any.
func enum[E ~int32](c *checker, at string, value E, names map[int32]string) {
	if _, known := names[int32(value)]; !known {
		c.malformed(at, "%d is not a known value.", int32(value))
	}
}

func (c *checker) binaryAuthorization(b *runpb.BinaryAuthorization) {
	if b.GetBreakglassJustification() != "" && !b.GetUseDefault() {
		c.malformed("binary_authorization.breakglass_justification", "should be empty unless use_default is true.")
	}
}

func (c *checker) serviceScaling(s *runpb.ServiceScaling) {
	enum(c, "scaling.scaling_mode", s.GetScalingMode(), runpb.ServiceScaling_ScalingMode_name)
	c.instances("scaling", s.GetMinInstanceCount(), s.GetMaxInstanceCount())
	if s.GetManualInstanceCount() < 0 {
		c.malformed("scaling.manual_instance_count", "should be greater than or equal to 0.")
	}
}

// instances checks the limits of a scaling message, of the service or of a
// revision. A maximum of 0 means the default.
func (c *checker) instances(at string, low, high int32) {
	if low < 0 {
		c.malformed(at+".min_instance_count", "should be greater than or equal to 0.")
	}
	if high < 0 {
		c.malformed(at+".max_instance_count", "should be greater than or equal to 0.")
	}
	if high > 0 && low > high {
		c.refused(at+".min_instance_count", "min_instance_count (%d) cannot be greater than max_instance_count (%d).", low, high)
	}
}

func (c *checker) multiRegion(m *runpb.Service_MultiRegionSettings) {
	const at = "multi_region_settings.regions"
	if m == nil {
		return
	}
	if len(m.GetRegions()) == 0 {
		c.malformed(at, "should contain at least one region.")
	}
	seen := map[string]bool{"": true}
	for _, region := range m.GetRegions() {
		if seen[region] {
			c.malformed(at, "region '%s' is empty or named twice.", region)
		}
		seen[region] = true
	}
}

// launchStage refuses preview features in a service that is declared generally
// available, which is also what an unset stage means.
func (c *checker) launchStage(id string, s *runpb.Service) {
	switch s.GetLaunchStage() {
	case api.LaunchStage_ALPHA, api.LaunchStage_BETA:
		return
	case api.LaunchStage_LAUNCH_STAGE_UNSPECIFIED, api.LaunchStage_GA:
	default:
		c.malformed("launch_stage", "should be one of ALPHA, BETA and GA.")
	}
	if s.GetTemplate().GetServiceMesh() != nil {
		c.refused("launch_stage", "The feature 'service mesh' is not supported in the declared launch stage on resource %s. "+
			"The launch stage annotation should be specified at least as BETA. Please visit "+
			"https://cloud.google.com/run/docs/troubleshooting#launch-stage-validation for in-depth troubleshooting documentation.", id)
	}
}

// traffic checks the split; none at all means everything to the latest revision.
func (c *checker) traffic(id string, s *runpb.Service, exists func(revision string) bool) {
	if len(s.GetTraffic()) == 0 {
		return
	}
	sum, tags := 0, map[string]bool{}
	for i, t := range s.GetTraffic() {
		at := index("traffic", i)
		c.target(at, t, exists)
		sum += int(t.GetPercent())
		if tag := t.GetTag(); tag != "" {
			c.tag(at+".tag", id, tag, tags[tag])
			tags[tag] = true
		}
	}
	if sum != 100 {
		c.malformed("traffic", "traffic percentages should sum to 100, sum is %d.", sum)
	}
}

func (c *checker) target(at string, t *runpb.TrafficTarget, exists func(revision string) bool) {
	enum(c, at+".type", t.GetType(), runpb.TrafficTargetAllocationType_name)
	if t.GetPercent() < 0 || t.GetPercent() > 100 {
		c.malformed(at+".percent", "should be between 0 and 100.")
	}
	revision := t.GetRevision()
	switch t.GetType() {
	case runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST:
		if revision != "" {
			c.malformed(at+".revision", "should be empty for TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST.")
		}
	case runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION:
		if revision == "" {
			c.malformed(at+".revision", "should be set for TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION.")
		}
	}
	if revision != "" && !exists(revision) {
		c.refused(at+".revision", "Revision named '%s' does not exist.", revision)
	}
}

func (c *checker) tag(at, id, tag string, taken bool) {
	if !hostLabel.MatchString(tag) {
		c.malformed(at, "only lowercase, digits, and hyphens; must begin with letter, and may not end with hyphen.")
	}
	if len(tag)+len(id) > maxTagAndID {
		c.refused(at, "The tag and the service name have %d characters together; the limit is %d.", len(tag)+len(id), maxTagAndID)
	}
	if taken {
		c.refused(at, "Tag '%s' is used by more than one traffic target.", tag)
	}
}
