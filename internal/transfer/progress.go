package transfer

import (
	"sync/atomic"
)

// Progress is how far a copy is. It may be read while the copy runs.
type Progress struct {
	files, allFiles, bytes, allBytes, skipped, failed atomic.Int64

	listed  atomic.Bool
	current atomic.Pointer[string]
}

// State is a moment of a Progress.
type State struct {
	Files, AllFiles int64 // done, and known of so far
	Bytes, AllBytes int64 // the same in bytes
	Resumed         int64 // of Bytes, what was there already
	Failed          int64
	Listed          bool   // everything is known of
	Current         string // a file that is being copied, fit for a terminal
}

// Look returns the state.
func (p *Progress) Look() State {
	s := State{
		Files: p.files.Load(), AllFiles: p.allFiles.Load(), Bytes: p.bytes.Load(), AllBytes: p.allBytes.Load(),
		Resumed: p.skipped.Load(), Failed: p.failed.Load(), Listed: p.listed.Load(),
	}
	if c := p.current.Load(); c != nil {
		s.Current = *c
	}
	return s
}
