package identity

import (
	"slices"
	"strings"
)

// permissions of the role, as far as this emulator asks for them. The sets are
// those of the predefined roles on 2026-08-22 (github:iann0036/iam-dataset),
// narrowed to the services that exist here.
func permissions(role string) []string {
	switch role {
	case "roles/owner":
		return slices.Concat(runAll(), registryAdmin(), logging(), accountUse(), []string{"resourcemanager.projects.setIamPolicy"})
	case "roles/editor":
		return slices.Concat(runDevelop(), registryAdmin(), logging(), accountUse())
	case "roles/viewer":
		return slices.Concat(runRead(), registryRead(), logging(), accountRead())
	case "roles/run.admin":
		return runAll()
	case "roles/run.developer", "roles/run.sourceDeveloper":
		return runDevelop()
	case "roles/run.viewer":
		return runRead()
	case "roles/run.invoker", "roles/run.servicesInvoker":
		return []string{"run.routes.invoke"}
	case "roles/iam.serviceAccountUser":
		return accountUse()
	case "roles/iam.serviceAccountTokenCreator":
		return append(accountRead(), permissionAccessToken, permissionIDToken, "iam.serviceAccounts.implicitDelegation",
			"iam.serviceAccounts.signBlob", "iam.serviceAccounts.signJwt")
	case "roles/iam.serviceAccountOpenIdTokenCreator":
		return []string{permissionIDToken}
	case "roles/artifactregistry.reader":
		return registryRead()
	case "roles/artifactregistry.writer":
		return registryWrite()
	case "roles/artifactregistry.repoAdmin", "roles/artifactregistry.admin":
		return registryAdmin()
	case "roles/logging.viewer":
		return logging()
	}
	return nil
}

func with(resource string, verbs ...string) []string {
	all := make([]string, len(verbs))
	for i, verb := range verbs {
		all[i] = resource + "." + verb
	}
	return all
}

func runRead() []string {
	return slices.Concat(
		with("run.services", "get", "list", "getIamPolicy"),
		with("run.revisions", "get", "list"),
		with("run.operations", "get", "list"),
		with("run.configurations", "get", "list"),
		with("run.routes", "get", "list"),
		with("run.locations", "list"),
		with("resourcemanager.projects", "get"),
	)
}

func runDevelop() []string {
	return slices.Concat(runRead(),
		with("run.services", "create", "update", "delete"),
		with("run.revisions", "delete"),
		with("run.operations", "delete"),
		with("run.routes", "invoke"),
	)
}

func runAll() []string {
	return append(runDevelop(), "run.services.setIamPolicy")
}

func registryRead() []string {
	return slices.Concat(
		with("artifactregistry.repositories", "downloadArtifacts", "get", "list"),
		with("artifactregistry.tags", "get", "list"),
	)
}

func registryWrite() []string {
	return slices.Concat(registryRead(),
		with("artifactregistry.repositories", "uploadArtifacts"),
		with("artifactregistry.tags", "create", "update"),
	)
}

func registryAdmin() []string {
	return slices.Concat(registryWrite(),
		with("artifactregistry.repositories", "deleteArtifacts"),
		with("artifactregistry.tags", "delete"),
	)
}

func logging() []string {
	return slices.Concat(with("logging.logEntries", "list"), with("logging.logs", "list"))
}

func accountRead() []string { return with("iam.serviceAccounts", "get", "list") }

func accountUse() []string { return append(accountRead(), "iam.serviceAccounts.actAs") }

// grants tells whether the role has the permission. Basic roles do not have
// those of the token creator: not even an owner can impersonate unasked.
func grants(role, permission string) bool {
	return strings.HasPrefix(role, "roles/") && slices.Contains(permissions(role), permission)
}
