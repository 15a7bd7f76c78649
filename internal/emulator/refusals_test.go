package emulator_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/googleapi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cloudssh/cloudssh/internal/emulator/rules/rulestest"
)

// TestRefusals sends to either dialect of the API what package rules refuses, to see that code and field arrive.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	for kind, connect := range dialects() {
		c := connect(t, s)
		for _, r := range rulestest.Rejections() {
			t.Run(kind+"/"+r.Name, func(t *testing.T) {
				id, spoiled := r.Spoiled(s.RegistryAddr+"/demo/web", "hello")
				_, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: id, Service: spoiled, ValidateOnly: true})
				if !refused(err, codes.InvalidArgument) {
					t.Fatalf("%v, want InvalidArgument", err)
				}
				if got := violated(err); !slices.Equal(got, []string{r.Field}) {
					t.Errorf("fields %q, want %q", got, r.Field)
				}
			})
		}
	}
}

// violated are the fields of an error's BadRequest detail, without the kind of the violation.
func violated(err error) []string {
	bad := new(errdetails.BadRequest)
	var rest *googleapi.Error
	if errors.As(err, &rest) {
		for _, d := range rest.Details {
			if raw, err := json.Marshal(d); err == nil {
				_ = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, bad) // else it is another detail
			}
		}
	}
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			bad = b
		}
	}
	var fields []string
	for _, v := range bad.GetFieldViolations() {
		fields = append(fields, strings.TrimPrefix(v.GetField(), "Violation in CreateServiceRequest."))
	}
	return fields
}
