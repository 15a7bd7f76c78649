package emulator

import (
	"maps"
	"path"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/protobuf/proto"
)

// This file says in the v1 API's resources what the store has in v2's. Times are RFC 3339, the namespace is the
// project's number, and what v2 has fields for v1 keeps in annotations and labels.

func shortName(name string) string { return path.Base(name) }

func knativeService(s *runpb.Service) *knative.Service {
	n, _ := parseService("name", s.GetName()) // the store's own name
	template, spec := knativeTemplate(proto.CloneOf(s.GetTemplate()), revisionSettings())
	return &knative.Service{
		ApiVersion: knativeVersion, Kind: "Service", Metadata: knativeServiceMeta(n, s),
		Spec: &knative.ServiceSpec{
			Template: &knative.RevisionTemplate{Metadata: template, Spec: spec}, Traffic: knativeTraffic(s.GetTraffic()),
		},
		Status: &knative.ServiceStatus{
			Url: s.GetUri(), Address: &knative.Addressable{Url: s.GetUri()}, ObservedGeneration: s.GetObservedGeneration(),
			LatestCreatedRevisionName: nameOrNothing(s.GetLatestCreatedRevision()),
			LatestReadyRevisionName:   nameOrNothing(s.GetLatestReadyRevision()),
			Conditions:                knativeConditions(append([]*runpb.Condition{s.GetTerminalCondition()}, s.GetConditions()...)),
			Traffic:                   knativeTrafficStatus(s),
		},
	}
}

func knativeServiceMeta(n serviceName, s *runpb.Service) *knative.ObjectMeta {
	labels := map[string]string{locationLabel: n.region}
	maps.Copy(labels, s.GetLabels())
	meta := &knative.ObjectMeta{
		Name: n.service, Namespace: projectNumber(n.project), Uid: s.GetUid(), Generation: s.GetGeneration(),
		ResourceVersion: strings.Trim(s.GetEtag(), `"`), CreationTimestamp: rfc3339(s.GetCreateTime().AsTime()),
		SelfLink: "/apis/serving.knative.dev/v1/namespaces/" + projectNumber(n.project) + "/services/" + n.service,
		Labels:   labels, Annotations: knativeServiceAnnotations(s),
	}
	if s.GetDeleteTime() != nil {
		meta.DeletionTimestamp = rfc3339(s.GetDeleteTime().AsTime())
	}
	return meta
}

func nameOrNothing(name string) string {
	if name == "" {
		return ""
	}
	return shortName(name)
}

func knativeServiceAnnotations(s *runpb.Service) map[string]string {
	a := map[string]string{
		servingNamespace + "creator": s.GetCreator(), servingNamespace + "lastModifier": s.GetLastModifier(),
		runNamespace + "ingress-status": ingressWords()[s.GetIngress()],
	}
	if len(s.GetUrls()) > 0 {
		a[runNamespace+"urls"] = asJSON(s.GetUrls())
	}
	readSettings(proto.CloneOf(s), serviceSettings(), a)
	maps.Copy(a, s.GetAnnotations())
	return a
}

func knativeRevisionLabels(r *runpb.Revision) map[string]string {
	labels := map[string]string{
		servingNamespace + "service": r.GetService(), servingNamespace + "configuration": r.GetService(),
	}
	if n, err := parseRevision("name", r.GetName()); err == nil {
		labels[locationLabel] = n.region
	}
	maps.Copy(labels, r.GetLabels())
	return labels
}

// shownRevision is a revision as v1 answers it: with the digests of all containers, which the published schema lacks.
type shownRevision struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Metadata   *knative.ObjectMeta   `json:"metadata"`
	Spec       *knative.RevisionSpec `json:"spec"`
	Status     shownRevisionStatus   `json:"status"`
}

type shownRevisionStatus struct {
	Conditions         []*knative.GoogleCloudRunV1Condition `json:"conditions,omitempty"`
	ContainerStatuses  []containerStatus                    `json:"containerStatuses,omitempty"`
	ImageDigest        string                               `json:"imageDigest,omitempty"`
	LogURL             string                               `json:"logUrl,omitempty"`
	ObservedGeneration int64                                `json:"observedGeneration,omitempty"`
	ServiceName        string                               `json:"serviceName,omitempty"`
}

type containerStatus struct {
	Name        string `json:"name"`
	ImageDigest string `json:"imageDigest"`
}

