package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// MaxName is the longest name of a Cloud Run service: "fewer than 50 characters" (CreateServiceRequest.service_id).
	MaxName = 49
	suffix  = "-ssh"
)

// TwinName is the name of a service's twin: the service's with "-ssh". A name that leaves no room for that is cut, and a
// hash keeps it apart from its neighbours.
func TwinName(service string) string {
	return fit(service, MaxName-len(suffix)) + suffix
}

// AlternateName is the nth name (from 1) to use when TwinName is taken. It depends on the owner, so that the owner finds
// the twin again, and others go elsewhere.
func AlternateName(service string, o Owner, n int) string {
	tail := fmt.Sprintf("%s-%s", suffix, digest(4, service, o.Account, o.PublicKey, fmt.Sprint(n)))
	return fit(service, MaxName-len(tail)) + tail
}

// OwnerHash is the label value for an account. Labels cannot hold an e-mail address, and a hash keeps it from those who
// may see labels (billing exports), though not from those who know whom to look for.
func OwnerHash(account string) string {
	return digest(16, strings.ToLower(strings.TrimSpace(account)))
}

// CheckName says what is wrong with the name of a service.
func CheckName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("service name %q has %d characters; Cloud Run allows %d", name, len(name), MaxName)
	}
	if name == "" {
		return fmt.Errorf("no service named")
	}
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if strings.ContainsFunc(name, bad) || name[0] < 'a' || name[0] > 'z' || name[len(name)-1] == '-' {
		return fmt.Errorf("service name %q is not valid: lower-case letters, digits and hyphens, beginning with a letter", name)
	}
	return nil
}

func fit(service string, room int) string {
	if len(service) <= room {
		return service
	}
	const hashLen = 6
	cut := strings.TrimRight(service[:room-hashLen-1], "-")
	return cut + "-" + digest(hashLen, service)
}

// digest is the first n hex digits of a hash over the words.
func digest(n int, words ...string) string {
	h := sha256.New()
	for _, w := range words {
		h.Write(fmt.Appendf(nil, "%d:%s", len(w), w))
	}
	return hex.EncodeToString(h.Sum(nil))[:n]
}
