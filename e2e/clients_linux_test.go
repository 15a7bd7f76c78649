package e2e

import "testing"

// TestClients drives the SSH clients that people have.
func TestClients(t *testing.T) {
	p := newPlatform(t)
	p.cloudssh(t, "--quiet", "tools", "--exec", "python3 -c 'import json; print(json.dumps([1]))'").expectOut(t, "[1]\n")
}
