package serving

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseCPU reads a number of CPUs as Kubernetes writes it: "1", "0.5", "1000m".
func parseCPU(s string) (float64, error) {
	digits, milli := strings.CutSuffix(s, "m")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n <= 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return 0, fmt.Errorf("cpu limit %q is not a number of CPUs", s)
	}
	if milli {
		n /= 1000
	}
	return n, nil
}

// parseBytes reads a size as Kubernetes writes it: "512Mi", "1G", "1048576".
func parseBytes(s string) (int64, error) {
	number := strings.TrimRight(s, "KMGTPEki")
	n, err := strconv.ParseFloat(number, 64)
	factor, ok := unit(s[len(number):])
	if err != nil || !ok || !(n > 0 && n*factor < math.MaxInt64) { // NaN is neither
		return 0, fmt.Errorf("%q is not a size such as 512Mi", s)
	}
	return int64(n * factor), nil
}

func unit(s string) (float64, bool) {
	if s == "" {
		return 1, true
	}
	prefix, binary := strings.CutSuffix(s, "i")
	base, letters := 1000.0, "kMGTPE"
	if binary {
		base, letters = 1024, "KMGTPE"
	}
	if len(prefix) != 1 || !strings.Contains(letters, prefix) {
		return 0, false
	}
	return math.Pow(base, float64(strings.Index(letters, prefix)+1)), true
}

// mebibytes writes a size as the platform's messages do.
func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }
