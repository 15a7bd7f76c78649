package provision

import "slices"

// HintError is an error with what to try, one line each: a command, or a short phrase.
type HintError struct {
	Err error
	Try []string
}

// Hint adds hints to an error; nil stays nil.
func Hint(err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &HintError{Err: err, Try: hints}
}

// Error is the wrapped error's text; the hints are not part of it.
func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *HintError) Unwrap() error { return e.Err }

// Hints returns this error's hints and those of all errors it wraps, without repetition.
func (e *HintError) Hints() []string {
	all := append(slices.Clone(e.Try), Hints(e.Err)...)
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(h string) bool {
		again := seen[h]
		seen[h] = true
		return again
	})
}

// Hints collects the hints of an error and of all it wraps, joined errors included. errors.As would find only the first.
func Hints(err error) []string {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case nil:
		return nil
	case interface{ Hints() []string }:
		return e.Hints()
	case interface{ Unwrap() error }:
		return Hints(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []string
		for _, sub := range e.Unwrap() {
			all = append(all, Hints(sub)...)
		}
		return all
	}
	return nil
}
