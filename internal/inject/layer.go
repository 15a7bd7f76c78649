package inject

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is a small image layer in memory. The library's own layers from a tar put an empty map of annotations into the
// image's descriptor, which its own validator then objects to.
type layer struct {
	compressed, uncompressed []byte
	mediaType                types.MediaType
}

var _ v1.Layer = (*layer)(nil)

func newLayer(agent Binary, mt types.MediaType) (*layer, error) {
	files, err := archive(agent)
	if err != nil {
		return nil, err
	}
	// The digest is computed at every start, while the size matters once per image: speed goes first.
	var packed bytes.Buffer
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := zw.Write(files); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return &layer{compressed: packed.Bytes(), uncompressed: files, mediaType: mt}, nil
}

func (l *layer) Digest() (v1.Hash, error)            { return hash(l.compressed), nil }
func (l *layer) DiffID() (v1.Hash, error)            { return hash(l.uncompressed), nil }
func (l *layer) Size() (int64, error)                { return int64(len(l.compressed)), nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.mediaType, nil }

func (l *layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.compressed)), nil
}

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.uncompressed)), nil
}

func hash(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
