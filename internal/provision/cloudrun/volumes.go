package cloudrun

import (
	"slices"

	"cloud.google.com/go/run/apiv2/runpb"
)

// volumes copies the volumes, apart from those whose kind this version does not know: a volume without a kind is refused.
func (d *deriver) volumes(t *runpb.RevisionTemplate) {
	for _, from := range d.rev.GetVolumes() {
		v := &runpb.Volume{}
		copier{d.rules}.fields(v, from)
		switch kind := v.GetVolumeType().(type) {
		case nil:
			d.left[from.GetName()] = "this version of cloudssh does not know its kind"
			continue
		case *runpb.Volume_Nfs:
			kind.Nfs.ReadOnly = kind.Nfs.ReadOnly || !d.spec.WritableVolumes
		case *runpb.Volume_Gcs:
			kind.Gcs.ReadOnly = kind.Gcs.ReadOnly || !d.spec.WritableVolumes
		}
		t.Volumes = append(t.Volumes, v)
	}
}

// dropUnmounted leaves volumes behind that only containers mount which the twin does not have, or that made room for
// other secrets. What nobody mounted before stays.
func (d *deriver) dropUnmounted(t *runpb.RevisionTemplate) {
	before, after := mounted(d.rev.GetContainers()), mounted(t.GetContainers())
	t.Volumes = slices.DeleteFunc(t.Volumes, func(v *runpb.Volume) bool {
		if !before[v.GetName()] || after[v.GetName()] {
			return false
		}
		d.left[v.GetName()] = "no container of the twin mounts it"
		return true
	})
}

// mounted are the names of the volumes that containers mount.
func mounted(all []*runpb.Container) map[string]bool {
	names := map[string]bool{}
	for _, c := range all {
		for _, m := range c.GetVolumeMounts() {
			names[m.GetName()] = true
		}
	}
	return names
}

func volumeNames(all []*runpb.Volume) []string {
	var names []string
	for _, v := range all {
		names = append(names, v.GetName())
	}
	return names
}
