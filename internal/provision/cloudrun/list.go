package cloudrun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// maxAnswer bounds one answer of the API; a page of services stays far below it.
const maxAnswer = 64 << 20

// knService is what we read of a service in the Admin API v1, which speaks Knative.
type knService struct {
	Metadata struct {
		Name              string            `json:"name"`
		Labels            map[string]string `json:"labels"`
		Annotations       map[string]string `json:"annotations"`
		CreationTimestamp time.Time         `json:"creationTimestamp"`
		DeletionTimestamp *time.Time        `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Template struct {
			Spec struct {
				Containers []knContainer `json:"containers"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		URL        string `json:"url"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

type knContainer struct {
	Resources struct {
		Limits map[string]string `json:"limits"`
	} `json:"resources"`
}

// minScale is the annotation of the service-level minimum of instances in v1 (v2 has a field).
const minScale = "run.googleapis.com/minScale"

// shape is shapeOf for v1.
func (s knService) shape() provision.Shape {
	var shape provision.Shape
	for _, c := range s.Spec.Template.Spec.Containers {
		addLimits(&shape, c.Resources.Limits)
	}
	if n, err := strconv.Atoi(s.Metadata.Annotations[minScale]); err == nil {
		shape.MinInstances = n
	}
	return shape
}

// region is a system label in v1 (v2 has it in the name).
func (s knService) region() string { return s.Metadata.Labels["cloud.googleapis.com/location"] }

func (s knService) ready() bool {
	for _, c := range s.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// UnreachableError names the regions that a listing could not look into.
type UnreachableError struct{ Regions []string }

func (e *UnreachableError) Error() string {
	return "no answer from " + strings.Join(e.Regions, ", ")
}

// list yields the services of all regions, and at the end an *UnreachableError if some did not answer. Only v1 crosses
// regions and selects by label; v2 does neither.
func (b *Backend) list(ctx context.Context, selector string) iter.Seq2[knService, error] {
	return func(yield func(knService, error) bool) {
		var unreachable []string
		for token := ""; ; {
			var page struct {
				Items    []knService `json:"items"`
				Metadata struct {
					Continue string `json:"continue"`
				} `json:"metadata"`
				Unreachable []string `json:"unreachable"`
			}
			query := url.Values{"limit": {"200"}}
			if selector != "" {
				query.Set("labelSelector", selector)
			}
			if token != "" {
				query.Set("continue", token)
			}
			if err := b.get(ctx, "/v1/"+b.parent("-")+"/services?"+query.Encode(), &page); err != nil {
				yield(knService{}, b.explain(err, "listing the services of "+b.Project, "run.services.list"))
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			unreachable = append(unreachable, page.Unreachable...)
			if token = page.Metadata.Continue; token == "" {
				break
			}
		}
		if len(unreachable) > 0 {
			slices.Sort(unreachable)
			yield(knService{}, &UnreachableError{Regions: slices.Compact(unreachable)})
		}
	}
}

// Services implements provision.Backend. With Options.Region set only that region's are listed; twins never are.
func (b *Backend) Services(ctx context.Context) iter.Seq2[provision.Service, error] {
	return func(yield func(provision.Service, error) bool) {
		for s, err := range b.list(ctx, "") {
			if err != nil {
				if !yield(provision.Service{}, err) {
					return
				}
				continue
			}
			if b.Region != "" && s.region() != b.Region || provision.IsTwin(s.Metadata.Labels) || s.Metadata.DeletionTimestamp != nil {
				continue
			}
			if !yield(provision.Service{Name: s.Metadata.Name, Region: s.region(), URL: s.Status.URL, Ready: s.ready()}, nil) {
				return
			}
		}
	}
}

// Twins implements provision.Backend: all twins of the project in all regions, but those that are being deleted.
func (b *Backend) Twins(ctx context.Context) iter.Seq2[provision.Twin, error] {
	return func(yield func(provision.Twin, error) bool) {
		for s, err := range b.list(ctx, provision.LabelSelector) {
			if err != nil {
				if !yield(provision.Twin{}, err) {
					return
				}
				continue
			}
			source, lease, ok := provision.ParseLease(s.Metadata.Labels, s.Metadata.Annotations)
			if !ok || s.Metadata.DeletionTimestamp != nil {
				continue
			}
			t := provision.Twin{
				Name: s.Metadata.Name, Source: source, Project: b.Project, Region: s.region(), URL: s.Status.URL,
				URLs: []string{s.Status.URL}, Shape: s.shape(), Lease: lease, Created: s.Metadata.CreationTimestamp,
				Ready: s.ready(), Mine: b.mine(lease),
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

// get reads a resource of the Admin API. Its errors are statuses, like those of gRPC.
func (b *Backend) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.RESTURL+path, nil)
	if err != nil {
		return err
	}
	return b.do(req, into)
}

// do sends a request to a Google API and reads the JSON that it answers with. Its errors are statuses, like those of gRPC.
func (b *Backend) do(req *http.Request, into any) (err error) {
	resp, err := b.REST.Do(req)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := resp.Body.Close(); err == nil {
			err = cerr
		}
	}()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return statusOf(resp.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// statusOf is a Google API's JSON error as a gRPC status.
func statusOf(code int, body []byte) error {
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	message := http.StatusText(code)
	if err := json.Unmarshal(body, &answer); err == nil && answer.Error.Message != "" {
		message = answer.Error.Message
	}
	c := codes.Unknown
	switch code {
	case http.StatusUnauthorized:
		c = codes.Unauthenticated
	case http.StatusForbidden:
		c = codes.PermissionDenied
	case http.StatusNotFound:
		c = codes.NotFound
	case http.StatusTooManyRequests:
		c = codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		c = codes.Unavailable
	}
	return status.Error(c, message)
}
