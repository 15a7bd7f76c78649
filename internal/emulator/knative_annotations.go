package emulator

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The namespaces of the v1 API's own annotations and labels.
const (
	runNamespace         = "run.googleapis.com/"
	cloudNamespace       = "cloud.googleapis.com/"
	servingNamespace     = "serving.knative.dev/"
	autoscalingNamespace = "autoscaling.knative.dev/"
	locationLabel        = cloudNamespace + "location"
)

// setting is one annotation of the v1 API and what v2 has a field for instead, in both directions, so that a resource
// that goes out and comes in again is the same.
type setting[M any] struct {
	key string
	get func(M) string // empty for what is not set
	set func(M, string) error
}

// words are the annotations' words for the values of an enumeration.
type words[E comparable] map[E]string

func (w words[E]) value(word string) (E, error) {
	var known []string
	for value, name := range w {
		if strings.EqualFold(name, word) {
			return value, nil
		}
		known = append(known, name)
	}
	var none E
	return none, fmt.Errorf("unsupported value %q: expected one of %s", word, strings.Join(sortedWords(known), ", "))
}

func ingressWords() words[runpb.IngressTraffic] {
	return words[runpb.IngressTraffic]{
		runpb.IngressTraffic_INGRESS_TRAFFIC_ALL:                    "all",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY:          "internal",
		runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER: "internal-and-cloud-load-balancing",
		runpb.IngressTraffic_INGRESS_TRAFFIC_NONE:                   "none",
	}
}

func stageWords() words[api.LaunchStage] {
	return words[api.LaunchStage]{api.LaunchStage_ALPHA: "ALPHA", api.LaunchStage_BETA: "BETA", api.LaunchStage_GA: "GA"}
}

// serviceSettings are the annotations of a service.
func serviceSettings() []setting[*runpb.Service] {
	return append(resourceSettings(), []setting[*runpb.Service]{
		text(runNamespace+"description", func(s *runpb.Service) *string { return &s.Description }),
		choice(runNamespace+"ingress", ingressWords(), func(s *runpb.Service) *runpb.IngressTraffic { return &s.Ingress }),
		flag(runNamespace+"invoker-iam-disabled", func(s *runpb.Service) *bool { return &s.InvokerIamDisabled }),
		flag(runNamespace+"default-url-disabled", func(s *runpb.Service) *bool { return &s.DefaultUriDisabled }),
		flag(runNamespace+"iap-enabled", func(s *runpb.Service) *bool { return &s.IapEnabled }),
		document(runNamespace+"custom-audiences", func(s *runpb.Service) *[]string { return &s.CustomAudiences }),
		number(runNamespace+"minScale", func(s *runpb.Service) *int32 { return &serviceScaling(s).MinInstanceCount }),
		number(runNamespace+"maxScale", func(s *runpb.Service) *int32 { return &serviceScaling(s).MaxInstanceCount }),
		choice(runNamespace+"scalingMode", words[runpb.ServiceScaling_ScalingMode]{
			runpb.ServiceScaling_AUTOMATIC: "automatic", runpb.ServiceScaling_MANUAL: "manual",
		}, func(s *runpb.Service) *runpb.ServiceScaling_ScalingMode { return &serviceScaling(s).ScalingMode }),
		{
			runNamespace + "manualInstanceCount",
			func(s *runpb.Service) string {
				if s.GetScaling() == nil || s.GetScaling().ManualInstanceCount == nil {
					return ""
				}
				return strconv.Itoa(int(s.GetScaling().GetManualInstanceCount()))
			},
			func(s *runpb.Service, v string) error {
				n, err := parseCount(v)
				serviceScaling(s).ManualInstanceCount = &n
				return err
			},
		},
	}...)
}

