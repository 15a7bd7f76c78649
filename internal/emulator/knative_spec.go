package emulator

import (
	"cmp"
	"maps"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// gcsDriver is the driver of a Cloud Storage volume; its attributes have the bucket and the mount options.
const gcsDriver, gcsBucket, gcsOptions = "gcsfuse.run.googleapis.com", "bucketName", "mountOptions"

// acceleratorSelector is the node selector of a GPU's type.
const acceleratorSelector = runNamespace + "accelerator"

// startupProbeLabel says of a template that the platform made its startup probe.
const startupProbeLabel, startupProbeDefault = runNamespace + "startupProbeType", "Default"

// shared takes into a message what it shares with another of almost the same fields.
func shared[M proto.Message](to M, from proto.Message) M {
	m, source := to.ProtoReflect(), proto.Clone(from).ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		same := source.Descriptor().Fields().ByName(fd.Name())
		if same != nil && sameType(fd, same) && source.Has(same) {
			m.Set(fd, source.Get(same))
		}
	}
	return to
}

func sameType(a, b protoreflect.FieldDescriptor) bool {
	if a.Kind() != b.Kind() || a.Cardinality() != b.Cardinality() || a.IsMap() != b.IsMap() {
		return false
	}
	if a.Enum() != nil {
		return a.Enum().FullName() == b.Enum().FullName()
	}
	return a.Message() == nil || a.IsMap() || a.Message().FullName() == b.Message().FullName()
}

// readSettings puts into annotations what a message, which it may complete, has settings for.
func readSettings[M any](m M, settings []setting[M], annotations map[string]string) {
	for _, s := range settings {
		if v := s.get(m); v != "" {
			annotations[s.key] = v
		}
	}
}

// specWriter writes a template's containers and volumes in v1's words.
type specWriter struct{ aliases map[string]string }

// knativeTemplate is a template's v1 specification, with its annotations and labels. t is its own, to be changed.
func knativeTemplate(t *tmplt, settings []setting[*tmplt]) (*knative.ObjectMeta, *knative.RevisionSpec) {
	w := &specWriter{aliases: map[string]string{}}
	spec := &knative.RevisionSpec{
		ContainerConcurrency: int64(t.GetMaxInstanceRequestConcurrency()), ServiceAccountName: t.GetServiceAccount(),
		TimeoutSeconds: int64(t.GetTimeout().AsDuration().Seconds()),
	}
	sql := map[string]bool{}
	for _, v := range t.GetVolumes() {
		if v.GetCloudSqlInstance() != nil {
			sql[v.GetName()] = true
			continue
		}
		spec.Volumes = append(spec.Volumes, w.volume(v))
	}
	for _, c := range t.GetContainers() {
		spec.Containers = append(spec.Containers, w.container(c, sql))
	}
	if a := t.GetNodeSelector().GetAccelerator(); a != "" {
		spec.NodeSelector = map[string]string{acceleratorSelector: a}
	}
	meta := &knative.ObjectMeta{Name: t.GetRevision(), Labels: map[string]string{}, Annotations: map[string]string{}}
	readSettings(t, settings, meta.Annotations)
	maps.Copy(meta.Annotations, t.GetAnnotations())
	maps.Copy(meta.Labels, t.GetLabels())
	if len(w.aliases) > 0 {
		meta.Annotations[secretsAnnotation] = formatAliases(w.aliases)
	}
	if hasDefaultProbe(t) {
		meta.Labels[startupProbeLabel] = startupProbeDefault
	}
	return meta, spec
}

// hasDefaultProbe tells whether the startup probe is the one that the platform makes: TCP to the container's own port,
// once, for up to 240 s.
func hasDefaultProbe(t *tmplt) bool {
	for _, c := range t.GetContainers() {
		p := c.GetStartupProbe()
		if len(c.GetPorts()) > 0 && p.GetTcpSocket() != nil {
			return p.GetTcpSocket().GetPort() == c.GetPorts()[0].GetContainerPort() && p.GetFailureThreshold() == 1 &&
				p.GetInitialDelaySeconds() == 0 && p.GetPeriodSeconds() == 240 && p.GetTimeoutSeconds() == 240
		}
	}
	return false
}

