package runtime

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageRepository is where images are in the engine. The name is no registry's, so that an
// engine cannot ever pull it.
const imageRepository = "localhost/cloudssh-emulator"

// engineImages puts images into an engine. They stay there, named by their digest.
type engineImages struct {
	client *client.Client
	mu     sync.Mutex // one transfer at a time
}

// load returns the name of the image in the engine.
func (i *engineImages) load(ctx context.Context, image v1.Image) (string, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("reading the image's configuration: %w", err)
	}
	// An engine adds what an image configures to what a container does. Ours says everything.
	bare := config.DeepCopy()
	bare.Config = v1.Config{}
	if image, err = mutate.ConfigFile(image, bare); err != nil {
		return "", err
	}
	id, err := image.ConfigName()
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(imageRepository + ":" + id.Hex)
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, err := i.client.ImageInspect(ctx, tag.Name()); err == nil {
		return tag.Name(), nil
	}
	return tag.Name(), i.send(ctx, tag, image)
}

func (i *engineImages) send(ctx context.Context, tag name.Tag, image v1.Image) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := tarball.Write(tag, image, w)
		w.CloseWithError(err)
		written <- err
	}()
	response, err := i.client.ImageLoad(ctx, r)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		err = errors.Join(err, response.Body.Close())
	}
	_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends the writer if it is not done
	if writeErr := <-written; writeErr != nil && !errors.Is(writeErr, io.ErrClosedPipe) {
		err = errors.Join(err, writeErr)
	}
	if err != nil {
		return fmt.Errorf("loading the image into the engine: %w", err)
	}
	return nil
}

// holderImage has one program, /pause, that does nothing until it is killed: the container that
// holds a sandbox's network while others come and go. There is nothing to pull for it.
func holderImage(arch string) (v1.Image, error) {
	program, err := pauseProgram(arch)
	if err != nil {
		return nil, err
	}
	content, err := singleFile("pause", 0o755, program)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	return mutate.ConfigFile(image, config)
}

// singleFile is an archive with one file.
func singleFile(name string, mode int64, content []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// pauseProgram is a whole ELF executable (elf(5)): a header, one segment, and a loop around
// a system call that waits for a signal.
func pauseProgram(arch string) ([]byte, error) {
	const (
		base       = 0x400000
		headerSize = 64 + 56
	)
	var machine uint16
	var code []byte
	switch arch {
	case "amd64":
		machine = 62                                                        // EM_X86_64
		code = []byte{0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7} // mov eax, 34 (pause); syscall; jmp
	case "arm64":
		machine = 183 // EM_AARCH64
		for _, op := range []uint32{
			0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, // mov x0..x4, 0
			0xd2800928, 0xd4000001, 0x17fffff9, // mov x8, 73 (ppoll); svc 0; b
		} {
			code = binary.LittleEndian.AppendUint32(code, op)
		}
	default:
		return nil, fmt.Errorf("the engine runs on %s: only amd64 and arm64 are supported", arch)
	}
	size := uint64(headerSize + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // 64 bits, little endian
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + headerSize), uint64(64), uint64(0), // ET_EXEC, entry, phoff
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0), // one program header
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // PT_LOAD, R+X
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	b.Write(code)
	return b.Bytes(), nil
}
