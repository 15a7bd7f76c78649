package cli

import (
	"fmt"
	"strings"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// maxHost is the longest name of a host that ssh could look up (RFC 1035).
const maxHost = 253

// hostAlias is what the name of a host means to `cloudssh proxy`: a service,
// and where it is when that is not what gcloud's settings say.
type hostAlias struct {
	service, region, project string
}

// parseHost takes SERVICE[.REGION[.PROJECT]] apart, after a prefix if it is
// there. A project may have dots and a colon in it (example.com:shop), services
// and regions have none. As ssh takes names of hosts, capitals do not matter.
func parseHost(host, prefix string) (hostAlias, error) {
	name := strings.ToLower(host)
	if len(name) > maxHost {
		return hostAlias{}, fmt.Errorf("the name of the host has %d characters, and %d are possible", len(name), maxHost)
	}
	if !isHostName(name) {
		return hostAlias{}, fmt.Errorf("the host %q is no SERVICE, SERVICE.REGION or SERVICE.REGION.PROJECT", host)
	}
	name = strings.TrimPrefix(name, strings.ToLower(prefix))
	var (
		h             hostAlias
		region, whole bool
	)
	h.service, h.region, region = strings.Cut(name, ".")
	h.region, h.project, whole = strings.Cut(h.region, ".")
	if _, err := provision.ParseTarget(h.service); err != nil {
		return hostAlias{}, fmt.Errorf("reading the host %q: %w", host, err)
	}
	if region && (h.region == "" || strings.ContainsAny(h.region, ":_") || !isWord(h.region)) {
		return hostAlias{}, fmt.Errorf("reading the host %q: the region %q is not valid", host, h.region)
	}
	if whole && (h.project == "" || strings.ContainsAny(h.project, "_") || !isWord(h.project)) {
		return hostAlias{}, fmt.Errorf("reading the host %q: the project %q is not valid", host, h.project)
	}
	return h, nil
}

// isHostName reports whether a name may stand in a file of known hosts, on a
// command line and in a message: no patterns, no options, nothing of a shell's.
func isHostName(name string) bool {
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:", r)
	}
	return name != "" && len(name) <= maxHost && name[0] != '-' && !strings.ContainsFunc(name, other)
}

// isWord reports whether a part of a name begins with a letter and ends with a
// letter or a digit.
func isWord(s string) bool {
	last := s[len(s)-1]
	return s[0] >= 'a' && s[0] <= 'z' && (last >= 'a' && last <= 'z' || last >= '0' && last <= '9')
}
