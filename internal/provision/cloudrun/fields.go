package cloudrun

// Decision is what becomes of a field of the service in its twin.
type Decision string

// Decisions.
const (
	Copied  Decision = "copied"
	Changed Decision = "changed"
	Dropped Decision = "dropped"
)

// rule is the decision about one field, and the reason.
type rule struct {
	decision Decision
	why      string
}

const (
	outputOnly = "the platform writes it"
	other      = "it belongs to the other resource"
)

// fieldRules is the allow-list: every field of every message that a service consists of, by message and field name. A
// field that is not in it is not copied, and a test fails when the library knows one that is not here: a new field may
// be what makes a twin public or run in ten regions.
func fieldRules() map[string]map[string]rule {
	return map[string]map[string]rule{
		"Service":                       serviceRules(),
		"RevisionTemplate":              templateRules(),
		"Container":                     containerRules(),
		"Volume":                        volumeRules(),
		"BinaryAuthorization":           binaryAuthorizationRules(),
		"VpcAccess":                     vpcRules(),
		"ResourceRequirements":          resourceRules(),
		"NFSVolumeSource":               nfsRules(),
		"GCSVolumeSource":               gcsRules(),
		"VpcAccess.NetworkInterface":    all("network", "subnetwork", "tags"),
		"VolumeMount":                   all("name", "mount_path", "sub_path"),
		"EnvVar":                        all("name", "value", "value_source"),
		"EnvVarSource":                  all("secret_key_ref"),
		"SecretKeySelector":             all("secret", "version"),
		"SourceCode":                    all("cloud_storage_source"),
		"SourceCode.CloudStorageSource": all("bucket", "object", "generation"),
		"SecretVolumeSource":            all("secret", "items", "default_mode"),
		"VersionToPath":                 all("path", "version", "mode"),
		"CloudSqlInstance":              all("instances"),
		"EmptyDirVolumeSource":          all("medium", "size_limit"),
		"Probe":                         all("initial_delay_seconds", "timeout_seconds", "period_seconds", "failure_threshold", "http_get", "tcp_socket", "grpc"),
		"HTTPGetAction":                 all("path", "http_headers", "port"),
		"HTTPHeader":                    all("name", "value"),
		"TCPSocketAction":               all("port"),
		"GRPCAction":                    all("port", "service"),
	}
}

// all copies the fields named.
func all(fields ...string) map[string]rule {
	m := make(map[string]rule, len(fields))
	for _, f := range fields {
		m[f] = rule{Copied, "as in the service"}
	}
	return m
}

func serviceRules() map[string]rule {
	m := map[string]rule{
		"name":                  {Dropped, "the twin has its own"},
		"description":           {Changed, "says whose twin it is"},
		"etag":                  {Dropped, other},
		"labels":                {Changed, "the service's own without reserved ones and those of tools, and the lease"},
		"annotations":           {Changed, "the lease; the service's may hold the state of tools"},
		"client":                {Changed, "cloudssh"},
		"client_version":        {Changed, "cloudssh's"},
		"ingress":               {Changed, "ALL: the way in is the run.app address"},
		"launch_stage":          {Copied, "a preview feature needs its stage"},
		"binary_authorization":  {Copied, "an organisation's policy may require it"},
		"template":              {Changed, "made from the revision that runs"},
		"traffic":               {Dropped, "it names revisions of the service; without it all goes to the newest"},
		"scaling":               {Changed, "automatic, none to one instance, or one always when asked for"},
		"invoker_iam_disabled":  {Changed, "false: a twin is never public"},
		"default_uri_disabled":  {Changed, "false: the way in is the run.app address"},
		"iap_enabled":           {Changed, "false: IAP would come before IAM, with an audience and a policy of its own"},
		"multi_region_settings": {Dropped, "a twin is in one region"},
		"custom_audiences":      {Dropped, "the address is the audience"},
		"build_config":          {Dropped, "a twin is not built"},
	}
	for _, f := range []string{
		"uid", "generation", "create_time", "update_time", "delete_time", "expire_time", "creator", "last_modifier",
		"observed_generation", "terminal_condition", "conditions", "latest_ready_revision", "latest_created_revision",
		"traffic_statuses", "urls", "uri", "satisfies_pzs", "threat_detection_enabled", "reconciling",
	} {
		m[f] = rule{Dropped, outputOnly}
	}
	return m
}

