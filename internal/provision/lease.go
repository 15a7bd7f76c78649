package provision

import (
	"maps"
	"strconv"
	"strings"
	"time"
)

// Labels and annotations of a twin. Labels can be searched for, but hold only short lower-case values; what is for
// people stands in annotations.
const (
	labelTwin    = "cloudssh"
	twinValue    = "twin"
	labelSource  = "cloudssh-source" // the name
	labelKind    = "cloudssh-kind"   // absent: a service
	labelOwner   = "cloudssh-owner"
	labelExpires = "cloudssh-expires"

	annotationPrefix  = "cloudssh.dev/"
	annotationAccount = annotationPrefix + "account"
	annotationReason  = annotationPrefix + "reason"
	annotationKeep    = annotationPrefix + "keep"
	annotationKey     = annotationPrefix + "key"
	annotationVersion = annotationPrefix + "version"
	annotationSpec    = annotationPrefix + "spec"
	annotationMaker   = annotationPrefix + "maker"

	// LabelSelector selects all twins in a listing.
	LabelSelector = labelTwin + "=" + twinValue
)

// Lease is what a twin says about itself on the platform.
type Lease struct {
	// OwnerHash is OwnerHash(Account).
	OwnerHash, Account, Reason string
	// Expires is when the agent ends and the twin may be deleted by anyone; to the second.
	Expires time.Time
	Keep    bool
	// Key is the fingerprint of the SSH key that opens the twin, Version that of cloudssh, Spec a hash of all that
	// makes two twins interchangeable, Maker a random word of the process that made it.
	Key, Version, Spec, Maker string
}

// Expired reports whether the lease is over.
func (l Lease) Expired(now time.Time) bool { return !now.Before(l.Expires) }

// Labels returns the labels of a twin of source, which is a Target as users type it. A label cannot hold its colon, so
// that the kind has a label of its own.
func (l Lease) Labels(source string) map[string]string {
	labels := map[string]string{
		labelTwin:    twinValue,
		labelSource:  source,
		labelOwner:   l.OwnerHash,
		labelExpires: strconv.FormatInt(l.Expires.Unix(), 10),
	}
	if kind, name, ok := strings.Cut(source, ":"); ok {
		labels[labelKind], labels[labelSource] = kind, name
	}
	return labels
}

// Annotations returns the annotations of a twin; empty values are left out.
func (l Lease) Annotations() map[string]string {
	a := map[string]string{
		annotationAccount: l.Account,
		annotationReason:  l.Reason,
		annotationKey:     l.Key,
		annotationVersion: l.Version,
		annotationSpec:    l.Spec,
		annotationMaker:   l.Maker,
	}
	if l.Keep {
		a[annotationKeep] = "true"
	}
	maps.DeleteFunc(a, func(_, v string) bool { return v == "" })
	return a
}

// IsTwin reports whether a service with these labels is a twin.
func IsTwin(labels map[string]string) bool { return labels[labelTwin] == twinValue }

// IsLeaseLabel reports whether a label is one that twins use, so that it must not be copied from a service.
func IsLeaseLabel(key string) bool { return key == labelTwin || strings.HasPrefix(key, labelTwin+"-") }

// ParseLease reads a lease back. ok is false when the labels are no twin's. A twin whose expiry cannot be read has
// expired at the zero time: nothing that cleanup could not remove may result from a mangled label.
func ParseLease(labels, annotations map[string]string) (source string, l Lease, ok bool) {
	if !IsTwin(labels) {
		return "", Lease{}, false
	}
	l = Lease{
		OwnerHash: labels[labelOwner],
		Account:   annotations[annotationAccount],
		Reason:    annotations[annotationReason],
		Keep:      annotations[annotationKeep] == "true",
		Key:       annotations[annotationKey],
		Version:   annotations[annotationVersion],
		Spec:      annotations[annotationSpec],
		Maker:     annotations[annotationMaker],
	}
	if sec, err := strconv.ParseInt(labels[labelExpires], 10, 64); err == nil {
		l.Expires = time.Unix(sec, 0)
	}
	return Target{Kind: Kind(labels[labelKind]), Name: labels[labelSource]}.String(), l, true
}
