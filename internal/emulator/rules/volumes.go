package rules

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	cloudSQLMount = "/cloudsql"
	maxMode       = 0o777
	// disk is the ephemeral disk, which the API's discovery document lists after
	// MEMORY (revision 20261016) and this version of runpb does not name.
	disk runpb.EmptyDirVolumeSource_Medium = 2
)

var (
	instanceName = regexp.MustCompile(`^([^:\s]+:)?[^:\s]+:[^:\s]+:[^:\s]+$`) // [domain:]project:region:instance
	secretName   = regexp.MustCompile(`^(projects/[^/]+/secrets/)?[A-Za-z0-9_-]{1,255}$`)
)

func (c *checker) volumes(t *runpb.RevisionTemplate) {
	seen := map[string]bool{}
	for i, v := range t.GetVolumes() {
		at := index("template.volumes", i)
		switch n := v.GetName(); {
		case n == "":
			c.malformed(at+".name", "should be non-empty.")
		case len(n) > maxName || !subdomain.MatchString(n) || strings.Contains(n, "."):
			c.refused(at+".name", "Invalid volume name '%s'. Must conform to RFC 1123: only lowercase letters, digits and hyphens "+
				"are allowed, must begin and end with a letter or digit, and be less than 64 characters", n)
		case seen[n]:
			c.refused(at+".name", "Volume name '%s' is used by more than one volume.", n)
		}
		seen[v.GetName()] = true
		c.volume(at, v, t.GetExecutionEnvironment())
	}
}

func (c *checker) volume(at string, v *runpb.Volume, env runpb.ExecutionEnvironment) {
	switch s := v.GetVolumeType().(type) {
	case *runpb.Volume_Secret:
		c.secretVolume(at+".secret", s.Secret)
	case *runpb.Volume_CloudSqlInstance:
		c.cloudSQL(at+".cloud_sql_instance", s.CloudSqlInstance)
	case *runpb.Volume_EmptyDir:
		c.emptyDir(at+".empty_dir", s.EmptyDir, env)
	case *runpb.Volume_Nfs:
		c.nfs(at+".nfs", s.Nfs)
		c.gen2(at+".nfs", "NFS volumes", env)
	case *runpb.Volume_Gcs:
		if s.Gcs.GetBucket() == "" {
			c.malformed(at+".gcs.bucket", "should be non-empty.")
		}
		c.gen2(at+".gcs", "Cloud Storage volumes", env)
	default:
		c.malformed(at, "one and only one of secret, cloud_sql_instance, empty_dir, nfs and gcs must be set.")
	}
}

// gen2 refuses what only the second generation has. An unset environment is
// right: the platform then picks one that fits.
func (c *checker) gen2(at, what string, env runpb.ExecutionEnvironment) {
	if env == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1 {
		c.refused(at, "%s are not supported with gen1 execution environment.", what)
	}
}

func (c *checker) secretVolume(at string, s *runpb.SecretVolumeSource) {
	if !secretName.MatchString(s.GetSecret()) {
		c.malformed(at+".secret", "should be a secret name or projects/{project}/secrets/{secret}.")
	}
	if m := s.GetDefaultMode(); m < 0 || m > maxMode {
		c.malformed(at+".default_mode", "should be between 0000 and 0777 (octal).")
	}
	for i, item := range s.GetItems() {
		at := index(at+".items", i)
		if !relative(item.GetPath()) {
			c.malformed(at+".path", "should be a relative path without '..'.")
		}
		if item.GetVersion() == "" {
			c.malformed(at+".version", "should be non-empty.")
		}
		if m := item.GetMode(); m < 0 || m > maxMode {
			c.malformed(at+".mode", "should be between 0000 and 0777 (octal).")
		}
	}
}

func (c *checker) cloudSQL(at string, s *runpb.CloudSqlInstance) {
	if len(s.GetInstances()) == 0 {
		c.malformed(at+".instances", "should contain at least one instance.")
	}
	for i, n := range s.GetInstances() {
		if !instanceName.MatchString(n) {
			c.malformed(index(at+".instances", i), "should be in the format {project}:{location}:{instance}.")
		}
	}
}

func (c *checker) emptyDir(at string, s *runpb.EmptyDirVolumeSource, env runpb.ExecutionEnvironment) {
	if s.GetMedium() == disk {
		c.gen2(at+".medium", "Ephemeral disks", env)
	} else {
		enum(c, at+".medium", s.GetMedium(), runpb.EmptyDirVolumeSource_Medium_name)
	}
	if limit := s.GetSizeLimit(); limit != "" {
		if n, ok := parseQuantity(limit); !ok || n <= 0 {
			c.malformed(at+".size_limit", "should be a positive quantity such as 512Mi.")
		}
	}
}

func (c *checker) nfs(at string, s *runpb.NFSVolumeSource) {
	if s.GetServer() == "" {
		c.malformed(at+".server", "should be non-empty.")
	}
	if !path.IsAbs(s.GetPath()) {
		c.malformed(at+".path", "should be an absolute path.")
	}
}

func (c *checker) mounts(at string, mounts []*runpb.VolumeMount, volumes []*runpb.Volume) {
	seen := map[string]bool{}
	for i, m := range mounts {
		at := index(at, i)
		k := slices.IndexFunc(volumes, func(v *runpb.Volume) bool { return v.GetName() == m.GetName() })
		if k < 0 {
			c.refused(at+".name", "Volume mount '%s' does not match the name of a volume.", m.GetName())
			continue
		}
		where := m.GetMountPath()
		if volumes[k].GetCloudSqlInstance() != nil {
			if where != "" && path.Clean(where) != cloudSQLMount {
				c.refused(at+".mount_path", "The mount path of a Cloud SQL volume must be %s.", cloudSQLMount)
			}
			where = cloudSQLMount
		}
		c.mountPath(at, where)
		if seen[path.Clean(where)] {
			c.refused(at+".mount_path", "Mount path '%s' is used by more than one volume mount.", where)
		}
		seen[path.Clean(where)] = true
		if s := m.GetSubPath(); s != "" && !relative(s) {
			c.malformed(at+".sub_path", "should be a relative path without '..'.")
		}
	}
}

func (c *checker) mountPath(at, where string) {
	at += ".mount_path"
	clean := path.Clean(where)
	switch {
	case where == "":
		c.malformed(at, "should be non-empty.")
	case !path.IsAbs(where):
		c.malformed(at, "should be an absolute path.")
	case strings.Contains(where, ":"):
		c.malformed(at, "should not contain ':'.")
	case clean == "/":
		c.refused(at, "Mounting a volume at '/' is not allowed.")
	}
	for _, system := range []string{"/dev", "/proc", "/sys"} {
		if clean == system || strings.HasPrefix(clean, system+"/") {
			c.refused(at, "Mounting a volume at '%s' or under it is not allowed.", system)
		}
	}
}

func relative(p string) bool {
	return p != "" && !path.IsAbs(p) && !slices.Contains(strings.Split(p, "/"), "..")
}
