package cloudrun

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	maxConcurrency = 1000
	maxLabel       = 63 // characters, of a key and of a value
	previewHint    = "a preview feature needs the launch stage BETA"
)

var (
	idSyntax        = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	labelKey        = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]*$`)
	labelValue      = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)
	connectorSyntax = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/connectors/[^/]+$`)
	keySyntax       = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)
)

// Check refuses what Cloud Run is documented to refuse in a service that is to be created with this id: all of it,
// FieldErrors joined. What is not documented to be refused passes.
func Check(id string, s *runpb.Service) error {
	var r refusals
	r.when(len(id) > provision.MaxName || !idSyntax.MatchString(id), "service_id",
		"%q is not 1 to %d lowercase letters, digits and hyphens that begin with a letter", id, provision.MaxName)
	r.service(id, s)
	return errors.Join(r...)
}

// acceptable refuses what Cloud Run would refuse in a twin, as far as it does not come from the service: what the platform
// has taken once it takes again, documented or not.
func (d *deriver) acceptable(twin *runpb.Service) error {
	var was, is refusals
	was.template(d.original())
	was.containers(d.original())
	was.volumes(d.original())
	was.resources(d.original())
	is.service(d.spec.Name, twin)
	known := map[string]bool{}
	for _, err := range was {
		known[withoutIndex(err)] = true
	}
	return errors.Join(slices.DeleteFunc(is, func(err error) bool { return known[withoutIndex(err)] })...)
}

// original is the template that the revision was made from, as far as Check looks at it.
func (d *deriver) original() *runpb.RevisionTemplate {
	return &runpb.RevisionTemplate{
		Containers: d.rev.GetContainers(), Volumes: d.rev.GetVolumes(), VpcAccess: d.rev.GetVpcAccess(), Timeout: d.rev.GetTimeout(),
		ServiceAccount: d.rev.GetServiceAccount(), ExecutionEnvironment: d.rev.GetExecutionEnvironment(), EncryptionKey: d.rev.GetEncryptionKey(),
		EncryptionKeyShutdownDuration: d.rev.GetEncryptionKeyShutdownDuration(), NodeSelector: d.rev.GetNodeSelector(),
	}
}

var indices = regexp.MustCompile(`\[[0-9]+\]`)

func withoutIndex(err error) string { return indices.ReplaceAllString(err.Error(), "") }

// refusals gathers errors.
type refusals []error

func (r *refusals) add(field, format string, args ...any) {
	*r = append(*r, fieldError(field, "", format, args...))
}

func (r *refusals) when(bad bool, field, format string, args ...any) {
	if bad {
		r.add(field, format, args...)
	}
}

func (r *refusals) service(id string, s *runpb.Service) {
	t := s.GetTemplate()
	r.when(utf8.RuneCountInString(s.GetDescription()) > maxDescription, "description", "it has more than %d characters", maxDescription)
	r.labels("labels", s.GetLabels())
	r.annotations("annotations", s.GetAnnotations())
	b := s.GetBinaryAuthorization()
	r.when(b.GetBreakglassJustification() != "" && !b.GetUseDefault(), "binary_authorization.breakglass_justification", "it goes with the default policy only")
	preview := s.GetLaunchStage() == api.LaunchStage_ALPHA || s.GetLaunchStage() == api.LaunchStage_BETA
	r.when(t.GetServiceMesh() != nil && !preview, "launch_stage", previewHint)
	r.traffic(s)
	r.instances("scaling", s.GetScaling().GetMinInstanceCount(), s.GetScaling().GetMaxInstanceCount())
	r.when(t.GetRevision() != "" && !strings.HasPrefix(t.GetRevision(), id+"-"), "template.revision", "it does not begin with %s-", id)
	r.labels("template.labels", t.GetLabels())
	r.annotations("template.annotations", t.GetAnnotations())
	r.template(t)
	r.containers(t)
	r.volumes(t)
	r.resources(t)
}

