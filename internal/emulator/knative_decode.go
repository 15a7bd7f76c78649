package emulator

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
)

// specReader reads v1 resources into v2's and collects what is wrong with them.
type specReader struct {
	found   []*errdetails.BadRequest_FieldViolation
	aliases map[string]string // of the template that is being read
}

func (d *specReader) refuse(field, format string, args ...any) {
	d.found = append(d.found, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// unset refuses a field of Kubernetes that Cloud Run does not have.
func (d *specReader) unset(field string, given bool) {
	if given {
		d.refuse(field, "must not set the field(s): %s", field)
	}
}

func (d *specReader) err() error {
	if len(d.found) == 0 {
		return nil
	}
	return refuseFields(d.found)
}

// ownAnnotations reads the annotations of a resource at a place: those that are settings into m, those that the platform
// itself writes nowhere. What is left is the user's own.
func ownAnnotations[M any](d *specReader, at string, m M, settings []setting[M], kind string, given map[string]string, computed ...string) map[string]string {
	own := maps.Clone(given)
	for _, s := range settings {
		v, ok := own[s.key]
		if !ok {
			continue
		}
		delete(own, s.key)
		if v == "" {
			continue
		}
		if err := s.set(m, v); err != nil {
			d.refuse(at+"["+s.key+"]", "%v", err)
		}
	}
	for _, key := range computed {
		delete(own, key)
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		if systemKey(key) {
			d.refuse(at+"["+key+"]", "Annotation '%s' is not supported on resources of kind '%s'.", key, kind)
		}
	}
	return nilIfEmpty(own)
}

// ownLabels are the labels of a resource without those that the platform writes.
func ownLabels(given map[string]string) map[string]string {
	own := maps.Clone(given)
	maps.DeleteFunc(own, func(key, _ string) bool {
		return key == locationLabel || key == startupProbeLabel || strings.HasPrefix(key, servingNamespace) ||
			strings.HasPrefix(key, runNamespace)
	})
	return nilIfEmpty(own)
}

// small is a number of v1's JSON in the size that v2 has for it; one too large stays too large for every rule.
func small(n int64) int32 { return int32(max(min(n, math.MaxInt32), math.MinInt32)) }

func nilIfEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func systemKey(key string) bool {
	for _, ns := range []string{runNamespace, cloudNamespace, servingNamespace, autoscalingNamespace} {
		if strings.HasPrefix(key, ns) {
			return true
		}
	}
	return false
}

// service reads a service.
func (d *specReader) service(k *knative.Service) *runpb.Service {
	s := &runpb.Service{}
	meta, spec := orEmpty(k.Metadata), k.Spec
	s.Labels = ownLabels(meta.Labels)
	s.Annotations = ownAnnotations(d, "metadata.annotations", s, serviceSettings(), "Service", meta.Annotations,
		servingNamespace+"creator", servingNamespace+"lastModifier", runNamespace+"urls", runNamespace+"ingress-status", operationID)
	if spec == nil || spec.Template == nil || spec.Template.Spec == nil {
		d.refuse("spec.template.spec", "missing field(s): spec.template.spec")
		return s
	}
	s.Template = d.template(spec.Template.Metadata, spec.Template.Spec)
	for _, t := range spec.Traffic {
		target := &runpb.TrafficTarget{Revision: t.RevisionName, Percent: small(t.Percent), Tag: t.Tag}
		target.Type = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
		if t.LatestRevision || t.RevisionName == "" {
			target.Type = runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
			target.Revision = ""
		}
		s.Traffic = append(s.Traffic, target)
	}
	return s
}

// template reads a service's revision template.
func (d *specReader) template(meta *knative.ObjectMeta, spec *knative.RevisionSpec) *tmplt {
	const at = "spec.template.spec"
	meta = orEmpty(meta)
	d.unset(at+".imagePullSecrets", len(spec.ImagePullSecrets) > 0)
	t := d.spec(at, meta, spec)
	t.Revision, t.MaxInstanceRequestConcurrency = meta.Name, small(spec.ContainerConcurrency)
	for _, c := range t.GetContainers() {
		c.Resources.CpuIdle = true // unless an annotation says otherwise
		if meta.Labels[startupProbeLabel] == startupProbeDefault && len(c.GetPorts()) > 0 {
			c.StartupProbe = nil // the platform makes it anew, for the port as it is now
		}
	}
	t.Annotations = ownAnnotations(d, "spec.template.metadata.annotations", t, revisionSettings(), "Revision", meta.Annotations,
		runNamespace+"client-name", runNamespace+"client-version", secretsAnnotation)
	return t
}

// spec reads what the specifications of revisions and tasks share.
func (d *specReader) spec(at string, meta *knative.ObjectMeta, spec *knative.RevisionSpec) *tmplt {
	d.aliases = parseAliases(meta.Annotations[secretsAnnotation])
	t := &tmplt{
		Labels: ownLabels(meta.Labels), ServiceAccount: spec.ServiceAccountName, Containers: d.containers(at, spec.Containers),
		Volumes: d.volumes(at, spec.Volumes), NodeSelector: d.nodeSelector(at, spec.NodeSelector),
	}
	if spec.TimeoutSeconds != 0 {
		t.Timeout = durationpb.New(time.Duration(spec.TimeoutSeconds) * time.Second)
	}
	return t
}

func orEmpty(meta *knative.ObjectMeta) *knative.ObjectMeta {
	if meta == nil {
		return &knative.ObjectMeta{}
	}
	return meta
}

func (d *specReader) nodeSelector(at string, given map[string]string) *runpb.NodeSelector {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		d.unset(at+".nodeSelector["+key+"]", key != acceleratorSelector)
	}
	if a := given[acceleratorSelector]; a != "" {
		return &runpb.NodeSelector{Accelerator: a}
	}
	return nil
}

func (d *specReader) containers(at string, given []*knative.Container) []*runpb.Container {
	var all []*runpb.Container
	for i, k := range given {
		all = append(all, d.container(fmt.Sprintf("%s.containers[%d]", at, i), k))
	}
	return all
}

func (d *specReader) container(at string, k *knative.Container) *runpb.Container {
	d.unset(at+".envFrom", len(k.EnvFrom) > 0)
	d.unset(at+".securityContext", k.SecurityContext != nil && k.SecurityContext.RunAsUser != 0)
	c := &runpb.Container{
		Name: k.Name, Image: k.Image, Command: k.Command, Args: k.Args, WorkingDir: k.WorkingDir,
		Resources:    &runpb.ResourceRequirements{},
		StartupProbe: d.probe(at+".startupProbe", k.StartupProbe), LivenessProbe: d.probe(at+".livenessProbe", k.LivenessProbe),
		ReadinessProbe: d.probe(at+".readinessProbe", k.ReadinessProbe),
	}
	if k.Resources != nil {
		c.Resources.Limits = k.Resources.Limits
	}
	for _, e := range k.Env {
		c.Env = append(c.Env, d.env(at, e))
	}
	for _, p := range k.Ports {
		c.Ports = append(c.Ports, &runpb.ContainerPort{Name: p.Name, ContainerPort: small(p.ContainerPort)})
	}
	for _, m := range k.VolumeMounts {
		c.VolumeMounts = append(c.VolumeMounts, &runpb.VolumeMount{Name: m.Name, MountPath: m.MountPath, SubPath: m.SubPath})
	}
	return c
}

// secret is v2's name for a secret: in full when it has an alias.
func (d *specReader) secret(name string) string {
	if full := d.aliases[name]; full != "" {
		return full
	}
	return name
}

func (d *specReader) env(at string, k *knative.EnvVar) *runpb.EnvVar {
	if k.ValueFrom == nil {
		return &runpb.EnvVar{Name: k.Name, Values: &runpb.EnvVar_Value{Value: k.Value}}
	}
	ref := k.ValueFrom.SecretKeyRef
	if ref == nil {
		d.unset(at+".env["+k.Name+"].valueFrom.configMapKeyRef", true)
		return &runpb.EnvVar{Name: k.Name}
	}
	name := ref.Name
	if name == "" && ref.LocalObjectReference != nil {
		name = ref.LocalObjectReference.Name
	}
	return &runpb.EnvVar{Name: k.Name, Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
		SecretKeyRef: &runpb.SecretKeySelector{Secret: d.secret(name), Version: ref.Key},
	}}}
}