// resourceSettings are the annotations that services and jobs share.
func resourceSettings() []setting[*runpb.Service] {
	return []setting[*runpb.Service]{
		text(runNamespace+"client-name", func(s *runpb.Service) *string { return &s.Client }),
		text(runNamespace+"client-version", func(s *runpb.Service) *string { return &s.ClientVersion }),
		{
			runNamespace + "launch-stage",
			func(s *runpb.Service) string {
				if s.GetLaunchStage() == api.LaunchStage_GA {
					return ""
				}
				return stageWords()[s.GetLaunchStage()]
			},
			func(s *runpb.Service, v string) (err error) { s.LaunchStage, err = stageWords().value(v); return err },
		},
		{
			runNamespace + "binary-authorization",
			func(s *runpb.Service) string {
				if s.GetBinaryAuthorization().GetUseDefault() {
					return "default"
				}
				return s.GetBinaryAuthorization().GetPolicy()
			},
			func(s *runpb.Service, v string) error {
				b := binaryAuthorization(s)
				b.BinauthzMethod = &runpb.BinaryAuthorization_Policy{Policy: v}
				if v == "default" {
					b.BinauthzMethod = &runpb.BinaryAuthorization_UseDefault{UseDefault: true}
				}
				return nil
			},
		},
		{
			runNamespace + "binary-authorization-breakglass",
			func(s *runpb.Service) string { return s.GetBinaryAuthorization().GetBreakglassJustification() },
			func(s *runpb.Service, v string) error { binaryAuthorization(s).BreakglassJustification = v; return nil },
		},
	}
}

func serviceScaling(s *runpb.Service) *runpb.ServiceScaling {
	if s.Scaling == nil {
		s.Scaling = &runpb.ServiceScaling{}
	}
	return s.Scaling
}

func binaryAuthorization(s *runpb.Service) *runpb.BinaryAuthorization {
	if s.BinaryAuthorization == nil {
		s.BinaryAuthorization = &runpb.BinaryAuthorization{}
	}
	return s.BinaryAuthorization
}

type tmplt = runpb.RevisionTemplate

// templateSettings are the annotations that the templates of services and jobs share.
func templateSettings() []setting[*tmplt] {
	return []setting[*tmplt]{
		choice(runNamespace+"execution-environment", words[runpb.ExecutionEnvironment]{
			runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1: "gen1",
			runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2: "gen2",
		}, func(t *tmplt) *runpb.ExecutionEnvironment { return &t.ExecutionEnvironment }),
		text(runNamespace+"encryption-key", func(t *tmplt) *string { return &t.EncryptionKey }),
		text(runNamespace+"vpc-access-connector", func(t *tmplt) *string { return &vpcAccess(t).Connector }),
		choice(runNamespace+"vpc-access-egress", words[runpb.VpcAccess_VpcEgress]{
			runpb.VpcAccess_ALL_TRAFFIC: "all-traffic", runpb.VpcAccess_PRIVATE_RANGES_ONLY: "private-ranges-only",
		}, func(t *tmplt) *runpb.VpcAccess_VpcEgress { return &vpcAccess(t).Egress }),
		{runNamespace + "network-interfaces", networkInterfaces, setNetworkInterfaces},
		{runNamespace + "cloudsql-instances", cloudSQLInstances, setCloudSQLInstances},
		{runNamespace + "container-dependencies", containerDependencies, setContainerDependencies},
		{
			runNamespace + "gpu-zonal-redundancy-disabled",
			func(t *tmplt) string {
				if t.GpuZonalRedundancyDisabled == nil {
					return ""
				}
				return strconv.FormatBool(t.GetGpuZonalRedundancyDisabled())
			},
			func(t *tmplt, v string) error { b, err := parseFlag(v); t.GpuZonalRedundancyDisabled = &b; return err },
		},
	}
}

