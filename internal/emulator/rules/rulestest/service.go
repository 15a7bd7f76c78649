package rulestest

import (
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/types/known/durationpb"
)

func services() []Rejection {
	const field = "service_id"
	all := []Rejection{
		{Name: "id of 50 characters", ID: strings.Repeat("a", 50), Field: field},
		{Name: "id with an upper-case letter", ID: "Hello", Field: field},
		{Name: "id beginning with a digit", ID: "1hello", Field: field},
		{Name: "id ending with a hyphen", ID: "hello-", Field: field},
		{Name: "id with an underscore", ID: "hel_lo", Field: field},
		{Name: "description of 513 characters", Field: "service.description", Edit: onService(func(s svc) { s.Description = strings.Repeat("x", 513) })},
		{Name: "breakglass without a policy", Field: "service.binary_authorization.breakglass_justification", Edit: onService(func(s svc) {
			s.BinaryAuthorization = &runpb.BinaryAuthorization{BreakglassJustification: "fire"}
		})},
		{Name: "preview feature in a GA service", Field: "launch_stage", Edit: func(s svc, t tmpl, _ box) {
			s.LaunchStage, t.ServiceMesh = api.LaunchStage_GA, &runpb.ServiceMesh{Mesh: "projects/p/locations/global/meshes/m"}
		}},
		{Name: "traffic to another service's revision", Field: "traffic[0].revision", Edit: onService(func(s svc) {
			s.Traffic = []*runpb.TrafficTarget{{
				Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION, Revision: "other-00001-abc", Percent: 100,
			}}
		})},
		{Name: "traffic that is not all", Field: "service.traffic", Edit: onService(func(s svc) {
			s.Traffic = []*runpb.TrafficTarget{{
				Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, Percent: 99,
			}}
		})},
	}
	return append(all, labels()...)
}

func labels() []Rejection {
	label := func(name, key, value string) Rejection {
		return Rejection{Name: name, Field: "service.labels", Edit: onService(func(s svc) { s.Labels = map[string]string{key: value} })}
	}
	all := []Rejection{
		label("label key of 64 characters", strings.Repeat("a", 64), ""),
		label("label value of 64 characters", "a", strings.Repeat("b", 64)),
		label("label key in upper case", "Owner", ""),
		label("label value that is an e-mail address", "owner", "me@example.com"),
		{Name: "65 labels", Field: "service.labels", Edit: onService(func(s svc) {
			s.Labels = map[string]string{}
			for i := range 65 {
				s.Labels[fmt.Sprintf("k%d", i)] = ""
			}
		})},
	}
	for _, ns := range reserved() {
		one := map[string]string{ns + "/x": "y"}
		all = append(all,
			Rejection{Name: "label of " + ns, Field: "service.labels", Edit: onService(func(s svc) { s.Labels = one })},
			Rejection{Name: "annotation of " + ns, Field: "service.annotations", Edit: onService(func(s svc) { s.Annotations = one })},
			Rejection{Name: "revision's label of " + ns, Field: "service.template.labels", Edit: onTemplate(func(t tmpl) { t.Labels = one })},
			Rejection{Name: "revision's annotation of " + ns, Field: "service.template.annotations", Edit: onTemplate(func(t tmpl) { t.Annotations = one })})
	}
	return all
}

func templates() []Rejection {
	return []Rejection{
		{Name: "revision of another service", Field: "template.revision", Edit: onTemplate(func(t tmpl) { t.Revision = "other-v1" })},
		{Name: "timeout over an hour", Field: "service.template.timeout", Edit: onTemplate(func(t tmpl) { t.Timeout = durationpb.New(3601 * time.Second) })},
		{Name: "timeout of nothing", Field: "service.template.timeout", Edit: onTemplate(func(t tmpl) { t.Timeout = durationpb.New(0) })},
		{Name: "concurrency over 1000", Field: "service.template.max_instance_request_concurrency", Edit: onTemplate(func(t tmpl) {
			t.MaxInstanceRequestConcurrency = 1001
		})},
		{Name: "minimum over maximum", Field: "template.scaling.min_instance_count", Edit: onTemplate(func(t tmpl) {
			t.Scaling = &runpb.RevisionScaling{MinInstanceCount: 2, MaxInstanceCount: 1}
		})},
		{Name: "key by a short name", Field: "service.template.encryption_key", Edit: onTemplate(func(t tmpl) { t.EncryptionKey = "key" })},
		{Name: "shutdown of half an hour", Field: "service.template.encryption_key_shutdown_duration", Edit: onTemplate(func(t tmpl) {
			t.EncryptionKey = "projects/p/locations/r/keyRings/k/cryptoKeys/c"
			t.EncryptionKeyRevocationAction = runpb.EncryptionKeyRevocationAction_SHUTDOWN
			t.EncryptionKeyShutdownDuration = durationpb.New(30 * time.Minute)
		})},
		{Name: "service account that is no address", Field: "service.template.service_account", Edit: onTemplate(func(t tmpl) { t.ServiceAccount = "runner" })},
		{Name: "unknown execution environment", Field: "service.template.execution_environment", Edit: onTemplate(func(t tmpl) { t.ExecutionEnvironment = 9 })},
	}
}

func networks() []Rejection {
	const connector = "projects/p/locations/r/connectors/c"
	vpc := func(name string, v *runpb.VpcAccess) Rejection {
		return Rejection{Name: name, Field: "service.template.vpc_access.connector", Edit: onTemplate(func(t tmpl) { t.VpcAccess = v })}
	}
	return []Rejection{
		vpc("egress without a network", &runpb.VpcAccess{Egress: runpb.VpcAccess_ALL_TRAFFIC}),
		vpc("connector and network", &runpb.VpcAccess{
			Connector: connector, NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{Network: "default"}},
		}),
		vpc("connector by its short name", &runpb.VpcAccess{Connector: "c"}),
		{Name: "interface without a network", Field: "service.template.vpc_access.network_interfaces[0]", Edit: onTemplate(func(t tmpl) {
			t.VpcAccess = &runpb.VpcAccess{NetworkInterfaces: []*runpb.VpcAccess_NetworkInterface{{Tags: []string{"t"}}}}
		})},
	}
}
