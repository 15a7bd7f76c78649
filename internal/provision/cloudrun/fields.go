package cloudrun

import (
	"maps"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// rule is the decision about one field, and the reason.
type rule struct {
	decision provision.Decision
	why      string
}

// tables are rules by message and field name.
type tables map[string]map[string]rule

// with is a copy in which one message has other rules for some fields.
func (t tables) with(message string, rules map[string]rule) tables {
	all := maps.Clone(t)
	all[message] = maps.Clone(t[message])
	maps.Copy(all[message], rules)
	return all
}

const (
	asThere    = "as in the service"
	outputOnly = "the platform writes it"
	identity   = "the twin has its own"
	gpuDropped = "a GPU has its quota and its price; --gpu keeps it"
)

// fieldRules is the allow-list: every field of every message that a service consists of, for a twin of which nothing else
// is asked. A field that is not in it is not copied, and a test fails when the library knows one that is not here: a new
// field may be what makes a twin public or run in ten regions.
func fieldRules() tables {
	return tables{
		"Service":                       serviceRules(),
		"RevisionTemplate":              templateRules(),
		"Container":                     containerRules(),
		"Volume":                        volumeRules(),
		"ServiceScaling":                serviceScalingRules(),
		"RevisionScaling":               revisionScalingRules(),
		"NodeSelector":                  all("accelerator"),
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
		m[f] = rule{provision.Copy, asThere}
	}
	return m
}

func serviceRules() map[string]rule {
	m := map[string]rule{
		"name":                  {provision.Drop, identity},
		"description":           {provision.Change, "says whose twin it is"},
		"etag":                  {provision.Drop, identity},
		"labels":                {provision.Change, "the service's own without reserved ones and those of tools, and the lease"},
		"annotations":           {provision.Change, "the lease; the service's may hold the state of tools"},
		"client":                {provision.Change, "cloudssh"},
		"client_version":        {provision.Change, "cloudssh's"},
		"ingress":               {provision.Change, "ALL: the way in is the run.app address"},
		"launch_stage":          {provision.Copy, "a preview feature needs its stage"},
		"binary_authorization":  {provision.Copy, "an organisation's policy may require it"},
		"template":              {provision.Change, "made from the revision that runs"},
		"traffic":               {provision.Drop, "it names revisions of the service; without it all goes to the newest"},
		"scaling":               {provision.Change, "automatic, none to one instance, or one always when asked for"},
		"invoker_iam_disabled":  {provision.Change, "false: a twin is never public"},
		"default_uri_disabled":  {provision.Change, "false: the way in is the run.app address"},
		"iap_enabled":           {provision.Change, "false: IAP would come before IAM, with an audience and a policy of its own"},
		"multi_region_settings": {provision.Drop, "a twin is in one region"},
		"custom_audiences":      {provision.Drop, "the address is the audience"},
		"build_config":          {provision.Drop, "a twin is not built"},
	}
	for _, f := range []string{
		"uid", "generation", "create_time", "update_time", "delete_time", "expire_time", "creator", "last_modifier",
		"observed_generation", "terminal_condition", "conditions", "latest_ready_revision", "latest_created_revision",
		"traffic_statuses", "urls", "uri", "satisfies_pzs", "threat_detection_enabled", "reconciling",
	} {
		m[f] = rule{provision.Drop, outputOnly}
	}
	return m
}

func templateRules() map[string]rule {
	return map[string]rule{
		"revision":                         {provision.Drop, "a revision's name is unique and begins with its service's"},
		"labels":                           {provision.Change, "as the service's; billing and logging read the template's"},
		"annotations":                      {provision.Drop, "they may hold the state of tools, and reserved ones are refused"},
		"scaling":                          {provision.Change, "none to one instance"},
		"vpc_access":                       {provision.Copy, "databases are there"},
		"timeout":                          {provision.Change, "3600s: it is the life of the connection"},
		"service_account":                  {provision.Copy, "or the one asked for"},
		"containers":                       {provision.Change, "each by the rules for containers"},
		"volumes":                          {provision.Change, "each by the rules for volumes"},
		"execution_environment":            {provision.Copy, "the same system calls as in the service"},
		"encryption_key":                   {provision.Copy, "an organisation's policy may require it"},
		"max_instance_request_concurrency": {provision.Change, "80: with 1 the first connection would shut out the second"},
		"service_mesh":                     {provision.Drop, "the twin would join the mesh"},
		"encryption_key_revocation_action": {provision.Copy, "goes with the key"},
		"encryption_key_shutdown_duration": {provision.Copy, "goes with the key"},
		"session_affinity":                 {provision.Copy, "of no matter with one instance"},
		"health_check_disabled":            {provision.Change, "false: the check makes failures known, with their reason"},
		"node_selector":                    {provision.Drop, gpuDropped},
		"gpu_zonal_redundancy_disabled":    {provision.Drop, "goes with the GPU"},
	}
}

func containerRules() map[string]rule {
	return map[string]rule{
		"name":            {provision.Copy, "named when it has none"},
		"image":           {provision.Change, "by digest; with the agent in the container that takes requests"},
		"source_code":     {provision.Copy, "of a deployment without a build"},
		"command":         {provision.Change, "the agent, which knows the original"},
		"args":            {provision.Change, "none; the agent knows the original"},
		"env":             {provision.Change, "as in the service, without what the platform sets; the agent's configuration"},
		"resources":       {provision.Change, "by the rules for resources"},
		"ports":           {provision.Change, "the same port, explicit, HTTP/1: WebSockets need that"},
		"volume_mounts":   {provision.Copy, "as in the service"},
		"working_dir":     {provision.Copy, "as in the service"},
		"liveness_probe":  {provision.Drop, "it asks the application, which is not started, and would end the shell"},
		"startup_probe":   {provision.Change, "asks the agent; a sidecar keeps its own, which others wait for"},
		"readiness_probe": {provision.Drop, "it asks the application, which is not started"},
		"depends_on":      {provision.Copy, "as in the service"},
		"base_image_uri":  {provision.Drop, "it would replace the image's base"},
		"build_info":      {provision.Drop, outputOnly},
	}
}

func serviceScalingRules() map[string]rule {
	return map[string]rule{
		"scaling_mode":          {provision.Change, "automatic: with a count by hand it may be none, and out of reach"},
		"min_instance_count":    {provision.Change, "none, or one when asked for"},
		"max_instance_count":    {provision.Change, "one: a session is in one instance"},
		"manual_instance_count": {provision.Drop, "goes with scaling by hand"},
	}
}

func revisionScalingRules() map[string]rule {
	return map[string]rule{
		"min_instance_count": {provision.Change, "none: the service's counts"},
		"max_instance_count": {provision.Change, "one: a session is in one instance"},
	}
}

// otherContainerRules are for the containers that are not entered: they run as they are, as far as the platform lets them.
func otherContainerRules() map[string]rule {
	return map[string]rule{
		"image":         {provision.Change, "by digest"},
		"command":       {provision.Copy, asThere},
		"args":          {provision.Copy, asThere},
		"env":           {provision.Change, "as in the service, without what the platform sets"},
		"ports":         {provision.Drop, "the container that is entered takes the requests"},
		"startup_probe": {provision.Copy, "others wait for it"},
	}
}

// demotedRules are for the container that takes requests in the service, when another is entered and nobody waits for it.
func demotedRules() map[string]rule {
	return map[string]rule{
		"startup_probe": {provision.Drop, "nobody waits for it, and the twin is to come up even if it does not"},
	}
}

// gpuRules keep the GPU.
func (t tables) gpu() tables {
	kept := rule{provision.Copy, "asked for with --gpu"}
	return t.with("RevisionTemplate", map[string]rule{"node_selector": kept, "gpu_zonal_redundancy_disabled": kept}).
		with("ResourceRequirements", map[string]rule{"limits." + gpuLimit: kept})
}

// asked are the rules for what a spec asks for.
func (t tables) asked(spec Spec) tables {
	if spec.GPU {
		t = t.gpu()
	}
	if spec.WritableVolumes {
		kept := map[string]rule{"read_only": {provision.Copy, "as in the service, with --writable-volumes"}}
		t = t.with("NFSVolumeSource", kept).with("GCSVolumeSource", kept)
	}
	o, template := spec.Overrides, map[string]rule{}
	if o.ServiceAccount != "" {
		template["service_account"] = rule{provision.Change, "--service-account"}
	}
	if o.ExecutionEnvironment != "" {
		template["execution_environment"] = rule{provision.Change, "--execution-environment"}
	}
	if o.Timeout != 0 {
		template["timeout"] = rule{provision.Change, "--timeout"}
	}
	if o.VPCEgress != "" {
		t = t.with("VpcAccess", map[string]rule{"egress": {provision.Change, "--vpc-egress"}})
	}
	return t.with("RevisionTemplate", template)
}

// enteredBy are the rules for the container that is entered, by how the agent gets in and what is asked for.
func (t tables) enteredBy(spec Spec) tables {
	c := map[string]rule{}
	if spec.Inject == provision.InjectSidecar || spec.Inject == provision.InjectNone {
		c["image"] = rule{provision.Change, "by digest"}
	}
	if spec.Inject == provision.InjectSidecar {
		c["volume_mounts"] = rule{provision.Change, "as in the service, and the volume with the agent"}
		c["depends_on"] = rule{provision.Change, "as in the service, and the container that brings the agent"}
	}
	if len(spec.Overrides.Secrets) > 0 {
		c["volume_mounts"] = rule{provision.Change, "--set-secrets, which replaces all secrets"}
	}
	limits := map[string]rule{}
	if spec.Overrides.CPU != "" {
		limits["limits.cpu"] = rule{provision.Change, "--cpu"}
	}
	if spec.Overrides.Memory != "" {
		limits["limits.memory"] = rule{provision.Change, "--memory"}
	}
	return t.with("Container", c).with("ResourceRequirements", limits)
}

// others are the rules for the containers that are not entered.
func (t tables) others() tables {
	kept := rule{provision.Copy, asThere}
	return t.with("Container", otherContainerRules()).
		with("ResourceRequirements", map[string]rule{"limits.cpu": kept, "limits.memory": kept})
}

// beyond are fields of the platform that this version's library cannot carry, so that a twin never has them. They stand
// here because they are part of the answer to what becomes of a service.
func beyond() map[string]rule {
	preview := rule{provision.Drop, "a preview feature that this version does not carry"}
	bound := rule{provision.Drop, "an identity may be bound to the service"}
	return map[string]rule{
		"ssh_enabled":                               {provision.Drop, "Google's own ssh would open the twin too, and policies may forbid it"},
		"functional_type":                           {provision.Drop, "it registers the service with others"},
		"template.client":                           {provision.Drop, "the one beside the name says who made the twin"},
		"template.client_version":                   {provision.Drop, "the one beside the name says who made the twin"},
		"template.scaling.concurrency_utilization":  {provision.Drop, "of no use with one instance"},
		"template.scaling.cpu_utilization":          {provision.Drop, "of no use with one instance"},
		"template.sandboxes":                        preview,
		"template.ambient_networking":               preview,
		"template.workload_identity_config":         bound,
		"template.containers.NAME.sandbox_launcher": preview,
	}
}

func resourceRules() map[string]rule {
	return map[string]rule{
		"limits":             {provision.Change, "as the twin needs them"},
		"limits.cpu":         {provision.Change, "at least one CPU, which more than one request at a time needs"},
		"limits.memory":      {provision.Change, "at least 512 MiB, which CPU without interruption needs"},
		"limits." + gpuLimit: {provision.Drop, gpuDropped},
		"cpu_idle":           {provision.Change, "false: the shell runs between requests too"},
		"startup_cpu_boost":  {provision.Copy, asThere},
	}
}

func volumeRules() map[string]rule {
	return all("name", "secret", "cloud_sql_instance", "empty_dir", "nfs", "gcs")
}

func nfsRules() map[string]rule {
	m := all("server", "path")
	m["read_only"] = rule{provision.Change, "true: it holds the service's data; --writable-volumes keeps it as it is"}
	return m
}

func gcsRules() map[string]rule {
	m := all("bucket", "mount_options")
	m["read_only"] = rule{provision.Change, "true: it holds the service's data; --writable-volumes keeps it as it is"}
	return m
}

func binaryAuthorizationRules() map[string]rule {
	m := all("use_default", "policy")
	m["breakglass_justification"] = rule{provision.Drop, "whoever breaks the glass gives the reason"}
	return m
}

func vpcRules() map[string]rule {
	m := all("egress", "network_interfaces")
	m["connector"] = rule{provision.Change, "in full: the platform may return a short name, and does not take it back"}
	return m
}
