package rules_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
	"github.com/cloudssh/cloudssh/internal/emulator/rules/rulestest"
)

// TestRejections: all that the platform documents that it refuses is refused, with the field's name.
func TestRejections(t *testing.T) {
	const image = "us-docker.pkg.dev/cloudrun/container/hello"
	if err := rules.Create("hello", rulestest.Service(image)); err != nil {
		t.Fatalf("the service that the table spoils: %v", err)
	}
	seen := map[string]bool{}
	for _, r := range rulestest.Rejections() {
		if seen[r.Name] {
			t.Errorf("two rows are named %q", r.Name)
		}
		seen[r.Name] = true
		t.Run(r.Part+"/"+r.Name, func(t *testing.T) {
			id, spoiled := r.Spoiled(image, "hello")
			if err := wantField(rules.Create(id, spoiled), r.Field); err != nil {
				t.Error(err)
			}
			if id != "hello" {
				return // an update does not name it
			}
			old := rulestest.Service(image)
			old.Name = "projects/p/locations/r/services/hello"
			rules.Defaults(old, "1-compute@developer.gserviceaccount.com")
			_, spoiled = r.Spoiled(image, "hello")
			if err := wantField(rules.Update(old, spoiled, func(string) bool { return false }), r.Field); err != nil {
				t.Error("an update:", err)
			}
		})
	}
}

// wantField says what is wrong with an error that should be an InvalidArgument about one field.
func wantField(err error, field string) error {
	if status.Code(err) != codes.InvalidArgument {
		return errors.New("want InvalidArgument, not " + status.Convert(err).String())
	}
	var got []string
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				_, name, _ := strings.Cut(" "+v.GetField(), "ServiceRequest.")
				if name == "" {
					name = v.GetField()
				}
				got = append(got, name)
			}
		}
	}
	if !slices.Equal(got, []string{field}) {
		return errors.New("fields " + strings.Join(got, ", ") + ", want " + field + ": " + err.Error())
	}
	return nil
}