func (d *specReader) volumes(at string, given []*knative.Volume) []*runpb.Volume {
	var all []*runpb.Volume
	for i, k := range given {
		all = append(all, d.volume(fmt.Sprintf("%s.volumes[%d]", at, i), k))
	}
	return all
}

func (d *specReader) volume(at string, k *knative.Volume) *runpb.Volume {
	v := &runpb.Volume{Name: k.Name}
	d.unset(at+".configMap", k.ConfigMap != nil)
	switch {
	case k.Secret != nil:
		s := &runpb.SecretVolumeSource{Secret: d.secret(k.Secret.SecretName), DefaultMode: small(k.Secret.DefaultMode)}
		for _, item := range k.Secret.Items {
			s.Items = append(s.Items, &runpb.VersionToPath{Version: item.Key, Path: item.Path, Mode: small(item.Mode)})
		}
		v.VolumeType = &runpb.Volume_Secret{Secret: s}
	case k.EmptyDir != nil:
		e := &runpb.EmptyDirVolumeSource{SizeLimit: k.EmptyDir.SizeLimit, Medium: runpb.EmptyDirVolumeSource_MEMORY}
		if m := k.EmptyDir.Medium; m != "" && !strings.EqualFold(m, "Memory") {
			d.refuse(at+".emptyDir.medium", "Unsupported value %q: expected Memory.", m)
		}
		v.VolumeType = &runpb.Volume_EmptyDir{EmptyDir: e}
	case k.Nfs != nil:
		v.VolumeType = &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: k.Nfs.Server, Path: k.Nfs.Path, ReadOnly: k.Nfs.ReadOnly}}
	case k.Csi != nil:
		if k.Csi.Driver != gcsDriver {
			d.refuse(at+".csi.driver", "Unsupported value %q: expected %s.", k.Csi.Driver, gcsDriver)
		}
		g := &runpb.GCSVolumeSource{Bucket: k.Csi.VolumeAttributes[gcsBucket], ReadOnly: k.Csi.ReadOnly}
		if o := k.Csi.VolumeAttributes[gcsOptions]; o != "" {
			g.MountOptions = strings.Split(o, ",")
		}
		v.VolumeType = &runpb.Volume_Gcs{Gcs: g}
	}
	return v
}

