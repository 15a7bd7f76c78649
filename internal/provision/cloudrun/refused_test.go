package cloudrun

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/rules/rulestest"
)

// fieldsOf are the fields that an error is about.
func fieldsOf(err error) []string {
	var fields []string
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // this walks the tree itself
		case *FieldError:
			fields = append(fields, e.Field)
		case interface{ Unwrap() []error }:
			for _, sub := range e.Unwrap() {
				walk(sub)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	return fields
}

// All that Cloud Run is documented to refuse is refused here before it is asked, and the same field named.
func TestCheckRefuses(t *testing.T) {
	const image = "us-docker.pkg.dev/p/r/app:v1"
	for _, r := range rulestest.Rejections() {
		t.Run(r.Name, func(t *testing.T) {
			id, s := r.Spoiled(image, "hello")
			if err := rules.Create(id, s); err == nil {
				t.Error("the platform takes it")
			}
			want := strings.TrimPrefix(r.Field, "service.")
			if err := Check(id, s); !slices.Contains(fieldsOf(err), want) {
				t.Errorf("want %s, have %v: %v", want, fieldsOf(err), err)
			}
		})
	}
	if err := Check("hello", rulestest.Service(image)); err != nil {
		t.Error(err)
	}
}

// What the platform has taken from the service is not refused in the twin, whatever is documented.
func TestDeriveTrustsTheService(t *testing.T) {
	target, rev := trio()
	rev.Containers[0].StartupProbe = tcpProbe(5432)
	rev.Containers[0].StartupProbe.PeriodSeconds, rev.Containers[0].StartupProbe.FailureThreshold = 10, 60 // 600 s, as with a newer page
	rev.Containers[0].Resources = &runpb.ResourceRequirements{Limits: map[string]string{"cpu": "3", "memory": "4Gi"}}
	s := spec()
	viaSidecar(&s)
	twin, _, err := Derive(target, rev, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(s.Name, twin); err == nil || errors.Is(err, errTooManyContainers) {
		t.Error("the twin is right by the book, so this proves nothing")
	}
}
