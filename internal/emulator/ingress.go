package emulator

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// ingress is the front end of the services' URLs: it finds the service by the Host header, decides who may pass, and
// hands the request to the revision that traffic goes to.
type ingress struct {
	store  *store
	fleet  *serving.Fleet
	issuer *identity.Issuer
	faults Faults
	logger *slog.Logger
}

// The headers that may carry a caller's ID token: with the first present the second is the service's own.
const (
	serverlessAuthorization = "X-Serverless-Authorization"
	authorization           = "Authorization"
)

// signatureRemoved stands where the signature of a caller's token was, so that a service cannot use it elsewhere.
const signatureRemoved = "SIGNATURE_REMOVED_BY_GOOGLE"

func (in *ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if in.faults.DropAfter != nil {
		limitConn(r.Context(), in.faults.DropAfter(r))
	}
	if in.faults.FrontEnd != nil && in.faults.FrontEnd(w, r) {
		return
	}
	n, tag, known := in.store.byHost(hostname(r.Host))
	if !known || reservedPath(r.URL.Path) {
		notFoundPage(w, r)
		return
	}
	target, ok := in.store.target(n, tag)
	if !ok {
		errorPage(w, http.StatusNotFound, "Page not found", "The requested URL was not found on this server.")
		return
	}
	if !in.admit(r, target) {
		in.logger.InfoContext(r.Context(), "ingress refused a request", "service", n.service, "path", r.URL.Path)
		errorPage(w, http.StatusForbidden, "Forbidden",
			"Your client does not have permission to get URL <code>%s</code> from this server.", r.URL.Path)
		return
	}
	if target.revision == nil {
		errorPage(w, http.StatusServiceUnavailable, "Server Error", "Service Unavailable")
		return
	}
	in.fleet.Handler(key(*target.revision)).ServeHTTP(w, r)
}

// target is what the ingress needs to know about the service of one request.
type target struct {
	name     serviceName
	pb       *runpb.Service
	revision *revisionName // nil: none is ready
}

// target finds the revision for a request. Not ok means that the service has no URL for the outside, or not this one.
func (st *store) target(n serviceName, tag string) (target, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.services[n]
	if s == nil || s.deleting || s.pb.GetDefaultUriDisabled() {
		return target{}, false
	}
	switch s.pb.GetIngress() {
	case runpb.IngressTraffic_INGRESS_TRAFFIC_UNSPECIFIED, runpb.IngressTraffic_INGRESS_TRAFFIC_ALL:
	default: // every request here comes from outside
		return target{}, false
	}
	if tag != "" && !slices.ContainsFunc(s.pb.GetTraffic(), func(t *runpb.TrafficTarget) bool { return t.GetTag() == tag }) {
		return target{}, false
	}
	found := target{name: n, pb: s.pb}
	if r := s.pick(tag, rand.Int32N(100)); r != nil && r.state == runpb.Condition_CONDITION_SUCCEEDED { //nolint:gosec // no secret
		found.revision = &r.name
	}
	return found, true
}

// admit tells whether a request may pass, and takes the signature off the token that was checked.
func (in *ingress) admit(r *http.Request, t target) bool {
	header := authorization
	if r.Header.Get(serverlessAuthorization) != "" {
		header = serverlessAuthorization
	}
	email := in.caller(r.Header.Get(header), t)
	if email != "" || header == serverlessAuthorization {
		r.Header.Set(header, withoutSignature(r.Header.Get(header)))
	}
	if t.pb.GetInvokerIamDisabled() {
		return true
	}
	const permission = "run.routes.invoke"
	if in.faults.DenyIAM != nil && in.faults.DenyIAM(email, permission, t.name.namespaced()) {
		return false
	}
	return identity.Allowed(email, permission, in.store.policies(t.name)...)
}

// caller is who a valid ID token for this service was issued to; empty for nobody.
func (in *ingress) caller(header string, t target) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	claims, err := in.issuer.VerifyID(strings.TrimSpace(token))
	if err != nil {
		return ""
	}
	audiences := slices.Concat(t.pb.GetUrls(), t.pb.GetCustomAudiences())
	for _, s := range t.pb.GetTrafficStatuses() {
		if s.GetUri() != "" {
			audiences = append(audiences, s.GetUri())
		}
	}
	if !identity.UserAudience(claims.Audience) && !slices.Contains(audiences, strings.TrimSuffix(claims.Audience, "/")) {
		return ""
	}
	return claims.Email
}

// withoutSignature replaces the signature of a JWT in a header.
func withoutSignature(header string) string {
	if strings.Count(header, ".") != 2 {
		return header
	}
	return header[:strings.LastIndexByte(header, '.')+1] + signatureRemoved
}

// reservedPath tells whether Google's front end keeps a path for itself
// (https://cloud.google.com/run/docs/known-issues#reserved-url-paths).
func reservedPath(path string) bool {
	if path == "/eventlog" || path == "/_ah" || strings.HasPrefix(path, "/_ah/") {
		return true
	}
	last := path[strings.LastIndexByte(path, '/')+1:]
	// "some paths ending with z" is all that is documented; /healthz is known, its kin are those of Google's servers.
	return slices.Contains([]string{
		"healthz", "livez", "readyz", "statusz", "varz", "streamz", "rpcz", "configz", "flagz", "tracez", "threadz", "requestz",
	}, last) && strings.Count(path, "/") == 1
}