func (d *specReader) probe(at string, k *knative.Probe) *runpb.Probe {
	if k == nil || k.HttpGet == nil && k.TcpSocket == nil && k.Grpc == nil && k.Exec == nil && k.PeriodSeconds == 0 && k.FailureThreshold == 0 {
		return nil // gcloud sends an empty one where there is none
	}
	d.unset(at+".exec", k.Exec != nil)
	p := &runpb.Probe{
		InitialDelaySeconds: small(k.InitialDelaySeconds), TimeoutSeconds: small(k.TimeoutSeconds),
		PeriodSeconds: small(k.PeriodSeconds), FailureThreshold: small(k.FailureThreshold),
	}
	switch {
	case k.HttpGet != nil:
		a := &runpb.HTTPGetAction{Path: k.HttpGet.Path, Port: small(k.HttpGet.Port)}
		for _, h := range k.HttpGet.HttpHeaders {
			a.HttpHeaders = append(a.HttpHeaders, &runpb.HTTPHeader{Name: h.Name, Value: h.Value})
		}
		p.ProbeType = &runpb.Probe_HttpGet{HttpGet: a}
	case k.TcpSocket != nil:
		p.ProbeType = &runpb.Probe_TcpSocket{TcpSocket: &runpb.TCPSocketAction{Port: small(k.TcpSocket.Port)}}
	case k.Grpc != nil:
		p.ProbeType = &runpb.Probe_Grpc{Grpc: &runpb.GRPCAction{Port: small(k.Grpc.Port), Service: k.Grpc.Service}}
	}
	return p
}
