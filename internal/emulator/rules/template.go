package rules

import (
	"fmt"
	"regexp"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	maxTimeout     = time.Hour
	maxConcurrency = 1000
	maxContainers  = 10
)

var (
	connectorName = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/connectors/[^/]+$`)
	keyName       = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)
)

func index(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func (c *checker) template(id string, t *runpb.RevisionTemplate) {
	c.revisionName(id, t.GetRevision())
	c.labels("template.labels", t.GetLabels())
	c.annotations("template.annotations", t.GetAnnotations(), nil)
	c.instances("template.scaling", t.GetScaling().GetMinInstanceCount(), t.GetScaling().GetMaxInstanceCount())
	enum(c, "template.execution_environment", t.GetExecutionEnvironment(), runpb.ExecutionEnvironment_name)
	c.timeout(t)
	if n := t.GetMaxInstanceRequestConcurrency(); n < 0 || n > maxConcurrency {
		c.malformed("template.max_instance_request_concurrency", "should be between 0 and %d.", maxConcurrency)
	}
	if a := t.GetServiceAccount(); a != "" && !emailSyntax.MatchString(a) {
		c.malformed("template.service_account", "should be the email address of a service account.")
	}
	c.vpcAccess(t.GetVpcAccess())
	c.encryption(t)
	c.volumes(t)
	c.containers(t)
	c.resources(t)
}

func (c *checker) timeout(t *runpb.RevisionTemplate) {
	const at = "template.timeout"
	switch d := t.GetTimeout(); {
	case d == nil:
	case !d.IsValid() || d.AsDuration() < time.Second:
		c.malformed(at, "minimum allowed time is one second.")
	case d.AsDuration() > maxTimeout:
		c.malformed(at, "maximum allowed time is one hour.")
	}
}

func (c *checker) vpcAccess(v *runpb.VpcAccess) {
	if v == nil {
		return
	}
	const at = "template.vpc_access"
	enum(c, at+".egress", v.GetEgress(), runpb.VpcAccess_VpcEgress_name)
	interfaces := v.GetNetworkInterfaces()
	if (v.GetConnector() != "") == (len(interfaces) > 0) {
		c.malformed(at+".connector", "one and only one of connector and network_interfaces must be set.")
		return
	}
	if v.GetConnector() != "" && !connectorName.MatchString(v.GetConnector()) {
		c.malformed(at+".connector", "should be in the format projects/{project}/locations/{location}/connectors/{connector}.")
	}
	if len(interfaces) > 1 {
		c.malformed(at+".network_interfaces", "should contain 0 or 1 network interface.")
	}
	for i, n := range interfaces {
		if n.GetNetwork() == "" && n.GetSubnetwork() == "" {
			c.malformed(index(at+".network_interfaces", i), "at least one of network and subnetwork must be set.")
		}
	}
}

func (c *checker) encryption(t *runpb.RevisionTemplate) {
	const at = "template.encryption_key"
	enum(c, at+"_revocation_action", t.GetEncryptionKeyRevocationAction(), runpb.EncryptionKeyRevocationAction_name)
	if key := t.GetEncryptionKey(); key != "" && !keyName.MatchString(key) {
		c.malformed(at, "should be in the format projects/{project}/locations/{location}/keyRings/{key_ring}/cryptoKeys/{key}.")
	}
	wait := t.GetEncryptionKeyShutdownDuration()
	if wait == nil {
		return
	}
	if t.GetEncryptionKeyRevocationAction() != runpb.EncryptionKeyRevocationAction_SHUTDOWN {
		c.malformed(at+"_shutdown_duration", "should be set only if encryption_key_revocation_action is SHUTDOWN.")
	}
	if d := wait.AsDuration(); d <= 0 || d%time.Hour != 0 {
		c.malformed(at+"_shutdown_duration", "should be a positive number of hours.")
	}
}
