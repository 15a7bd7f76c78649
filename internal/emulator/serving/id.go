package serving

import (
	"crypto/rand"
	"encoding/hex"
)

// newInstanceID makes an id of the form that Cloud Run's metadata server reports: hexadecimal, long, starting with 00.
func newInstanceID() string {
	var b [60]byte
	_, _ = rand.Read(b[:]) // never fails
	return "00" + hex.EncodeToString(b[:])
}

// shortID is enough of an instance's id to tell the instances of one machine apart. Runtimes put it into the
// names of files and sockets, which are limited.
func shortID(id string) string { return id[2:26] }
