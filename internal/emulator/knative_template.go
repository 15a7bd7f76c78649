package emulator

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

// This file has the annotations of templates that are about containers and volumes: in v2 each has a field of its own,
// in v1 they are one annotation for all.

func sortedWords(w []string) []string { return slices.Sorted(slices.Values(w)) }

// anyContainer tells as an annotation's value whether a container has what is asked.
func anyContainer(t *tmplt, has func(*runpb.ResourceRequirements) bool, value bool) string {
	for _, c := range t.GetContainers() {
		if c.GetResources() != nil && has(c.GetResources()) {
			return strconv.FormatBool(value)
		}
	}
	return ""
}

// cpuThrottling is false when CPU is allocated always; without the annotation it is allocated during requests.
func cpuThrottling(t *tmplt) string {
	return anyContainer(t, func(r *runpb.ResourceRequirements) bool { return !r.GetCpuIdle() }, false)
}

func setCPUThrottling(t *tmplt, v string) error {
	idle, err := parseFlag(v)
	for _, c := range t.GetContainers() {
		c.Resources.CpuIdle = idle
	}
	return err
}

func cpuBoost(t *tmplt) string {
	return anyContainer(t, (*runpb.ResourceRequirements).GetStartupCpuBoost, true)
}

func setCPUBoost(t *tmplt, v string) error {
	boost, err := parseFlag(v)
	for _, c := range t.GetContainers() {
		c.Resources.StartupCpuBoost = boost
	}
	return err
}

// networkInterface is an element of the annotation network-interfaces; gcloud writes tags as a list or as one word.
type networkInterface struct {
	Network    string `json:"network,omitempty"`
	Subnetwork string `json:"subnetwork,omitempty"`
	Tags       any    `json:"tags,omitempty"`
}

func networkInterfaces(t *tmplt) string {
	var all []networkInterface
	for _, i := range t.GetVpcAccess().GetNetworkInterfaces() {
		n := networkInterface{Network: i.GetNetwork(), Subnetwork: i.GetSubnetwork()}
		if len(i.GetTags()) > 0 {
			n.Tags = i.GetTags()
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return ""
	}
	return asJSON(all)
}

func setNetworkInterfaces(t *tmplt, v string) error {
	var all []networkInterface
	if err := fromJSON(v, &all); err != nil {
		return err
	}
	for _, n := range all {
		i := &runpb.VpcAccess_NetworkInterface{Network: n.Network, Subnetwork: n.Subnetwork}
		switch tags := n.Tags.(type) {
		case string:
			i.Tags = strings.Split(tags, ",")
		case []any:
			for _, tag := range tags {
				if s, ok := tag.(string); ok {
					i.Tags = append(i.Tags, s)
				}
			}
		}
		vpcAccess(t).NetworkInterfaces = append(vpcAccess(t).NetworkInterfaces, i)
	}
	return nil
}

// cloudSQLVolume is the name of the volume that the annotation cloudsql-instances stands for in v2.
const cloudSQLVolume, cloudSQLPath = "cloudsql", "/cloudsql"

func cloudSQLInstances(t *tmplt) string {
	var all []string
	for _, v := range t.GetVolumes() {
		all = append(all, v.GetCloudSqlInstance().GetInstances()...)
	}
	return strings.Join(all, ",")
}

// setCloudSQLInstances has the instances' sockets in the container that serves or, where none has a port, in every one.
func setCloudSQLInstances(t *tmplt, v string) error {
	t.Volumes = append(t.Volumes, &runpb.Volume{
		Name:       cloudSQLVolume,
		VolumeType: &runpb.Volume_CloudSqlInstance{CloudSqlInstance: &runpb.CloudSqlInstance{Instances: strings.Split(v, ",")}},
	})
	ports := slices.ContainsFunc(t.GetContainers(), func(c *runpb.Container) bool { return len(c.GetPorts()) > 0 })
	for _, c := range t.GetContainers() {
		if !ports || len(c.GetPorts()) > 0 {
			c.VolumeMounts = append(c.VolumeMounts, &runpb.VolumeMount{Name: cloudSQLVolume, MountPath: cloudSQLPath})
		}
	}
	return nil
}

func containerDependencies(t *tmplt) string {
	all := map[string][]string{}
	for _, c := range t.GetContainers() {
		if len(c.GetDependsOn()) > 0 {
			all[c.GetName()] = c.GetDependsOn()
		}
	}
	if len(all) == 0 {
		return ""
	}
	return asJSON(all)
}

func setContainerDependencies(t *tmplt, v string) error {
	all := map[string][]string{}
	if err := fromJSON(v, &all); err != nil {
		return err
	}
	for _, c := range t.GetContainers() {
		c.DependsOn = all[c.GetName()]
	}
	return nil
}

func baseImages(t *tmplt) string {
	all := map[string]string{}
	for _, c := range t.GetContainers() {
		if c.GetBaseImageUri() != "" {
			all[c.GetName()] = c.GetBaseImageUri()
		}
	}
	if len(all) == 0 {
		return ""
	}
	return asJSON(all)
}

func setBaseImages(t *tmplt, v string) error {
	all := map[string]string{}
	if err := fromJSON(v, &all); err != nil {
		return err
	}
	for _, c := range t.GetContainers() {
		c.BaseImageUri = all[c.GetName()]
	}
	return nil
}

// secretsAnnotation gives secrets of other projects the short names that v1 has for secrets: alias:projects/P/secrets/S.
const secretsAnnotation = runNamespace + "secrets"

func parseAliases(annotation string) map[string]string {
	aliases := map[string]string{}
	for pair := range strings.SplitSeq(annotation, ",") {
		if alias, secret, ok := strings.Cut(strings.TrimSpace(pair), ":"); ok {
			aliases[alias] = secret
		}
	}
	return aliases
}

// alias is v1's short name of a secret, noted in aliases when the secret is named in full.
func alias(secret string, aliases map[string]string) string {
	f, full := fields(secret, "projects/*/secrets/*")
	if !full {
		return secret
	}
	for short, known := range aliases {
		if known == secret {
			return short
		}
	}
	base := f[0] + "-" + f[1]
	short := base
	for n := 2; aliases[short] != ""; n++ {
		short = base + "-" + strconv.Itoa(n)
	}
	aliases[short] = secret
	return short
}

func formatAliases(aliases map[string]string) string {
	var pairs []string
	for _, short := range slices.Sorted(maps.Keys(aliases)) {
		pairs = append(pairs, short+":"+aliases[short])
	}
	return strings.Join(pairs, ",")
}
