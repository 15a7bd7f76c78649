package emulator

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// requirement is one part of a label selector.
type requirement func(labels map[string]string) bool

var (
	setRequirement   = regexp.MustCompile(`^(\S+)\s+(in|notin)\s*\(([^()]*)\)$`)
	equalRequirement = regexp.MustCompile(`^([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)$`)
	existence        = regexp.MustCompile(`^(!?)\s*([^=!\s(),]+)$`)
)

// parseLabelSelector reads a Kubernetes label selector
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api): `a=b,c!=d,e,!f,g in (h,i)`.
func parseLabelSelector(selector string) (requirement, error) {
	var all []requirement
	for _, part := range splitSelector(selector) {
		r := parseRequirement(part)
		if r == nil {
			return nil, status.Errorf(codes.InvalidArgument, "Unable to parse labelSelector %q.", selector)
		}
		all = append(all, r)
	}
	return func(labels map[string]string) bool {
		return !slices.ContainsFunc(all, func(r requirement) bool { return !r(labels) })
	}, nil
}

func parseRequirement(part string) requirement {
	if m := setRequirement.FindStringSubmatch(part); m != nil {
		values := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		return func(labels map[string]string) bool {
			value, ok := labels[m[1]]
			return (ok && slices.Contains(values, value)) == (m[2] == "in")
		}
	}
	if m := equalRequirement.FindStringSubmatch(part); m != nil {
		return func(labels map[string]string) bool {
			value, ok := labels[m[1]]
			return (ok && value == m[3]) == (m[2] != "!=")
		}
	}
	if m := existence.FindStringSubmatch(part); m != nil {
		return func(labels map[string]string) bool {
			_, ok := labels[m[2]]
			return ok == (m[1] == "")
		}
	}
	return nil
}

// splitSelector splits at the commas outside of parentheses.
func splitSelector(selector string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range selector + "," {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			if part := strings.TrimSpace(selector[start:i]); part != "" || selector != "" {
				parts = append(parts, part)
			}
			start = i + 1
		}
	}
	if start <= len(selector) { // a parenthesis is open: let the parser refuse the rest
		parts = append(parts, selector[start:])
	}
	return parts
}
