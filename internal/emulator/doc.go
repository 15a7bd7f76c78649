// Package emulator is a local Cloud Run: its Admin API, operations, ingress, registry and metadata server over
// containers that really run.
package emulator
