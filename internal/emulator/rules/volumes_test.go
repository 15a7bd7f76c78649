package rules

import (
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
)

func memoryVolume(name string) *runpb.Volume {
	return &runpb.Volume{Name: name, VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{}}}
}

func sqlVolume(instances ...string) *runpb.Volume {
	return &runpb.Volume{Name: "sql", VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: instances}}}
}

func secretVolume(s *runpb.SecretVolumeSource) *runpb.Volume {
	return &runpb.Volume{Name: "s", VolumeType: &runpb.Volume_Secret{Secret: s}}
}

func nfsVolume(server, path string) *runpb.Volume {
	return &runpb.Volume{Name: "n", VolumeType: &runpb.Volume_Nfs{Nfs: &runpb.NFSVolumeSource{Server: server, Path: path}}}
}

func gcsVolume(bucket string) *runpb.Volume {
	return &runpb.Volume{Name: "g", VolumeType: &runpb.Volume_Gcs{Gcs: &runpb.GCSVolumeSource{Bucket: bucket}}}
}

func withVolumes(volumes ...*runpb.Volume) edit {
	return func(_ *runpb.Service, t *runpb.RevisionTemplate, _ *runpb.Container) { t.Volumes = volumes }
}

func TestVolumes(t *testing.T) {
	item := func(path, version string, mode int32) edit {
		return withVolumes(secretVolume(&runpb.SecretVolumeSource{
			Secret: "s", Items: []*runpb.VersionToPath{{Path: path, Version: version, Mode: mode}},
		}))
	}
	sized := func(size string, medium runpb.EmptyDirVolumeSource_Medium) edit {
		v := memoryVolume("v")
		v.GetEmptyDir().SizeLimit, v.GetEmptyDir().Medium = size, medium
		return withVolumes(v)
	}
	inGen1 := func(v *runpb.Volume) edit {
		return func(_ *runpb.Service, t *runpb.RevisionTemplate, _ *runpb.Container) {
			t.Volumes, t.ExecutionEnvironment = []*runpb.Volume{v}, gen1
		}
	}
	ephemeral := memoryVolume("v")
	ephemeral.GetEmptyDir().Medium = disk
	const at = "service.template.volumes[0]"
	check(t, []ruleTest{
		{"memory", sized("512Mi", runpb.EmptyDirVolumeSource_MEMORY), "", ""},
		{"size", sized("0", 0), at + ".empty_dir.size_limit", "positive"},
		{"size word", sized("big", 0), at + ".empty_dir.size_limit", "positive"},
		{"medium", sized("", 42), at + ".empty_dir.medium", "42"},
		{"disk", sized("10Gi", disk), "", ""},
		{"disk gen1", inGen1(ephemeral), "template.volumes[0].empty_dir.medium", "gen1"},
		{"no kind", withVolumes(&runpb.Volume{Name: "v"}), at, "one and only one of secret"},
		{"no name", withVolumes(memoryVolume("")), at + ".name", "non-empty"},
		{"name", withVolumes(memoryVolume("V_1")), "template.volumes[0].name", "RFC 1123"},
		{"name long", withVolumes(memoryVolume(strings.Repeat("v", 64))), "template.volumes[0].name", "RFC 1123"},
		{"name twice", withVolumes(memoryVolume("v"), memoryVolume("v")), "template.volumes[1].name", "'v'"},
		{"secret", item("dir/key", "latest", 0o400), "", ""},
		{"secret elsewhere", withVolumes(secretVolume(&runpb.SecretVolumeSource{Secret: "projects/1/secrets/a_B"})), "", ""},
		{"secret unnamed", withVolumes(secretVolume(&runpb.SecretVolumeSource{})), at + ".secret.secret", "secret"},
		{"secret mode", withVolumes(secretVolume(&runpb.SecretVolumeSource{Secret: "s", DefaultMode: 0o1000})), at + ".secret.default_mode", "0777"},
		{"item absolute", item("/key", "1", 0), at + ".secret.items[0].path", "relative"},
		{"item above", item("a/../../key", "1", 0), at + ".secret.items[0].path", "relative"},
		{"item version", item("key", "", 0), at + ".secret.items[0].version", "non-empty"},
		{"item mode", item("key", "1", -1), at + ".secret.items[0].mode", "0777"},
		{"sql", withVolumes(sqlVolume("p:us-central1:db", "example.com:p:us-central1:db")), "", ""},
		{"sql none", withVolumes(sqlVolume()), at + ".cloud_sql_instance.instances", "at least one"},
		{"sql form", withVolumes(sqlVolume("db")), at + ".cloud_sql_instance.instances[0]", "{instance}"},
		{"nfs", withVolumes(nfsVolume("10.0.0.1", "/share")), "", ""},
		{"nfs server", withVolumes(nfsVolume("", "/share")), at + ".nfs.server", "non-empty"},
		{"nfs path", withVolumes(nfsVolume("10.0.0.1", "share")), at + ".nfs.path", "absolute"},
		{"nfs gen1", inGen1(nfsVolume("10.0.0.1", "/share")), "template.volumes[0].nfs", "gen1"},
		{"gcs", withVolumes(gcsVolume("b")), "", ""},
		{"gcs bucket", withVolumes(gcsVolume("")), at + ".gcs.bucket", "non-empty"},
		{"gcs gen1", inGen1(gcsVolume("b")), "template.volumes[0].gcs", "gen1"},
	})
}

func TestMounts(t *testing.T) {
	mounts := func(pairs ...string) edit {
		return func(_ *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container) {
			t.Volumes = []*runpb.Volume{memoryVolume("v"), sqlVolume("p:r:db")}
			for i := 0; i < len(pairs); i += 2 {
				c.VolumeMounts = append(c.VolumeMounts, &runpb.VolumeMount{Name: pairs[i], MountPath: pairs[i+1]})
			}
		}
	}
	sub := func(path string) edit {
		return func(s *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container) {
			mounts("v", "/a")(s, t, c)
			c.VolumeMounts[0].SubPath = path
		}
	}
	const at = "template.containers[0].volume_mounts[0]"
	check(t, []ruleTest{
		{"plain", mounts("v", "/data", "sql", "/cloudsql"), "", ""},
		{"sql implicit", mounts("sql", ""), "", ""},
		{"sql elsewhere", mounts("sql", "/sql"), at + ".mount_path", "/cloudsql"},
		{"unknown", mounts("w", "/data"), at + ".name", "'w'"},
		{"empty", mounts("v", ""), "service." + at + ".mount_path", "non-empty"},
		{"relative", mounts("v", "data"), "service." + at + ".mount_path", "absolute"},
		{"colon", mounts("v", "/a:b"), "service." + at + ".mount_path", "':'"},
		{"root", mounts("v", "/"), at + ".mount_path", "'/'"},
		{"dev", mounts("v", "/dev"), at + ".mount_path", "/dev"},
		{"proc", mounts("v", "/proc/x"), at + ".mount_path", "/proc"},
		{"sys hidden", mounts("v", "/a/../sys"), at + ".mount_path", "/sys"},
		{"like dev", mounts("v", "/devices"), "", ""},
		{"twice", mounts("v", "/a", "v", "/a/"), "template.containers[0].volume_mounts[1].mount_path", "more than one"},
		{"over sql", mounts("sql", "", "v", "/cloudsql"), "template.containers[0].volume_mounts[1].mount_path", "more than one"},
		{"sub path", sub("x/y"), "", ""},
		{"sub path above", sub("../y"), "service." + at + ".sub_path", "relative"},
	})
}
