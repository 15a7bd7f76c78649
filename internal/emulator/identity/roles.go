package identity

import (
	"slices"
	"strings"
)

// permissions of the role, narrowed to the permissions that are named in this
// file. The sets are those of the predefined roles on 2026-08-22:
// github:iann0036/iam-dataset, commit 2073fa52ac008a45477aa0b1b4580cd99135bf60,
// gcp/roles/*.json.
func permissions(role string) []string {
	switch role {
	case "roles/owner":
		return slices.Concat(runAll(), registryAdmin(), logging(), accountUse(), secretRead(), projectView(), secretView(), usageAdmin(),
			with("resourcemanager.projects", "setIamPolicy"), with("iam.serviceAccounts", "setIamPolicy"),
			with("secretmanager.secrets", "setIamPolicy"), with("artifactregistry.repositories", "setIamPolicy"))
	case "roles/editor":
		return slices.Concat(runDevelop(), registryAdmin(), logging(), accountUse(), projectView(), secretView(), usageAdmin())
	case "roles/viewer":
		return slices.Concat(runRead(), registryRead(), logging(), accountRead(), projectView(), secretView(), usageRead())
	case "roles/run.admin":
		return runAll()
	case "roles/run.developer":
		return runDevelop()
	case "roles/run.sourceDeveloper":
		return slices.Concat(runDevelop(), registryRead(), usageUse(), []string{permissionPolicy})
	case "roles/run.viewer":
		return runRead()
	case "roles/run.invoker":
		return []string{"run.routes.invoke", "run.jobs.run"}
	case "roles/run.servicesInvoker":
		return with("run.routes", "invoke")
	case "roles/run.jobsExecutor":
		return []string{"run.jobs.run", "run.executions.cancel"}
	}
	return supporting(role)
}

// supporting is permissions for the roles that are neither basic nor Cloud Run's.
func supporting(role string) []string {
	switch role {
	case "roles/browser":
		return append(projectRead(), "resourcemanager.projects.getIamPolicy")
	case "roles/orgpolicy.policyViewer":
		return []string{permissionPolicy}
	case "roles/serviceusage.serviceUsageViewer":
		return usageRead()
	case "roles/serviceusage.serviceUsageConsumer":
		return usageUse()
	case "roles/serviceusage.serviceUsageAdmin":
		return usageAdmin()
	case "roles/secretmanager.viewer":
		return append(secretView(), projectRead()...)
	case "roles/iam.serviceAccountUser":
		return append(accountUse(), projectRead()...)
	case "roles/iam.serviceAccountTokenCreator":
		return slices.Concat(accountRead(), projectRead(), []string{permissionAccessToken, permissionIDToken},
			with("iam.serviceAccounts", "implicitDelegation", "signBlob", "signJwt"))
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
	case "roles/secretmanager.secretAccessor":
		return append(secretRead(), projectRead()...)
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
		with("run.jobs", "get", "list", "getIamPolicy"),
		with("run.executions", "get", "list"),
		with("run.tasks", "get", "list"),
		with("run.workerpools", "get", "list", "getIamPolicy"),
		with("run.locations", "list"),
		projectRead(),
	)
}

func runDevelop() []string {
	return slices.Concat(runRead(),
		with("run.services", "create", "update", "delete"),
		with("run.jobs", "create", "update", "delete", "run", "runWithOverrides"),
		with("run.executions", "cancel", "delete"),
		with("run.workerpools", "create", "update", "delete"),
		with("run.revisions", "delete"),
		with("run.operations", "delete"),
		with("run.routes", "invoke"),
	)
}

func runAll() []string {
	return append(runDevelop(), "run.services.setIamPolicy", "run.jobs.setIamPolicy", "run.workerpools.setIamPolicy")
}

func registryRead() []string {
	return slices.Concat(
		with("artifactregistry.repositories", "downloadArtifacts", "get", "list"),
		with("artifactregistry.tags", "get", "list"),
		projectRead(),
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
	return slices.Concat(with("logging.logEntries", "list"), with("logging.logs", "list"), projectRead())
}

// secretRead is what neither an editor nor a viewer has.
func secretRead() []string { return with("secretmanager.versions", "access") }

func projectRead() []string { return with("resourcemanager.projects", "get") }

func accountRead() []string { return with("iam.serviceAccounts", "get", "list") }

// permissionPolicy is the one to read organisation policies.
const permissionPolicy = "orgpolicy.policy.get"

// projectView is what who may see a whole project sees of its own policies.
func projectView() []string {
	return []string{
		"resourcemanager.projects.getIamPolicy", "iam.serviceAccounts.getIamPolicy", "artifactregistry.repositories.getIamPolicy", permissionPolicy,
	}
}

func secretView() []string {
	return append(with("secretmanager.secrets", "get", "list", "getIamPolicy"), "secretmanager.versions.get")
}

func usageRead() []string { return with("serviceusage.services", "get", "list") }

func usageAdmin() []string {
	return append(usageUse(), with("serviceusage.services", "enable", "disable")...)
}

func usageUse() []string { return append(usageRead(), "serviceusage.services.use") }

func accountUse() []string { return append(accountRead(), "iam.serviceAccounts.actAs") }

// grants tells whether the role has the permission. Basic roles do not have
// those of the token creator: not even an owner can impersonate unasked.
func grants(role, permission string) bool {
	return strings.HasPrefix(role, "roles/") && slices.Contains(permissions(role), permission)
}
