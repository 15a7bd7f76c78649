package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// MaxName is the longest name of a Cloud Run service: "fewer than 50 characters" (CreateServiceRequest.service_id),
	// and of a worker pool (CreateWorkerPoolRequest.worker_pool_id).
	MaxName = 49
	// maxJobName is that of a job, whose labels hold it: "up to 63 characters" of a label's value.
	maxJobName = 63
	suffix     = "-ssh"
)

// TwinName is the name of the twin: the service's with "-ssh", the job's with "-ssh-job", the worker pool's with
// "-ssh-pool", so that a service and a job of one name have twins of their own. A name that leaves no room for that is
// cut, and a hash keeps it apart from its neighbours.
func (t Target) TwinName() string {
	tail := t.tail()
	return fit(t.Name, MaxName-len(tail)) + tail
}

// AlternateName is the nth name (from 1) to use when TwinName is taken. It depends on the owner, so that the owner finds
// the twin again, and others go elsewhere.
func (t Target) AlternateName(o Owner, n int) string {
	tail := fmt.Sprintf("%s-%s", t.tail(), digest(4, t.Name, o.Account, o.PublicKey, fmt.Sprint(n)))
	return fit(t.Name, MaxName-len(tail)) + tail
}

func (t Target) tail() string {
	switch t.Kind {
	case KindJob:
		return suffix + "-job"
	case KindWorkerPool:
		return suffix + "-pool"
	}
	return suffix
}

// OwnerHash is the label value for an account. Labels cannot hold an e-mail address, and a hash keeps it from those who
// may see labels (billing exports), though not from those who know whom to look for.
func OwnerHash(account string) string {
	return digest(16, strings.ToLower(strings.TrimSpace(account)))
}

// CheckName says what is wrong with the name of a service.
func CheckName(name string) error { return checkName("service", name, MaxName) }

func checkName(what, name string, most int) error {
	if len(name) > most {
		return fmt.Errorf("%s name %q has %d characters; Cloud Run allows %d", what, name, len(name), most)
	}
	if name == "" {
		return fmt.Errorf("no %s named", what)
	}
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if strings.ContainsFunc(name, bad) || name[0] < 'a' || name[0] > 'z' || name[len(name)-1] == '-' {
		return fmt.Errorf("%s name %q is not valid: lower-case letters, digits and hyphens, beginning with a letter", what, name)
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
