package emulator

import (
	"encoding/base64"
	"encoding/json"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Page sizes: what a list answers when none is asked for, and at most.
const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

// pageToken says where a list went on. It carries the query it belongs to, because a token is only good for that one.
type pageToken struct {
	Query string `json:"q"`
	After string `json:"a"`
}

// page cuts items, which are in order, to what one list request asks for. key must be unique and stable, so that items
// that come and go between two pages neither hide nor repeat others: the next page starts after the last key,
// by less.
func page[T any](items []T, size int32, token, query string, key func(T) string, less func(a, b string) bool) ([]T, string, error) {
	if size < 0 {
		return nil, "", status.Error(codes.InvalidArgument, "page_size must not be negative.")
	}
	if size == 0 {
		size = defaultPageSize
	}
	size = min(size, maxPageSize)
	if token != "" {
		var t pageToken
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || json.Unmarshal(raw, &t) != nil || t.Query != query {
			return nil, "", status.Error(codes.InvalidArgument, "The page token is invalid for this request.")
		}
		for len(items) > 0 && !less(t.After, key(items[0])) {
			items = items[1:]
		}
	}
	if len(items) <= int(size) {
		return items, "", nil
	}
	items = items[:size]
	next, err := json.Marshal(pageToken{Query: query, After: key(items[size-1])})
	if err != nil {
		return nil, "", status.Errorf(codes.Internal, "encoding the page token: %v", err)
	}
	return items, base64.RawURLEncoding.EncodeToString(next), nil
}
