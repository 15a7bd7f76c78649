package cloudrun

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func TestRemedies(t *testing.T) {
	for what, tc := range map[string]struct{ said, hint string }{
		"secret of the project": {
			"Permission denied on secret: projects/42/secrets/db/versions/latest for Revision service account 42-compute@developer.gserviceaccount.com. The",
			"gcloud secrets add-iam-policy-binding db --project p --member serviceAccount:42-compute@developer.gserviceaccount.com " +
				"--role roles/secretmanager.secretAccessor",
		},
		"secret of another project": {
			"Permission denied on secret: projects/vault/secrets/db/versions/3 for Revision service account a@b.iam.gserviceaccount.com. The",
			"gcloud secrets add-iam-policy-binding db --project vault --member serviceAccount:a@b.iam.gserviceaccount.com " +
				"--role roles/secretmanager.secretAccessor",
		},
		"connector": {
			"VPC connector projects/net/locations/r/connectors/c does not exist, or Cloud Run does not have permission to use it.",
			"gcloud compute networks vpc-access connectors list --region r --project net",
		},
		"ingress": {
			`Constraint constraints/run.allowedIngress violated for attempting google.cloud.run.v2.Services.CreateService with annotation ` +
				`"run.googleapis.com/ingress" set to all.`,
			"gcloud resource-manager org-policies allow run.allowedIngress all --project p",
		},
		"another policy": {
			"Constraint constraints/run.allowedVPCEgress violated for projects/p",
			"gcloud resource-manager org-policies describe run.allowedVPCEgress --effective --project p",
		},
		"key": {
			"Google Cloud Run Service Agent service-42@serverless-robot-prod.iam.gserviceaccount.com must have permission to use the " +
				"encryption key projects/p/locations/r/keyRings/k/cryptoKeys/c, and the key must be enabled.",
			"gcloud kms keys add-iam-policy-binding projects/p/locations/r/keyRings/k/cryptoKeys/c --member " +
				"serviceAccount:service-42@serverless-robot-prod.iam.gserviceaccount.com --role roles/cloudkms.cryptoKeyEncrypterDecrypter",
		},
		"attestor": {
			"Container image 'reg/p/app@sha256:12' is not authorized by policy. Image reg/p/app@sha256:12 denied by attestor",
			"cloudssh --inject sidecar --agent-image IMAGE",
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := &Backend{Options: Options{Project: "p"}}
			wantHint(t, b.explain(status.Error(codes.FailedPrecondition, tc.said), "creating app-ssh", "run.services.create"), tc.hint)
			e := &NotReadyError{Message: tc.said, hints: remedies(tc.said+"\n"+tc.said, "p")}
			wantHint(t, e, tc.hint)
			seen := map[string]bool{}
			for _, h := range e.Hints() {
				if seen[h] {
					t.Errorf("said twice: %s", h)
				}
				seen[h] = true
			}
		})
	}
	if hints := provision.Hints((&Backend{}).explain(status.Error(codes.InvalidArgument, "no such thing"), "x", "")); len(hints) > 0 {
		t.Errorf("hints %q for what nobody knows", hints)
	}
}