func knativeRevision(f v1Found) *shownRevision {
	r := f.pb
	n, _ := parseRevision("name", r.GetName()) // the store's own name
	template, spec := knativeTemplate(shared(&runpb.RevisionTemplate{}, r), revisionSettings())
	template.Annotations[servingNamespace+"creator"] = r.GetCreator()
	return &shownRevision{
		APIVersion: knativeVersion, Kind: "Revision",
		Metadata: &knative.ObjectMeta{
			Name: n.revision, Namespace: projectNumber(n.project), Uid: r.GetUid(), Generation: r.GetGeneration(),
			CreationTimestamp: rfc3339(r.GetCreateTime().AsTime()), Labels: knativeRevisionLabels(r), Annotations: template.Annotations,
			ResourceVersion: strings.Trim(r.GetEtag(), `"`),
			SelfLink:        "/apis/serving.knative.dev/v1/namespaces/" + projectNumber(n.project) + "/revisions/" + n.revision,
		},
		Spec: spec,
		Status: shownRevisionStatus{
			Conditions: revisionConditions(f), ObservedGeneration: r.GetObservedGeneration(), ServiceName: r.GetService(),
			LogURL: r.GetLogUri(), ImageDigest: ingressImage(f.pinned), ContainerStatuses: containerStatuses(f.pinned),
		},
	}
}

// containerStatuses are the containers whose images are known by digest.
func containerStatuses(t *runpb.RevisionTemplate) []containerStatus {
	var all []containerStatus
	for _, c := range t.GetContainers() {
		if strings.Contains(c.GetImage(), "@") {
			all = append(all, containerStatus{c.GetName(), c.GetImage()})
		}
	}
	return all
}

// revisionConditions are a revision's conditions; one that no traffic goes to is retired.
func revisionConditions(f v1Found) []*knative.GoogleCloudRunV1Condition {
	conditions := knativeConditions(f.pb.GetConditions())
	for _, c := range conditions {
		if c.Type == "Active" && c.Status == "True" && !f.serving {
			c.Status, c.Reason, c.Severity, c.Message = "False", "Retired", "Info", "Revision retired."
		}
	}
	return conditions
}

// ingressImage is the pinned image of the container that serves requests.
func ingressImage(t *runpb.RevisionTemplate) string {
	for _, c := range t.GetContainers() {
		if (len(c.GetPorts()) > 0 || len(t.GetContainers()) == 1) && strings.Contains(c.GetImage(), "@") {
			return c.GetImage()
		}
	}
	return ""
}

func knativeTraffic(traffic []*runpb.TrafficTarget) []*knative.TrafficTarget {
	var out []*knative.TrafficTarget
	for _, t := range traffic {
		latest := t.GetType() != runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
		out = append(out, &knative.TrafficTarget{
			LatestRevision: latest, RevisionName: t.GetRevision(), Percent: int64(t.GetPercent()), Tag: t.GetTag(),
		})
	}
	return out
}

func knativeTrafficStatus(s *runpb.Service) []*knative.TrafficTarget {
	var out []*knative.TrafficTarget
	for _, t := range s.GetTrafficStatuses() {
		latest := t.GetType() != runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
		target := &knative.TrafficTarget{
			LatestRevision: latest, RevisionName: t.GetRevision(), Percent: int64(t.GetPercent()), Tag: t.GetTag(), Url: t.GetUri(),
		}
		if latest {
			target.RevisionName = nameOrNothing(s.GetLatestReadyRevision())
		}
		out = append(out, target)
	}
	return out
}

func knativeConditions(conditions []*runpb.Condition) []*knative.GoogleCloudRunV1Condition {
	var out []*knative.GoogleCloudRunV1Condition
	for _, c := range conditions {
		k := &knative.GoogleCloudRunV1Condition{
			Type: c.GetType(), Status: "Unknown", Message: c.GetMessage(), LastTransitionTime: rfc3339(c.GetLastTransitionTime().AsTime()),
			Severity: map[runpb.Condition_Severity]string{
				runpb.Condition_WARNING: "Warning", runpb.Condition_INFO: "Info", // an error's is left out
			}[c.GetSeverity()],
		}
		switch c.GetState() {
		case runpb.Condition_CONDITION_SUCCEEDED:
			k.Status = "True"
		case runpb.Condition_CONDITION_FAILED:
			k.Status, k.Reason = "False", camel(reason(c))
		}
		out = append(out, k)
	}
	return out
}

// reason is a condition's reason by its name in the schema.
func reason(c *runpb.Condition) string {
	switch r := c.GetReasons().(type) {
	case *runpb.Condition_RevisionReason_:
		return r.RevisionReason.String()
	case *runpb.Condition_ExecutionReason_:
		return r.ExecutionReason.String()
	}
	return c.GetReason().String()
}

// camel turns HEALTH_CHECK_CONTAINER_ERROR into HealthCheckContainerError, as the v1 API writes reasons.
func camel(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(strings.ToLower(name), "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