func (r *refusals) labels(field string, labels map[string]string) {
	r.when(len(labels) > maxLabels, field, "there are %d, %d are possible", len(labels), maxLabels)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		r.reserved(field, k)
		long := utf8.RuneCountInString(k) > maxLabel || utf8.RuneCountInString(labels[k]) > maxLabel
		r.when(long || !strings.Contains(k, "/") && !labelKey.MatchString(k) || !labelValue.MatchString(labels[k]), field,
			"%s=%s is not lowercase letters, digits, '_' and '-', %d of each at most", k, labels[k], maxLabel)
	}
}

func (r *refusals) annotations(field string, annotations map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		r.reserved(field, k)
	}
}

// reserved are namespaces of the platform.
func (r *refusals) reserved(field, key string) {
	prefix, _, _ := strings.Cut(key, "/")
	for _, ns := range []string{"run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev"} {
		r.when(prefix == ns || strings.HasSuffix(prefix, "."+ns), field, "%s is the platform's", key)
	}
}

// traffic can go to the newest revision of a new service only.
func (r *refusals) traffic(s *runpb.Service) {
	sum := int32(0)
	for i, t := range s.GetTraffic() {
		sum += t.GetPercent()
		r.when(t.GetRevision() != "" && t.GetRevision() != s.GetTemplate().GetRevision(), fmt.Sprintf("traffic[%d].revision", i),
			"there is no revision %s", t.GetRevision())
	}
	r.when(len(s.GetTraffic()) > 0 && sum != 100, "traffic", "the percentages make %d", sum)
}

func (r *refusals) instances(field string, least, most int32) {
	r.when(most > 0 && least > most, field+".min_instance_count", "%d is more than the maximum, %d", least, most)
}

func (r *refusals) template(t *runpb.RevisionTemplate) {
	const at = "template."
	r.instances(at+"scaling", t.GetScaling().GetMinInstanceCount(), t.GetScaling().GetMaxInstanceCount())
	d := t.GetTimeout()
	r.when(d != nil && (d.AsDuration() < minTimeout || d.AsDuration() > connectionLife), at+"timeout", "%s is not from 1s to 3600s", d.AsDuration())
	r.when(t.GetMaxInstanceRequestConcurrency() > maxConcurrency, at+"max_instance_request_concurrency", "%d are possible", maxConcurrency)
	a, key := t.GetServiceAccount(), t.GetEncryptionKey()
	r.when(a != "" && !emailSyntax.MatchString(a), at+"service_account", "%q is not the e-mail address of a service account", a)
	r.when(key != "" && !keySyntax.MatchString(key), at+"encryption_key", "%q is not projects/P/locations/L/keyRings/R/cryptoKeys/K", key)
	wait := t.GetEncryptionKeyShutdownDuration()
	r.when(wait != nil && (wait.AsDuration() <= 0 || wait.AsDuration()%time.Hour != 0), at+"encryption_key_shutdown_duration", "it is not in whole hours")
	_, known := runpb.ExecutionEnvironment_name[int32(t.GetExecutionEnvironment())]
	r.when(!known, at+"execution_environment", "%d is unknown", t.GetExecutionEnvironment())
	r.network(t.GetVpcAccess())
}

func (r *refusals) network(v *runpb.VpcAccess) {
	const at = "template.vpc_access."
	if v == nil {
		return
	}
	r.when((v.GetConnector() != "") == (len(v.GetNetworkInterfaces()) > 0), at+"connector", "it needs a connector or a network, one of the two")
	r.when(v.GetConnector() != "" && !connectorSyntax.MatchString(v.GetConnector()), at+"connector",
		"%q is not projects/P/locations/L/connectors/C", v.GetConnector())
	for i, n := range v.GetNetworkInterfaces() {
		r.when(n.GetNetwork() == "" && n.GetSubnetwork() == "", fmt.Sprintf("%snetwork_interfaces[%d]", at, i), "it has neither network nor subnetwork")
	}
}
