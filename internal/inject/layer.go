package inject

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// layer is a small image layer in memory. The library's own layers from a tar put an empty map of annotations into the
// image's descriptor, which its own validator then objects to.
type layer struct {
	compressed, uncompressed []byte
	digest, diffID           v1.Hash // which the library asks for again and again
	mediaType                types.MediaType
}

var _ v1.Layer = (*layer)(nil)

func newLayer(agent Binary, mt types.MediaType) (*layer, error) {
	files, err := archive(agent)
	if err != nil {
		return nil, err
	}
	packed, err := pack(files)
	if err != nil {
		return nil, err
	}
	return &layer{
		compressed: packed, uncompressed: files, digest: hash(packed), diffID: hash(files), mediaType: mt,
	}, nil
}

// chunk is what is compressed at a time.
const chunk = 4 << 20

// pack compresses with gzip. The digest is computed at every start, while the size matters once per image: speed goes
// first. So chunks are compressed side by side, each to a member of its own, one after the other as RFC 1952 §2.2 has
// it; seekable image layers (eStargz) are made like that too.
func pack(files []byte) ([]byte, error) {
	var work errgroup.Group
	members := make([]bytes.Buffer, (len(files)+chunk-1)/chunk)
	for i := range members {
		work.Go(func() error {
			zw, err := gzip.NewWriterLevel(&members[i], gzip.BestSpeed)
			if err != nil {
				return err
			}
			if _, err := zw.Write(files[i*chunk : min(len(files), (i+1)*chunk)]); err != nil {
				return err
			}
			return zw.Close()
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i := range members {
		out.Write(members[i].Bytes())
	}
	return out.Bytes(), nil
}

func (l *layer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
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
