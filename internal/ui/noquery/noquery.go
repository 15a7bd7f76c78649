// Package noquery keeps bubbletea from questioning the terminal.
//
// bubbletea v1 asks the terminal for its background colour while the program
// is being initialised: before main, in every program that links it, whenever
// standard output is a terminal. The question swallows what was typed ahead
// and takes five seconds where nobody answers (a pseudo-terminal of a script,
// a serial console). There is no switch, but the question is not asked when
// the variable CI is set.
//
// Go initialises packages as soon as what they import is ready, ties broken by
// import path. This package imports the standard library only and sorts before
// what bubbletea imports, so CI is set before the question; Done, called when
// the package that imports both is initialised, takes it back. A test in
// package ui holds this.
package noquery

import "os"

const variable = "CI"

// set says whether it was this package that set the variable.
var set = prevent() //nolint:gochecknoglobals // the one way to run before bubbletea's init

func prevent() bool {
	if os.Getenv(variable) != "" {
		return false
	}
	return os.Setenv(variable, "true") == nil
}

// Done takes the variable back. It returns true, to be called from a
// declaration.
func Done() bool {
	if set {
		_ = os.Unsetenv(variable) // fails for malformed names only
		set = false
	}
	return true
}
