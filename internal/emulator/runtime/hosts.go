package runtime

import (
	"maps"
	"slices"
	"strings"
)

// hostsFile is the text of a sandbox's /etc/hosts, see hosts(5).
func hostsFile(hostname string, hosts map[string]string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if hostname != "localhost" {
		b.WriteString("127.0.0.1\t" + hostname + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		b.WriteString(hosts[name] + "\t" + name + "\n")
	}
	return b.String()
}