// revisionSettings are the annotations of a service's template and of its revisions.
func revisionSettings() []setting[*tmplt] {
	return append(templateSettings(), []setting[*tmplt]{
		number(autoscalingNamespace+"minScale", func(t *tmplt) *int32 { return &revisionScaling(t).MinInstanceCount }),
		number(autoscalingNamespace+"maxScale", func(t *tmplt) *int32 { return &revisionScaling(t).MaxInstanceCount }),
		flag(runNamespace+"sessionAffinity", func(t *tmplt) *bool { return &t.SessionAffinity }),
		flag(runNamespace+"health-check-disabled", func(t *tmplt) *bool { return &t.HealthCheckDisabled }),
		{
			runNamespace + "mesh",
			func(t *tmplt) string { return t.GetServiceMesh().GetMesh() },
			func(t *tmplt, v string) error { t.ServiceMesh = &runpb.ServiceMesh{Mesh: v}; return nil },
		},
		choice(runNamespace+"post-key-revocation-action-type", words[runpb.EncryptionKeyRevocationAction]{
			runpb.EncryptionKeyRevocationAction_PREVENT_NEW: "prevent-new", runpb.EncryptionKeyRevocationAction_SHUTDOWN: "shut-down",
		}, func(t *tmplt) *runpb.EncryptionKeyRevocationAction { return &t.EncryptionKeyRevocationAction }),
		{
			runNamespace + "encryption-key-shutdown-hours",
			func(t *tmplt) string {
				if t.GetEncryptionKeyShutdownDuration() == nil {
					return ""
				}
				return strconv.Itoa(int(t.GetEncryptionKeyShutdownDuration().AsDuration() / time.Hour))
			},
			func(t *tmplt, v string) error {
				n, err := parseCount(v)
				t.EncryptionKeyShutdownDuration = durationpb.New(time.Duration(n) * time.Hour)
				return err
			},
		},
		{runNamespace + "cpu-throttling", cpuThrottling, setCPUThrottling},
		{runNamespace + "startup-cpu-boost", cpuBoost, setCPUBoost},
		{runNamespace + "base-images", baseImages, setBaseImages},
	}...)
}

func revisionScaling(t *tmplt) *runpb.RevisionScaling {
	if t.Scaling == nil {
		t.Scaling = &runpb.RevisionScaling{}
	}
	return t.Scaling
}

func vpcAccess(t *tmplt) *runpb.VpcAccess {
	if t.VpcAccess == nil {
		t.VpcAccess = &runpb.VpcAccess{}
	}
	return t.VpcAccess
}

// text, flag, number, choice and document make settings of a field of that type; the zero value is what is not set.
func text[M any](key string, field func(M) *string) setting[M] {
	return setting[M]{key, func(m M) string { return *field(m) }, func(m M, v string) error { *field(m) = v; return nil }}
}

func flag[M any](key string, field func(M) *bool) setting[M] {
	return setting[M]{key, func(m M) string {
		if !*field(m) {
			return ""
		}
		return "true"
	}, func(m M, v string) (err error) { *field(m), err = parseFlag(v); return err }}
}

func number[M any](key string, field func(M) *int32) setting[M] {
	return setting[M]{key, func(m M) string {
		if *field(m) == 0 {
			return ""
		}
		return strconv.Itoa(int(*field(m)))
	}, func(m M, v string) (err error) { *field(m), err = parseCount(v); return err }}
}

func choice[M any, E comparable](key string, w words[E], field func(M) *E) setting[M] {
	return setting[M]{
		key, func(m M) string { return w[*field(m)] },
		func(m M, v string) (err error) { *field(m), err = w.value(v); return err },
	}
}

func document[M any](key string, field func(M) *[]string) setting[M] {
	return setting[M]{key, func(m M) string {
		if len(*field(m)) == 0 {
			return ""
		}
		return asJSON(*field(m))
	}, func(m M, v string) error { return fromJSON(v, field(m)) }}
}

func parseFlag(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("unsupported value %q: expected true or false", v)
	}
	return b, nil
}

func parseCount(v string) (int32, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("unsupported value %q: expected a number", v)
	}
	return int32(n), nil
}

func fromJSON(v string, into any) error {
	if err := json.Unmarshal([]byte(v), into); err != nil {
		return fmt.Errorf("unsupported value %q: expected a JSON document", v)
	}
	return nil
}

// asJSON is a value of strings, lists and maps in JSON, which cannot fail.
func asJSON(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}