func templateRules() map[string]rule {
	return map[string]rule{
		"revision":                         {Dropped, "a revision's name is unique and begins with its service's"},
		"labels":                           {Changed, "as the service's; billing and logging read the template's"},
		"annotations":                      {Dropped, "they may hold the state of tools, and reserved ones are refused"},
		"scaling":                          {Changed, "none to one instance"},
		"vpc_access":                       {Copied, "databases are there"},
		"timeout":                          {Changed, "3600s: it is the life of the connection"},
		"service_account":                  {Copied, "or the one asked for"},
		"containers":                       {Changed, "each by the rules for containers"},
		"volumes":                          {Changed, "each by the rules for volumes"},
		"execution_environment":            {Copied, "the same system calls as in the service"},
		"encryption_key":                   {Copied, "an organisation's policy may require it"},
		"max_instance_request_concurrency": {Changed, "80: with 1 the first connection would shut out the second"},
		"service_mesh":                     {Dropped, "the twin would join the mesh"},
		"encryption_key_revocation_action": {Copied, "goes with the key"},
		"encryption_key_shutdown_duration": {Copied, "goes with the key"},
		"session_affinity":                 {Copied, "of no matter with one instance"},
		"health_check_disabled":            {Changed, "false: the check makes failures known, with their reason"},
		"node_selector":                    {Dropped, "a GPU has its quota and its price"},
		"gpu_zonal_redundancy_disabled":    {Dropped, "goes with the GPU"},
	}
}

func containerRules() map[string]rule {
	return map[string]rule{
		"name":            {Copied, "named when it has none"},
		"image":           {Changed, "by digest; with the agent in the container that takes requests"},
		"source_code":     {Copied, "of a deployment without a build"},
		"command":         {Changed, "the agent, which knows the original"},
		"args":            {Changed, "none; the agent knows the original"},
		"env":             {Changed, "as in the service, without what the platform sets; the agent's configuration"},
		"resources":       {Changed, "by the rules for resources"},
		"ports":           {Changed, "the same port, explicit, HTTP/1: WebSockets need that"},
		"volume_mounts":   {Copied, "as in the service"},
		"working_dir":     {Copied, "as in the service"},
		"liveness_probe":  {Dropped, "it asks the application, which is not started, and would end the shell"},
		"startup_probe":   {Changed, "asks the agent; a sidecar keeps its own, which others wait for"},
		"readiness_probe": {Dropped, "it asks the application, which is not started"},
		"depends_on":      {Copied, "as in the service"},
		"base_image_uri":  {Dropped, "it would replace the image's base"},
		"build_info":      {Dropped, outputOnly},
	}
}

func resourceRules() map[string]rule {
	return map[string]rule{
		"limits":            {Changed, "at least one CPU and 512 MiB, which CPU without interruption needs; no GPU"},
		"cpu_idle":          {Changed, "false: the shell runs between requests too"},
		"startup_cpu_boost": {Copied, "as in the service"},
	}
}

func volumeRules() map[string]rule {
	return all("name", "secret", "cloud_sql_instance", "empty_dir", "nfs", "gcs")
}

func nfsRules() map[string]rule {
	m := all("server", "path")
	m["read_only"] = rule{Changed, "true: it holds the service's data"}
	return m
}

func gcsRules() map[string]rule {
	m := all("bucket", "mount_options")
	m["read_only"] = rule{Changed, "true: it holds the service's data"}
	return m
}

func binaryAuthorizationRules() map[string]rule {
	m := all("use_default", "policy")
	m["breakglass_justification"] = rule{Dropped, "whoever breaks the glass gives the reason"}
	return m
}

func vpcRules() map[string]rule {
	m := all("egress", "network_interfaces")
	m["connector"] = rule{Changed, "in full: the platform may return a short name, and does not take it back"}
	return m
}
