package rulestest

import (
	"cloud.google.com/go/run/apiv2/runpb"
)

// volume gives the first container a volume.
func volume(t tmpl, c box, v *runpb.Volume, path string) {
	v.Name = "v"
	t.Volumes = []*runpb.Volume{v}
	c.VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: path}}
}

func memory(size string) *runpb.Volume {
	return &runpb.Volume{VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
		Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: size,
	}}}
}

func cloudSQL(instances ...string) *runpb.Volume {
	return &runpb.Volume{VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: instances}}}
}

func secret(s *runpb.SecretVolumeSource) *runpb.Volume {
	return &runpb.Volume{VolumeType: &runpb.Volume_Secret{Secret: s}}
}

func nfs(server, path string) *runpb.Volume {
	return &runpb.Volume{VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: server, Path: path}}}
}

func bucket(name string) *runpb.Volume {
	return &runpb.Volume{VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: name}}}
}

func volumes() []Rejection {
	const v = "template.volumes[0]"
	is := func(name, field string, kind *runpb.Volume) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) { volume(t, c, kind, "/v") }}
	}
	first := func(name, field string, kind *runpb.Volume) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) {
			volume(t, c, kind, "/v")
			t.ExecutionEnvironment = gen1
		}}
	}
	item := func(i *runpb.VersionToPath) *runpb.Volume {
		return secret(&runpb.SecretVolumeSource{Secret: "key", Items: []*runpb.VersionToPath{i}})
	}
	return []Rejection{
		is("volume of no kind", "service."+v, &runpb.Volume{}),
		is("memory volume of no size", "service."+v+".empty_dir.size_limit", memory("0")),
		is("memory volume of a size that is none", "service."+v+".empty_dir.size_limit", memory("big")),
		is("memory volume of an unknown medium", "service."+v+".empty_dir.medium", &runpb.Volume{
			VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{Medium: 9}},
		}),
		is("no Cloud SQL instance", "service."+v+".cloud_sql_instance.instances", cloudSQL()),
		is("Cloud SQL instance without a project", "service."+v+".cloud_sql_instance.instances[0]", cloudSQL("db")),
		is("secret without a name", "service."+v+".secret.secret", secret(&runpb.SecretVolumeSource{})),
		is("secret outside of its volume", "service."+v+".secret.items[0].path", item(&runpb.VersionToPath{Path: "../key", Version: "1"})),
		is("secret without a version", "service."+v+".secret.items[0].version", item(&runpb.VersionToPath{Path: "key"})),
		is("secret of an odd mode", "service."+v+".secret.items[0].mode", item(&runpb.VersionToPath{Path: "key", Version: "1", Mode: 0o1777})),
		is("NFS without a server", "service."+v+".nfs.server", nfs("", "/x")),
		is("NFS of a relative path", "service."+v+".nfs.path", nfs("10.0.0.2", "x")),
		is("no bucket", "service."+v+".gcs.bucket", bucket("")),
		first("NFS on gen1", v+".nfs", nfs("10.0.0.2", "/x")),
		first("bucket on gen1", v+".gcs", bucket("data")),
	}
}

func mounts() []Rejection {
	const m = at + ".volume_mounts[0]"
	to := func(name, field, path string) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) { volume(t, c, memory(""), path) }}
	}
	all := []Rejection{
		to("mount at no path", "service."+m+".mount_path", ""),
		to("mount at a relative path", "service."+m+".mount_path", "v"),
		to("mount at a path with a colon", "service."+m+".mount_path", "/a:b"),
		to("mount at the root", m+".mount_path", "/"),
		{Name: "mount of no volume", Field: m + ".name", Edit: onContainer(func(c box) {
			c.VolumeMounts = []*runpb.VolumeMount{{Name: "v", MountPath: "/v"}}
		})},
		{Name: "Cloud SQL elsewhere", Field: m + ".mount_path", Edit: func(_ svc, t tmpl, c box) { volume(t, c, cloudSQL("p:r:db"), "/sql") }},
		{Name: "two volumes at one path", Field: at + ".volume_mounts[1].mount_path", Edit: func(_ svc, t tmpl, c box) {
			volume(t, c, memory(""), "/v")
			c.VolumeMounts = append(c.VolumeMounts, &runpb.VolumeMount{Name: "v", MountPath: "/v/"})
		}},
		{Name: "directory outside of the volume", Field: "service." + m + ".sub_path", Edit: func(_ svc, t tmpl, c box) {
			volume(t, c, memory(""), "/v")
			c.VolumeMounts[0].SubPath = "../x"
		}},
		{Name: "two volumes of one name", Field: "template.volumes[1].name", Edit: func(_ svc, t tmpl, c box) {
			volume(t, c, memory(""), "/v")
			t.Volumes = append(t.Volumes, memory(""))
			t.Volumes[1].Name = "v"
		}},
	}
	for _, path := range []string{"/dev", "/dev/shm", "/proc", "/proc/v", "/sys", "/sys/v"} {
		all = append(all, to("mount at "+path, m+".mount_path", path))
	}
	return all
}
