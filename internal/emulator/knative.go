package emulator

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
)

// This file says in the v1 API's resources what the store has in v2's. Times are RFC 3339, the namespace is the
// project's number, and what v2 has fields for v1 keeps in annotations and labels.

func shortName(name string) string { return path.Base(name) }

func knativeService(s *runpb.Service) *knative.Service {
	n, _ := parseService("name", s.GetName()) // the store's own name
	labels := map[string]string{"cloud.googleapis.com/location": n.region}
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
	return &knative.Service{
		ApiVersion: knativeVersion, Kind: "Service", Metadata: meta,
		Spec: &knative.ServiceSpec{
			Template: &knative.RevisionTemplate{
				Metadata: &knative.ObjectMeta{
					Name: s.GetTemplate().GetRevision(), Labels: s.GetTemplate().GetLabels(), Annotations: s.GetTemplate().GetAnnotations(),
				},
				Spec: knativeRevisionSpec(revisionOf(s.GetTemplate())),
			},
			Traffic: knativeTraffic(s.GetTraffic()),
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

func nameOrNothing(name string) string {
	if name == "" {
		return ""
	}
	return shortName(name)
}

func knativeServiceAnnotations(s *runpb.Service) map[string]string {
	ingress := map[runpb.IngressTraffic]string{
		runpb.IngressTraffic_INGRESS_TRAFFIC_ALL:                    "all",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY:          "internal",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER: "internal-and-cloud-load-balancing",
		runpb.IngressTraffic_INGRESS_TRAFFIC_NONE:                   "none",
	}[s.GetIngress()]
	a := map[string]string{
		"serving.knative.dev/creator":      s.GetCreator(),
		"serving.knative.dev/lastModifier": s.GetLastModifier(),
		"run.googleapis.com/ingress":       ingress,
		"run.googleapis.com/urls":          fmt.Sprintf("[%q]", s.GetUri()),
	}
	for key, value := range map[string]string{
		"run.googleapis.com/client-name": s.GetClient(), "run.googleapis.com/client-version": s.GetClientVersion(),
		"run.googleapis.com/description": s.GetDescription(),
	} {
		if value != "" {
			a[key] = value
		}
	}
	if s.GetInvokerIamDisabled() {
		a["run.googleapis.com/invoker-iam-disabled"] = "true"
	}
	if n := s.GetScaling().GetMinInstanceCount(); n > 0 {
		a["run.googleapis.com/minScale"] = strconv.Itoa(int(n)) // of the service; a revision's is in another namespace
	}
	if s.GetDefaultUriDisabled() {
		a["run.googleapis.com/default-url-disabled"] = "true"
	}
	maps.Copy(a, s.GetAnnotations())
	return a
}

func knativeRevisionLabels(r *runpb.Revision) map[string]string {
	labels := map[string]string{
		"serving.knative.dev/service": r.GetService(), "serving.knative.dev/configuration": r.GetService(),
	}
	if n, err := parseRevision("name", r.GetName()); err == nil {
		labels["cloud.googleapis.com/location"] = n.region
	}
	maps.Copy(labels, r.GetLabels())
	return labels
}

func knativeRevision(f v1Found) *knative.Revision {
	r := f.pb
	n, _ := parseRevision("name", r.GetName()) // the store's own name
	annotations := map[string]string{"serving.knative.dev/creator": r.GetCreator()}
	maps.Copy(annotations, r.GetAnnotations())
	return &knative.Revision{
		ApiVersion: knativeVersion, Kind: "Revision",
		Metadata: &knative.ObjectMeta{
			Name: n.revision, Namespace: projectNumber(n.project), Uid: r.GetUid(), Generation: r.GetGeneration(),
			CreationTimestamp: rfc3339(r.GetCreateTime().AsTime()), Labels: knativeRevisionLabels(r), Annotations: annotations,
			SelfLink: "/apis/serving.knative.dev/v1/namespaces/" + projectNumber(n.project) + "/revisions/" + n.revision,
		},
		Spec: knativeRevisionSpec(r),
		Status: &knative.RevisionStatus{
			Conditions: knativeConditions(r.GetConditions()), ObservedGeneration: r.GetObservedGeneration(),
			ServiceName: r.GetService(), LogUrl: r.GetLogUri(), ImageDigest: ingressImage(f.pinned),
		},
	}
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

func knativeRevisionSpec(r *runpb.Revision) *knative.RevisionSpec {
	spec := &knative.RevisionSpec{
		ContainerConcurrency: int64(r.GetMaxInstanceRequestConcurrency()), ServiceAccountName: r.GetServiceAccount(),
		TimeoutSeconds: int64(r.GetTimeout().AsDuration().Seconds()),
	}
	for _, v := range r.GetVolumes() {
		spec.Volumes = append(spec.Volumes, knativeVolume(v))
	}
	for _, c := range r.GetContainers() {
		spec.Containers = append(spec.Containers, knativeContainer(c))
	}
	return spec
}

func knativeContainer(c *runpb.Container) *knative.Container {
	k := &knative.Container{
		Name: c.GetName(), Image: c.GetImage(), Command: c.GetCommand(), Args: c.GetArgs(), WorkingDir: c.GetWorkingDir(),
		Resources: &knative.ResourceRequirements{Limits: c.GetResources().GetLimits()},
	}
	for _, e := range c.GetEnv() {
		k.Env = append(k.Env, knativeEnv(e))
	}
	for _, p := range c.GetPorts() {
		k.Ports = append(k.Ports, &knative.ContainerPort{Name: p.GetName(), ContainerPort: int64(p.GetContainerPort())})
	}
	for _, m := range c.GetVolumeMounts() {
		k.VolumeMounts = append(k.VolumeMounts, &knative.VolumeMount{Name: m.GetName(), MountPath: m.GetMountPath(), SubPath: m.GetSubPath()})
	}
	return k
}

func knativeEnv(e *runpb.EnvVar) *knative.EnvVar {
	secret := e.GetValueSource().GetSecretKeyRef()
	if secret == nil {
		return &knative.EnvVar{Name: e.GetName(), Value: e.GetValue()}
	}
	return &knative.EnvVar{Name: e.GetName(), ValueFrom: &knative.EnvVarSource{
		SecretKeyRef: &knative.SecretKeySelector{Name: secret.GetSecret(), Key: secret.GetVersion()},
	}}
}

func knativeVolume(v *runpb.Volume) *knative.Volume {
	k := &knative.Volume{Name: v.GetName()}
	switch {
	case v.GetSecret() != nil:
		k.Secret = &knative.SecretVolumeSource{SecretName: v.GetSecret().GetSecret()}
		for _, item := range v.GetSecret().GetItems() {
			k.Secret.Items = append(k.Secret.Items, &knative.KeyToPath{Key: item.GetVersion(), Path: item.GetPath()})
		}
	case v.GetEmptyDir() != nil:
		k.EmptyDir = &knative.EmptyDirVolumeSource{Medium: "Memory", SizeLimit: v.GetEmptyDir().GetSizeLimit()}
	case v.GetNfs() != nil:
		k.Nfs = &knative.NFSVolumeSource{Server: v.GetNfs().GetServer(), Path: v.GetNfs().GetPath(), ReadOnly: v.GetNfs().GetReadOnly()}
	case v.GetGcs() != nil:
		k.Csi = &knative.CSIVolumeSource{
			Driver: "gcsfuse.run.googleapis.com", ReadOnly: v.GetGcs().GetReadOnly(),
			VolumeAttributes: map[string]string{"bucketName": v.GetGcs().GetBucket()},
		}
	}
	return k
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
	if r, ok := c.GetReasons().(*runpb.Condition_RevisionReason_); ok {
		return r.RevisionReason.String()
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
