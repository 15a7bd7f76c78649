package rules

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	maxServiceID       = 49
	maxRevisionName    = 63
	maxLabels          = 64
	maxAnnotationBytes = 256 << 10 // of all keys and values together, as in Kubernetes
)

var (
	hostLabel   = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)           // starts with a letter
	subdomain   = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)       // RFC 1123
	labelKey    = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]*$`) // international letters are allowed
	labelValue  = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)
	annotation  = regexp.MustCompile(`^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$`)
	emailSyntax = regexp.MustCompile(`^[^@\s/]+@[^@\s/]+\.[^@\s/]+$`)
)

// serviceIDOf is the last part of projects/P/locations/L/services/ID; empty for no name.
func serviceIDOf(s *runpb.Service) string {
	if s.GetName() == "" {
		return ""
	}
	return path.Base(s.GetName())
}

func (c *checker) serviceID(id string) {
	if len(id) <= maxServiceID && hostLabel.MatchString(id) {
		return
	}
	c.shape = append(c.shape, violation("Violation in "+c.request+".service_id",
		"only lowercase, digits, and hyphens; must begin with letter, and may not end with hyphen; must be less than 50 characters.", nil))
}

func (c *checker) revisionName(serviceID, name string) {
	const at = "template.revision"
	if name == "" {
		return
	}
	if !strings.HasPrefix(name, serviceID+"-") {
		c.refused(at, "The revision name must be prefixed by the name of the enclosing Service with a trailing -")
	}
	if len(name) > maxRevisionName || !hostLabel.MatchString(name) {
		c.refused(at, "only lowercase, digits, and hyphens; must begin with letter, and may not end with hyphen; must be less than 64 characters.")
	}
}

// clientNamespace is the one namespace of labels that is neither the platform's nor refused: gcloud marks each template
// that it writes with client.knative.dev/nonce.
const clientNamespace = "client.knative.dev/"

// labels checks at, which is labels or template.labels.
func (c *checker) labels(at string, labels map[string]string) {
	if len(labels) > maxLabels {
		c.malformed(at, "should have at most %d labels, has %d.", maxLabels, len(labels))
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value := labels[key]
		switch {
		case reservedNamespace(key) != "":
			c.malformed(at, "label '%s' is in the reserved namespace '%s'; system labels are not supported.", key, reservedNamespace(key))
		case strings.HasPrefix(key, clientNamespace): // gcloud's nonces, which v2 shows and takes back
		case utf8.RuneCountInString(key) > 63 || !labelKey.MatchString(key):
			c.malformed(at, "label key '%s' should begin with a lowercase letter, contain only lowercase letters, digits, '_' and '-', and have at most 63 characters.", key)
		case utf8.RuneCountInString(value) > 63 || !labelValue.MatchString(value):
			c.malformed(at, "value '%s' of label '%s' should contain only lowercase letters, digits, '_' and '-', and have at most 63 characters.", value, key)
		}
	}
}

// annotations checks at, which is annotations or template.annotations. Those in
// kept are not new: the platform refuses reserved ones "in new resources" only.
func (c *checker) annotations(at string, annotations, kept map[string]string) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		size += len(key) + len(annotations[key])
		if _, old := kept[key]; old {
			continue
		}
		if ns := reservedNamespace(key); ns != "" {
			c.malformed(at, "annotation '%s' is in the reserved namespace '%s'; system annotations are not supported.", key, ns)
		} else if !annotationKey(key) {
			c.malformed(at, "annotation key '%s' should be a name of at most 63 letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'.", key)
		}
	}
	if size > maxAnnotationBytes {
		c.malformed(at, "should have at most %d bytes in all, has %d.", maxAnnotationBytes, size)
	}
}

func annotationKey(key string) bool {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		prefix, name = "", key
	}
	if found && (len(prefix) > 253 || !subdomain.MatchString(prefix)) {
		return false
	}
	return len(name) <= 63 && annotation.MatchString(name)
}

// reservedNamespace is the reserved namespace that key belongs to, or "".
func reservedNamespace(key string) string {
	prefix, _, found := strings.Cut(key, "/")
	if !found {
		return ""
	}
	for _, ns := range []string{"run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev"} {
		if prefix == ns || strings.HasSuffix(prefix, "."+ns) {
			return ns
		}
	}
	return ""
}
