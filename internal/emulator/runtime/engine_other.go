//go:build !linux

package runtime

import (
	"errors"

	"github.com/docker/docker/api/types/container"
)

func canEnterNetworks() bool { return false }

func enterNetwork(int, string) (engineNetwork, error) { return nil, errors.ErrUnsupported }

func ulimits(bool) []*container.Ulimit { return nil }
