// Package e2e holds no code, only tests: `make e2e-clients` drives the SSH
// clients that people have against a twin on a local Cloud Run, with the
// cloudssh that users run and what `cloudssh config write` puts into an empty
// HOME.
package e2e
