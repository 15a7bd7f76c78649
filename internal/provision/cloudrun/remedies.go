package cloudrun

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// remedy is what helps against an obstacle that the platform words in this way.
type remedy struct {
	words *regexp.Regexp
	hints func(m []string, project string) []string
}

// remedies are the hints for what the platform said, wherever it said so: in the answer to a call, or in a condition of a
// service that did not come up. The wording is not documented; where it changes, there are no hints.
func remedies(said, project string) []string {
	var all []string
	for _, r := range knownRemedies() {
		for _, m := range r.words.FindAllStringSubmatch(said, -1) {
			for _, h := range r.hints(m, project) {
				if !slices.Contains(all, h) { // message and condition say the same
					all = append(all, h)
				}
			}
		}
	}
	return all
}

func knownRemedies() []remedy {
	return []remedy{
		{regexp.MustCompile(`Permission denied on secret: (\S+) for Revision service account ([^\s,]+@[^\s,]*[a-z])`), secretRemedy},
		{regexp.MustCompile(`VPC connector (\S+) does not exist`), connectorRemedy},
		{regexp.MustCompile(`[Cc]onstraint (?:constraints/)?([a-zA-Z]+\.[a-zA-Z]+) violated`), policyRemedy},
		{regexp.MustCompile(`(service-\d+@serverless-robot-prod\S*\.com) must have permission to use the encryption key ([^\s,]+)`), keyRemedy},
		{regexp.MustCompile(`Container image '(\S+)' is not authorized by policy`), attestationRemedy},
	}
}

// secretRemedy grants the account of the revision, which is the twin's too, the reading of one secret.
func secretRemedy(m []string, project string) []string {
	secret, account := m[1], m[2]
	if f := strings.Split(secret, "/"); len(f) >= 4 && f[0] == "projects" {
		secret = f[3]
		if strings.ContainsFunc(f[1], unicode.IsLetter) { // else it is the number of the service's own project
			project = f[1]
		}
	}
	return []string{
		fmt.Sprintf("%s may not read secret %s; missing permission secretmanager.versions.access, in roles/secretmanager.secretAccessor:", account, secret),
		fmt.Sprintf("gcloud secrets add-iam-policy-binding %s --project %s --member %s --role roles/secretmanager.secretAccessor",
			secret, project, member(account)),
	}
}

func connectorRemedy(m []string, project string) []string {
	region := "REGION"
	if f := strings.Split(m[1], "/"); len(f) == 6 {
		project, region = f[1], f[3]
	}
	return []string{
		"the connector is the service's own; those that there are:",
		fmt.Sprintf("gcloud compute networks vpc-access connectors list --region %s --project %s", region, project),
	}
}

// policyRemedy says what to ask whoever sets the organisation's policies for.
func policyRemedy(m []string, project string) []string {
	constraint := m[1]
	see := fmt.Sprintf("gcloud resource-manager org-policies describe %s --effective --project %s", constraint, project)
	if constraint != "run.allowedIngress" {
		return []string{see}
	}
	return []string{
		`a twin is reached at its run.app address, which needs ingress "all"; ask an administrator of the organisation's policies ` +
			`(roles/orgpolicy.policyAdmin) to allow it for this project:`,
		fmt.Sprintf("gcloud resource-manager org-policies allow %s all --project %s", constraint, project),
		see,
	}
}

func keyRemedy(m []string, _ string) []string {
	agent, key := m[1], m[2]
	return []string{
		"missing permission cloudkms.cryptoKeyVersions.useToEncrypt, in roles/cloudkms.cryptoKeyEncrypterDecrypter:",
		fmt.Sprintf("gcloud kms keys add-iam-policy-binding %s --member serviceAccount:%s --role roles/cloudkms.cryptoKeyEncrypterDecrypter", key, agent),
	}
}

// attestationRemedy: no attestor has seen an image with the agent's layer, which was made a moment ago.
func attestationRemedy(m []string, _ string) []string {
	return []string{
		"have " + m[1] + " attested, or let an attested image bring the agent and leave the service's own as it is:",
		"cloudssh --inject sidecar --agent-image IMAGE ...",
	}
}
