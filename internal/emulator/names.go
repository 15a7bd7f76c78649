package emulator

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// location is where resources live.
type location struct{ project, region string }

func (l location) String() string { return "projects/" + l.project + "/locations/" + l.region }

func (l location) place() location { return l }

// scope is something that policies decide about: a location, or what is in one.
type scope interface{ place() location }

// serviceName and revisionName identify resources; they are the store's keys. A worker pool is a service of another
// kind: both have revisions, and differ in how they show themselves and in what sends their instances work.
type serviceName struct {
	location
	service string
	kind    serving.Kind
}

func (n serviceName) collection() string {
	if n.kind == serving.WorkerPool {
		return "workerPools"
	}
	return "services"
}

func (n serviceName) String() string {
	return n.location.String() + "/" + n.collection() + "/" + n.service
}

// namespaced is the form that the platform's IAM errors use.
func (n serviceName) namespaced() string {
	return "namespaces/" + n.project + "/" + strings.ToLower(n.collection()) + "/" + n.service
}

// permission is the one that a verb needs: run.services.create, run.workerpools.create.
func (n serviceName) permission(verb string) string {
	return "run." + strings.ToLower(n.collection()) + "." + verb
}

type revisionName struct {
	serviceName
	revision string
}

func (n revisionName) String() string { return n.serviceName.String() + "/revisions/" + n.revision }

// fields splits a resource name along a pattern such as "projects/*/locations/*" and returns what the stars match.
func fields(name, pattern string) ([]string, bool) {
	got, want := strings.Split(name, "/"), strings.Split(pattern, "/")
	if len(got) != len(want) {
		return nil, false
	}
	var stars []string
	for i, w := range want {
		switch {
		case w == "*" && got[i] != "":
			stars = append(stars, got[i])
		case w != got[i]:
			return nil, false
		}
	}
	return stars, true
}

func malformed(field, name, pattern string) error {
	return status.Errorf(codes.InvalidArgument, "Invalid value %q for field %q: expected the format %q.", name, field, pattern)
}

func parseLocation(field, name string) (location, error) {
	const pattern = "projects/*/locations/*"
	f, ok := fields(name, pattern)
	if !ok {
		return location{}, malformed(field, name, pattern)
	}
	return location{f[0], f[1]}, nil
}

func parseService(field, name string) (serviceName, error) {
	const pattern = "projects/*/locations/*/services/*"
	f, ok := fields(name, pattern)
	if !ok {
		return serviceName{}, malformed(field, name, pattern)
	}
	return serviceName{location: location{f[0], f[1]}, service: f[2]}, nil
}

func parsePool(field, name string) (serviceName, error) {
	const pattern = "projects/*/locations/*/workerPools/*"
	f, ok := fields(name, pattern)
	if !ok {
		return serviceName{}, malformed(field, name, pattern)
	}
	return serviceName{location{f[0], f[1]}, f[2], serving.WorkerPool}, nil
}

// parseRevision takes a revision of a service or of a worker pool.
func parseRevision(field, name string) (revisionName, error) {
	const pattern = "projects/*/locations/*/services/*/revisions/*"
	parent, revision, _ := strings.Cut(name, "/revisions/")
	if revision == "" || strings.Contains(revision, "/") {
		return revisionName{}, malformed(field, name, pattern)
	}
	n, err := parseService(field, parent)
	if err != nil {
		n, err = parsePool(field, parent)
	}
	if err != nil {
		return revisionName{}, malformed(field, name, pattern)
	}
	return revisionName{n, revision}, nil
}

// projectNumber is the stable twelve-digit number of a project id.
func projectNumber(project string) string {
	sum := sha256.Sum256([]byte(project))
	const least, span = 100_000_000_000, 900_000_000_000
	return strconv.FormatUint(least+binary.BigEndian.Uint64(sum[:])%span, 10)
}

// ingressDomain is the top-level domain of the services' URLs: RFC 6761 §6.3 has it always mean the loopback
// interface, and browsers and curl resolve it so.
const ingressDomain = ".localhost"

// ingressHost is the host of a service's URL without the port; with a tag, the host of that traffic target.
func ingressHost(n serviceName, tag string) string {
	host := fmt.Sprintf("%s-%s.%s%s", n.service, projectNumber(n.project), n.region, ingressDomain)
	if tag != "" {
		host = tag + "---" + host
	}
	return host
}

// hostname is the Host header's name without port, in lower case.
func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
