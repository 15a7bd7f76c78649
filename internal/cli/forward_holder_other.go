//go:build !linux

package cli

import "net/netip"

// portHolder would say who listens on a port; this system does not tell.
func portHolder(netip.AddrPort, int) string { return "" }
