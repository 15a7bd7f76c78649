package cloudrun

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// shapeOf is what a service's instances take. A container without limits counts with the platform's defaults, one CPU and
// 512 MiB.
func shapeOf(svc *runpb.Service) provision.Shape {
	var s provision.Shape
	for _, c := range svc.GetTemplate().GetContainers() {
		addLimits(&s, c.GetResources().GetLimits())
	}
	s.MinInstances = int(max(svc.GetScaling().GetMinInstanceCount(), svc.GetTemplate().GetScaling().GetMinInstanceCount()))
	return s
}

// addLimits adds a container's limits to a shape.
func addLimits(s *provision.Shape, limits map[string]string) {
	cpu, ok := milliCPU(limits["cpu"])
	if !ok {
		cpu = 1000
	}
	memory, ok := bytesOf(limits["memory"])
	if !ok {
		memory = 512 << 20
	}
	s.CPU += float64(cpu) / 1000
	s.Memory += float64(memory) / (1 << 30)
}

// milliCPU reads "1", "0.5" or "500m" as thousandths of a CPU.
func milliCPU(s string) (int64, bool) {
	if m, ok := strings.CutSuffix(s, "m"); ok {
		n, err := strconv.ParseInt(m, 10, 64)
		return n, err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1e6 {
		return 0, false
	}
	return int64(math.Round(f * 1000)), true
}

// bytesOf reads a Kubernetes quantity of bytes: "512Mi", "1G", "1.5Gi", "134217728".
func bytesOf(s string) (int64, bool) {
	factor := 1.0
	for _, u := range []struct {
		suffix string
		factor float64
	}{
		{"Ki", 1 << 10},
		{"Mi", 1 << 20},
		{"Gi", 1 << 30},
		{"Ti", 1 << 40},
		{"k", 1e3},
		{"M", 1e6},
		{"G", 1e9},
		{"T", 1e12},
	} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = n, u.factor
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f*factor) > 1e18 {
		return 0, false
	}
	return int64(f * factor), true
}

var (
	cpuSyntax      = regexp.MustCompile(`^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$`)
	quantitySyntax = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([kMGT]|[KMGT]i)?$`)
)

// strictCPU reads only what the platform reads.
func strictCPU(s string) (int64, bool) {
	if len(s) > 16 || !cpuSyntax.MatchString(s) {
		return 0, false
	}
	return milliCPU(s)
}

// strictBytes reads only what the platform reads.
func strictBytes(s string) (int64, bool) {
	if len(s) > 32 || !quantitySyntax.MatchString(s) {
		return 0, false
	}
	return bytesOf(s)
}

// quantity writes bytes as users do: 512Mi, 2Gi.
func quantity(bytes int64) string {
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"Gi", gibi}, {"Mi", mebi}, {"Ki", 1 << 10}} {
		if bytes%u.size == 0 {
			return strconv.FormatInt(bytes/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// cpus writes thousandths of a CPU as users do: 1, 0.5.
func cpus(thousandths int64) string {
	return strconv.FormatFloat(float64(thousandths)/1000, 'f', -1, 64)
}
