package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// An imageStore keeps root file systems of images, unpacked once and never written to again.
//
// A tree is named by the chain ID of its layers (github.com/opencontainers/image-spec,
// config.md#layer-chainid), so that images which differ in their configuration only share
// one. An image that adds layers to one that is there, as a twin's does, starts from
// hard links to it and unpacks just those.
type imageStore struct {
	dir string // a directory per chain ID
	tmp string // on the same file system; removed with the runtime that works in it

	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the unpacking of that chain ID ended
}

// rootfs returns the directory with the image's file system.
func (s *imageStore) rootfs(ctx context.Context, image v1.Image) (string, error) {
	layers, err := image.Layers()
	if err != nil {
		return "", fmt.Errorf("reading the image's layers: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("reading the image's configuration: %w", err)
	}
	diffIDs := config.RootFS.DiffIDs
	if len(diffIDs) != len(layers) {
		return "", fmt.Errorf("reading the image's configuration: %d diff IDs for %d layers", len(diffIDs), len(layers))
	}
	chain := chainIDs(diffIDs)
	name := filepath.Join(s.dir, chain[len(layers)])
	release, err := s.acquire(ctx, name)
	if err != nil {
		return "", err
	}
	defer release()
	if exists(name) {
		return name, nil
	}
	return name, s.unpack(ctx, chain, layers, diffIDs)
}

// acquire waits until no other goroutine unpacks the same tree. Another emulator may;
// then the one that is done last throws its tree away.
func (s *imageStore) acquire(ctx context.Context, name string) (release func(), err error) {
	for {
		s.mu.Lock()
		other := s.busy[name]
		if other == nil {
			mine := make(chan struct{})
			s.busy[name] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.busy, name)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unpack makes the tree of the whole chain in a temporary directory and moves it into place.
func (s *imageStore) unpack(ctx context.Context, chain []string, layers []v1.Layer, diffIDs []v1.Hash) (err error) {
	tmp, err := os.MkdirTemp(s.tmp, "rootfs-")
	if err != nil {
		return fmt.Errorf("unpacking an image in %s: %w", s.tmp, bare(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // the root directory of a container
		return err
	}
	have := max(len(layers)-1, 0)
	for have > 0 && !exists(filepath.Join(s.dir, chain[have])) {
		have--
	}
	if have > 0 {
		base := filepath.Join(s.dir, chain[have])
		if err := copyTree(ctx, base, tmp, shareInodes); err != nil {
			return fmt.Errorf("copying the image %s to %s: %w", base, tmp, err)
		}
	}
	for i := have; i < len(layers); i++ {
		if err := unpackVerified(ctx, tmp, layers[i], diffIDs[i]); err != nil {
			return fmt.Errorf("unpacking layer %s in %s: %w", diffIDs[i], s.tmp, err)
		}
	}
	target := filepath.Join(s.dir, chain[len(layers)])
	err = os.Rename(tmp, target)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return os.RemoveAll(tmp) // another emulator was faster
	}
	return err
}

// unpackVerified applies a layer and checks that it is what the image's configuration names: the
// tree is kept under that name, for other images as well.
func unpackVerified(ctx context.Context, dir string, layer v1.Layer, want v1.Hash) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer discardClose(content)
	t, err := openTree(dir)
	if err != nil {
		return err
	}
	defer discardClose(t)
	sum := sha256.New()
	if err := unpackLayer(ctx, t, io.TeeReader(content, sum)); err != nil {
		return err
	}
	return verify(sum, want)
}

func verify(sum hash.Hash, want v1.Hash) error {
	if want.Algorithm != "sha256" {
		return fmt.Errorf("digest algorithm %q is not sha256", want.Algorithm)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.Hex {
		return fmt.Errorf("content has digest sha256:%s", got)
	}
	return nil
}

// chainIDs returns the chain ID, in hexadecimal, of the first n layers for each n from 0 on.
func chainIDs(diffIDs []v1.Hash) []string {
	chain := make([]string, 1, len(diffIDs)+1)
	chain[0] = "scratch"
	last := ""
	for _, id := range diffIDs {
		if last == "" {
			last = id.String()
		} else {
			last = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(last+" "+id.String())))
		}
		chain = append(chain, last[len("sha256:"):])
	}
	return chain
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
