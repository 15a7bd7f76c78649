package cloudrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// agentImageTimeout bounds the look for the sidecar's image. Cloud Run reads it over a network of its own, so that no
// answer decides nothing.
const agentImageTimeout = 10 * time.Second

// choose settles how the agent gets in, as far as that is known before a push is tried.
func (m *making) choose() error {
	m.inject = cmp.Or(m.req.Inject, provision.InjectAuto)
	switch m.inject {
	case provision.InjectNone, provision.InjectSidecar:
	case provision.InjectLayer, provision.InjectAuto:
		auto := m.inject == provision.InjectAuto
		m.inject = provision.InjectLayer
		if m.images.noLayer != nil && !auto {
			return provision.Hint(fmt.Errorf("the agent cannot go in as a layer: %w", m.images.noLayer),
				fmt.Sprintf("cloudssh %s --inject sidecar", m.req.Target))
		}
		if m.images.noLayer != nil {
			m.fallBack(m.images.noLayer.Error())
		}
	default:
		return fmt.Errorf("there is no way %q to add the agent: auto, layer, sidecar or none", m.inject)
	}
	if m.inject == provision.InjectSidecar && m.agentImage() == "" {
		return m.noAgentImage()
	}
	return nil
}

func (m *making) noAgentImage() error {
	return provision.Hint(errors.New("a sidecar needs an image to copy the agent from, and none is known"),
		fmt.Sprintf("cloudssh %s --agent-image IMAGE", m.req.Target))
}

// fallBack says, in a line, why a sidecar brings the agent.
func (m *making) fallBack(why string) {
	m.inject = provision.InjectSidecar
	m.note("a sidecar brings the agent: " + why)
}

// note is a step that is over.
func (m *making) note(text string) {
	_, done := m.progress.Start(text)
	done(nil)
}

// agentImage is the reference of the sidecar's image.
func (m *making) agentImage() string { return cmp.Or(m.req.AgentImage, m.AgentImage) }

// findAgentImage pins the sidecar's image, where it can be read from here.
func (m *making) findAgentImage(ctx context.Context) (string, error) {
	image := m.agentImage()
	if image == "" {
		return "", m.noAgentImage()
	}
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("reading the name of the agent's image: %w", err)
	}
	if _, ok := ref.(name.Digest); ok {
		return image, nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentImageTimeout)
	defer cancel()
	desc, err := remote.Head(ref, m.remote(ctx)...)
	if err == nil {
		return ref.Context().Digest(desc.Digest.String()).String(), nil
	}
	if _, missing := refusal(err); missing {
		return "", provision.Hint(fmt.Errorf("there is no image of the agent at %s: %w", image, err),
			fmt.Sprintf("cloudssh %s --agent-image IMAGE", m.req.Target), fmt.Sprintf("cloudssh %s --inject layer", m.req.Target))
	}
	m.Logger.DebugContext(ctx, "looking for the agent's image", "image", image, "error", err)
	return image, nil
}

// addAgent makes the image of the entered container: one with the agent, or, when a sidecar brings that, its own.
func (m *making) addAgent(ctx context.Context) error {
	plain := m.images.pinned[m.images.main]
	var refused *refusedError
	if m.inject == provision.InjectLayer {
		err := m.step("adding the agent", func(update func(string)) error {
			image, err := m.pushLayer(ctx, m.images, update)
			switch {
			case err == nil:
				m.image = image
			case m.optional() && errors.As(err, &refused):
				update("refused")
				return nil
			}
			return err
		})
		if err != nil || refused == nil {
			return err
		}
		m.fallBack(repositoryOf(plain) + " takes no push")
		m.Logger.DebugContext(ctx, "adding the agent", "error", refused)
	}
	m.image = plain
	if m.inject != provision.InjectSidecar {
		return nil
	}
	var err error
	if m.sidecar, err = m.findAgentImage(ctx); err == nil {
		_, _, err = m.spec(m.req.Target.TwinName(), plain)
	}
	if err != nil && refused != nil {
		return errors.Join(refused, fmt.Errorf("and a sidecar cannot bring the agent: %w", err))
	}
	return err
}

// optional reports whether there is another way when a layer cannot be pushed.
func (m *making) optional() bool {
	return cmp.Or(m.req.Inject, provision.InjectAuto) == provision.InjectAuto
}

// refusedError is a registry's answer to a push that no second try would change.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// refusesPush reports whether an error is such an answer: no permission, no such repository, or one that nobody writes to,
// as those that mirror others are.
func refusesPush(err error) bool {
	var te *transport.Error
	if !errors.As(err, &te) {
		return false
	}
	again := te.StatusCode == http.StatusRequestTimeout || te.StatusCode == http.StatusTooManyRequests
	return te.StatusCode >= 400 && te.StatusCode < 500 && !again
}
