package cloudrun

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"

	"cloud.google.com/go/run/apiv2/runpb"
)

var nameSyntax = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$`)

func (r *refusals) containers(t *runpb.RevisionTemplate) {
	const at = "template.containers"
	all := t.GetContainers()
	r.when(len(all) == 0, at, "there is none")
	r.when(len(all) > maxContainers, at, "there are %d, %d are possible", len(all), maxContainers)
	exposed, seen := 0, map[string]bool{}
	for i, c := range all {
		field := fmt.Sprintf("%s[%d]", at, i)
		n := c.GetName()
		r.when(n != "" && (seen[n] || !nameSyntax.MatchString(n)), field+".name", "%q is taken, or not lowercase letters, digits and hyphens", n)
		seen[n] = true
		if len(c.GetPorts()) > 0 {
			exposed++
			r.when(len(all) > 1 && c.GetPorts()[0].GetContainerPort() == 0, field+".ports[0].container_port", "with several containers it must be given")
		}
		r.container(field, c, len(all) == 1 || len(c.GetPorts()) > 0)
		r.mounts(field+".volume_mounts", c.GetVolumeMounts(), t.GetVolumes())
		r.dependencies(field+".depends_on", c, all)
	}
	r.when(len(all) > 1 && exposed != 1, at, "%d of them take requests, and one must", exposed)
	r.when(circular(all), at, "they wait for each other in a circle")
}

func (r *refusals) container(at string, c *runpb.Container, ingress bool) {
	_, err := name.ParseReference(c.GetImage())
	r.when(err != nil, at+".image", "%q is not an image", c.GetImage())
	r.when(len(c.GetArgs()) > maxArgs, at+".args", "there are %d, %d are possible", len(c.GetArgs()), maxArgs)
	r.when(len(c.GetPorts()) > 1, at+".ports", "there are %d, 1 is possible", len(c.GetPorts()))
	for i, p := range c.GetPorts() {
		field := fmt.Sprintf("%s.ports[%d]", at, i)
		r.when(!isPort(p.GetContainerPort()), field+".container_port", "%d is not from 1 to 65535", p.GetContainerPort())
		r.when(p.GetName() != "" && p.GetName() != "http1" && p.GetName() != "h2c", field+".name", "%q is not http1 or h2c", p.GetName())
	}
	r.env(at+".env", c.GetEnv(), ingress)
	r.probe(at+".startup_probe", c.GetStartupProbe(), startupSeconds)
	r.probe(at+".liveness_probe", c.GetLivenessProbe(), 3600)
	r.probe(at+".readiness_probe", c.GetReadinessProbe(), 3600)
	r.when(c.GetLivenessProbe().GetTcpSocket() != nil, at+".liveness_probe.tcp_socket", "only a startup probe can be of TCP")
	p := c.GetStartupProbe()
	total := int64(cmp.Or(p.GetPeriodSeconds(), 10)) * int64(cmp.Or(p.GetFailureThreshold(), 3))
	r.when(p != nil && total > startupSeconds, at+".startup_probe.failure_threshold", "%d s in all are more than %d", total, startupSeconds)
}

func isPort(n int32) bool { return n >= 0 && n <= 65535 } // 0 is the default

func (r *refusals) env(at string, env []*runpb.EnvVar, ingress bool) {
	r.when(len(env) > maxEnv, at, "there are %d, %d are possible", len(env), maxEnv)
	for i, e := range env {
		field, n := fmt.Sprintf("%s[%d]", at, i), e.GetName()
		r.when(n == "" || utf8.RuneCountInString(n) > maxEnvName || strings.ContainsAny(n, "=\x00"), field+".name",
			"%.20q is empty, too long or has '=' in it", n)
		r.when(len(e.GetValue()) > maxEnvValue, field+".value", "it has more than %d bytes", maxEnvValue)
		r.when(n != agentEnv && reserved(n) && (n != portEnv || ingress), at, "%s is the platform's", n)
		ref := e.GetValueSource().GetSecretKeyRef()
		r.when(e.GetValueSource() != nil && ref.GetSecret() == "", field+".value_source.secret_key_ref.secret", "there is none")
	}
}

func (r *refusals) probe(at string, p *runpb.Probe, longest int32) {
	if p == nil {
		return
	}
	period := cmp.Or(p.GetPeriodSeconds(), 10)
	r.when(p.GetInitialDelaySeconds() > longest, at+".initial_delay_seconds", "%d s are possible", longest)
	r.when(period < 1 || period > longest, at+".period_seconds", "%d s are possible", longest)
	r.when(p.GetTimeoutSeconds() > period, at+".timeout_seconds", "it is longer than the period")
	r.when(p.GetFailureThreshold() < 0, at+".failure_threshold", "it is less than 1")
	r.when(p.GetProbeType() == nil, at, "it is of no kind")
	r.when(!isPort(p.GetTcpSocket().GetPort()), at+".tcp_socket.port", "it is not from 1 to 65535")
	r.when(!isPort(p.GetHttpGet().GetPort()), at+".http_get.port", "it is not from 1 to 65535")
	r.when(!isPort(p.GetGrpc().GetPort()), at+".grpc.port", "it is not from 1 to 65535")
}

func (r *refusals) dependencies(at string, c *runpb.Container, all []*runpb.Container) {
	for _, n := range c.GetDependsOn() {
		i := slices.IndexFunc(all, func(o *runpb.Container) bool { return o.GetName() == n })
		switch {
		case i < 0:
			r.add(at, "there is no container %s", n)
		case all[i] == c:
			r.add(at, "%s waits for itself", n)
		default:
			r.when(all[i].GetStartupProbe() == nil, at, "%s has no startup probe to wait for", n)
		}
	}
}

// circular reports whether containers wait for each other: whoever waits only for those that can start can start.
func circular(all []*runpb.Container) bool {
	known, started := containerNames(all), map[string]bool{}
	for range all {
		for _, c := range all {
			if !slices.ContainsFunc(c.GetDependsOn(), func(n string) bool { return n != c.GetName() && slices.Contains(known, n) && !started[n] }) {
				started[c.GetName()] = true
			}
		}
	}
	return slices.ContainsFunc(all, func(c *runpb.Container) bool { return !started[c.GetName()] })
}

func (r *refusals) mounts(at string, mounts []*runpb.VolumeMount, volumes []*runpb.Volume) {
	seen := map[string]bool{}
	for i, m := range mounts {
		field := fmt.Sprintf("%s[%d]", at, i)
		k := slices.IndexFunc(volumes, func(v *runpb.Volume) bool { return v.GetName() == m.GetName() })
		if k < 0 {
			r.add(field+".name", "there is no volume %s", m.GetName())
			continue
		}
		where := m.GetMountPath()
		if volumes[k].GetCloudSqlInstance() != nil {
			where = cmp.Or(where, "/cloudsql")
			r.when(path.Clean(where) != "/cloudsql", field+".mount_path", "Cloud SQL is at /cloudsql")
		}
		clean := path.Clean(where)
		r.when(!path.IsAbs(where) || strings.Contains(where, ":") || clean == "/" || system(clean), field+".mount_path", "nothing can be mounted at %q", where)
		r.when(seen[clean], field+".mount_path", "two volumes are mounted at %s", clean)
		seen[clean] = true
		r.when(m.GetSubPath() != "" && !inside(m.GetSubPath()), field+".sub_path", "%q is outside of the volume", m.GetSubPath())
	}
}

// system reports whether a directory is one of those that the platform keeps.
func system(dir string) bool {
	return slices.ContainsFunc([]string{"/dev", "/proc", "/sys"}, func(s string) bool { return dir == s || strings.HasPrefix(dir, s+"/") })
}

// inside reports whether a path stays where it begins.
func inside(p string) bool {
	return p != "" && !path.IsAbs(p) && !slices.Contains(strings.Split(p, "/"), "..")
}

func (r *refusals) volumes(t *runpb.RevisionTemplate) {
	gen1 := t.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
	seen := map[string]bool{}
	for i, v := range t.GetVolumes() {
		at := fmt.Sprintf("template.volumes[%d]", i)
		r.when(seen[v.GetName()] || !nameSyntax.MatchString(v.GetName()), at+".name", "%q is taken, or not lowercase letters, digits and hyphens", v.GetName())
		seen[v.GetName()] = true
		switch kind := v.GetVolumeType().(type) {
		case *runpb.Volume_Secret:
			r.secret(at+".secret", kind.Secret)
		case *runpb.Volume_CloudSqlInstance:
			r.cloudSQL(at+".cloud_sql_instance.instances", kind.CloudSqlInstance.GetInstances())
		case *runpb.Volume_EmptyDir:
			size, ok := strictBytes(cmp.Or(kind.EmptyDir.GetSizeLimit(), "1"))
			r.when(!ok || size <= 0, at+".empty_dir.size_limit", "%q is not a size", kind.EmptyDir.GetSizeLimit())
			r.when(kind.EmptyDir.GetMedium() > disk, at+".empty_dir.medium", "%d is unknown", kind.EmptyDir.GetMedium())
			r.when(gen1 && kind.EmptyDir.GetMedium() == disk, at+".empty_dir.medium", "it needs gen2")
		case *runpb.Volume_Nfs:
			r.when(kind.Nfs.GetServer() == "", at+".nfs.server", "there is none")
			r.when(!path.IsAbs(kind.Nfs.GetPath()), at+".nfs.path", "%q does not begin with '/'", kind.Nfs.GetPath())
			r.when(gen1, at+".nfs", "it needs gen2")
		case *runpb.Volume_Gcs:
			r.when(kind.Gcs.GetBucket() == "", at+".gcs.bucket", "there is none")
			r.when(gen1, at+".gcs", "it needs gen2")
		default:
			r.add(at, "it is of no kind")
		}
	}
}

func (r *refusals) secret(at string, s *runpb.SecretVolumeSource) {
	r.when(!secretSyntax.MatchString(s.GetSecret()), at+".secret", "%q is not a secret's name or projects/PROJECT/secrets/NAME", s.GetSecret())
	r.when(!isMode(s.GetDefaultMode()), at+".default_mode", "%#o is not from 0 to 0777", s.GetDefaultMode())
	for i, item := range s.GetItems() {
		field := fmt.Sprintf("%s.items[%d]", at, i)
		r.when(!inside(item.GetPath()), field+".path", "%q is outside of the volume", item.GetPath())
		r.when(item.GetVersion() == "", field+".version", "there is none")
		r.when(!isMode(item.GetMode()), field+".mode", "%#o is not from 0 to 0777", item.GetMode())
	}
}

func isMode(mode int32) bool { return mode >= 0 && mode <= 0o777 }

func (r *refusals) cloudSQL(at string, instances []string) {
	r.when(len(instances) == 0, at, "there is none")
	for i, n := range instances {
		parts := strings.Split(n, ":")
		r.when(len(parts) < 3 || slices.Contains(parts, ""), fmt.Sprintf("%s[%d]", at, i), "%q is not PROJECT:REGION:INSTANCE", n)
	}
}