func (w *specWriter) container(c *runpb.Container, sql map[string]bool) *knative.Container {
	k := &knative.Container{
		Name: c.GetName(), Image: c.GetImage(), Command: c.GetCommand(), Args: c.GetArgs(), WorkingDir: c.GetWorkingDir(),
		Resources:    &knative.ResourceRequirements{Limits: c.GetResources().GetLimits()},
		StartupProbe: knativeProbe(c.GetStartupProbe()), LivenessProbe: knativeProbe(c.GetLivenessProbe()),
		ReadinessProbe: knativeProbe(c.GetReadinessProbe()),
	}
	for _, e := range c.GetEnv() {
		k.Env = append(k.Env, w.env(e))
	}
	for _, p := range c.GetPorts() {
		k.Ports = append(k.Ports, &knative.ContainerPort{Name: p.GetName(), ContainerPort: int64(p.GetContainerPort())})
	}
	for _, m := range c.GetVolumeMounts() {
		if !sql[m.GetName()] {
			k.VolumeMounts = append(k.VolumeMounts, &knative.VolumeMount{Name: m.GetName(), MountPath: m.GetMountPath(), SubPath: m.GetSubPath()})
		}
	}
	return k
}

func (w *specWriter) env(e *runpb.EnvVar) *knative.EnvVar {
	secret := e.GetValueSource().GetSecretKeyRef()
	if secret == nil {
		return &knative.EnvVar{Name: e.GetName(), Value: e.GetValue()}
	}
	return &knative.EnvVar{Name: e.GetName(), ValueFrom: &knative.EnvVarSource{
		SecretKeyRef: &knative.SecretKeySelector{Name: alias(secret.GetSecret(), w.aliases), Key: secret.GetVersion()},
	}}
}

func (w *specWriter) volume(v *runpb.Volume) *knative.Volume {
	k := &knative.Volume{Name: v.GetName()}
	switch {
	case v.GetSecret() != nil:
		s := v.GetSecret()
		k.Secret = &knative.SecretVolumeSource{SecretName: alias(s.GetSecret(), w.aliases), DefaultMode: int64(s.GetDefaultMode())}
		for _, item := range s.GetItems() {
			k.Secret.Items = append(k.Secret.Items, &knative.KeyToPath{
				Key: cmp.Or(item.GetVersion(), "latest"), Path: item.GetPath(), Mode: int64(item.GetMode()),
			})
		}
	case v.GetEmptyDir() != nil:
		k.EmptyDir = &knative.EmptyDirVolumeSource{Medium: "Memory", SizeLimit: v.GetEmptyDir().GetSizeLimit()}
	case v.GetNfs() != nil:
		k.Nfs = &knative.NFSVolumeSource{Server: v.GetNfs().GetServer(), Path: v.GetNfs().GetPath(), ReadOnly: v.GetNfs().GetReadOnly()}
	case v.GetGcs() != nil:
		k.Csi = &knative.CSIVolumeSource{
			Driver: gcsDriver, ReadOnly: v.GetGcs().GetReadOnly(), VolumeAttributes: map[string]string{gcsBucket: v.GetGcs().GetBucket()},
		}
		if len(v.GetGcs().GetMountOptions()) > 0 {
			k.Csi.VolumeAttributes[gcsOptions] = strings.Join(v.GetGcs().GetMountOptions(), ",")
		}
	}
	return k
}

func knativeProbe(p *runpb.Probe) *knative.Probe {
	if p == nil {
		return nil
	}
	k := &knative.Probe{
		InitialDelaySeconds: int64(p.GetInitialDelaySeconds()), TimeoutSeconds: int64(p.GetTimeoutSeconds()),
		PeriodSeconds: int64(p.GetPeriodSeconds()), FailureThreshold: int64(p.GetFailureThreshold()),
	}
	switch {
	case p.GetHttpGet() != nil:
		k.HttpGet = &knative.HTTPGetAction{Path: p.GetHttpGet().GetPath(), Port: int64(p.GetHttpGet().GetPort())}
		for _, h := range p.GetHttpGet().GetHttpHeaders() {
			k.HttpGet.HttpHeaders = append(k.HttpGet.HttpHeaders, &knative.HTTPHeader{Name: h.GetName(), Value: h.GetValue()})
		}
	case p.GetTcpSocket() != nil:
		k.TcpSocket = &knative.TCPSocketAction{Port: int64(p.GetTcpSocket().GetPort())}
	case p.GetGrpc() != nil:
		k.Grpc = &knative.GRPCAction{Port: int64(p.GetGrpc().GetPort()), Service: p.GetGrpc().GetService()}
	}
	return k
}
