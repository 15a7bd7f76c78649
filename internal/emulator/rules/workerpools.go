package rules

import (
	"cmp"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api"
	"google.golang.org/protobuf/proto"

	"cloud.google.com/go/run/apiv2/runpb"
)

// CreateWorkerPool refuses a worker pool that Cloud Run would not create under id, as Create does for services.
func CreateWorkerPool(id string, p *runpb.WorkerPool) error {
	c := &checker{request: "CreateWorkerPoolRequest"}
	c.id("worker_pool_id", id)
	c.workerPool(id, p, nil, func(revision string) bool { return revision == p.GetTemplate().GetRevision() })
	return c.err()
}

// UpdateWorkerPool refuses a worker pool that Cloud Run would not put in old's place; exists tells whether there is a
// revision of that short name.
func UpdateWorkerPool(id string, old, p *runpb.WorkerPool, exists func(revision string) bool) error {
	revision := p.GetTemplate().GetRevision()
	c := &checker{request: "UpdateWorkerPoolRequest"}
	c.workerPool(id, p, old, func(name string) bool { return name == revision || exists(name) })
	if err := c.err(); err != nil {
		return err
	}
	if revision != "" && !proto.Equal(old.GetTemplate(), p.GetTemplate()) && exists(revision) {
		return revisionExists(revision)
	}
	return nil
}

// WorkerPoolDefaults fills in what the API fills in, in place; see Defaults. Containers without a name get one from id.
func WorkerPoolDefaults(id string, p *runpb.WorkerPool, serviceAccount string) {
	p.LaunchStage = cmp.Or(p.GetLaunchStage(), api.LaunchStage_GA)
	if p.GetScaling() == nil {
		p.Scaling = &runpb.WorkerPoolScaling{}
	}
	if p.GetScaling().ManualInstanceCount == nil {
		p.Scaling.ManualInstanceCount = proto.Int32(1)
	}
	if len(p.GetInstanceSplits()) == 0 {
		p.InstanceSplits = []*runpb.InstanceSplit{{
			Type: runpb.InstanceSplitAllocationType_INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST, Percent: 100,
		}}
	}
	if t := p.GetTemplate(); t != nil {
		t.ServiceAccount = cmp.Or(t.GetServiceAccount(), serviceAccount)
		portlessDefaults(id, t.GetContainers(), t.GetVolumes(), t.GetVpcAccess())
	}
}

func (c *checker) workerPool(id string, p, old *runpb.WorkerPool, exists func(revision string) bool) {
	inner := &checker{request: c.request}
	if n := utf8.RuneCountInString(p.GetDescription()); n > maxDescription {
		inner.malformed("description", "should have at most %d characters, has %d.", maxDescription, n)
	}
	inner.labels("labels", p.GetLabels())
	inner.annotations("annotations", p.GetAnnotations(), old.GetAnnotations())
	inner.binaryAuthorization(p.GetBinaryAuthorization())
	if p.GetScaling().GetManualInstanceCount() < 0 {
		inner.malformed("scaling.manual_instance_count", "should be greater than or equal to 0.")
	}
	inner.splits(p.GetInstanceSplits(), exists)
	if t := p.GetTemplate(); t == nil {
		inner.malformed("template", "should be set.")
	} else {
		inner.revisionName(id, t.GetRevision())
		inner.labels("template.labels", t.GetLabels())
		inner.annotations("template.annotations", t.GetAnnotations(), nil)
		inner.portless(Share(&runpb.RevisionTemplate{}, t))
	}
	c.rename(inner, "worker_pool")
}

func (c *checker) splits(splits []*runpb.InstanceSplit, exists func(revision string) bool) {
	sum := 0
	for i, s := range splits {
		at := index("instance_splits", i)
		enum(c, at+".type", s.GetType(), runpb.InstanceSplitAllocationType_name)
		if s.GetPercent() < 0 || s.GetPercent() > 100 {
			c.malformed(at+".percent", "should be between 0 and 100.")
		}
		if s.GetRevision() != "" && !exists(s.GetRevision()) {
			c.refused(at+".revision", "Revision named '%s' does not exist.", s.GetRevision())
		}
		sum += int(s.GetPercent())
	}
	if len(splits) > 0 && sum != 100 {
		c.malformed("instance_splits", "instance split percentages should sum to 100, sum is %d.", sum)
	}
}
