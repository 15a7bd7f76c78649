// Package wan makes networks to test against: hosts, which are network
// namespaces of their own, and links between them with a delay, a rate, a
// queue, loss and outages that can be changed while traffic flows.
//
// A link is two TUN devices and a goroutine for each direction that carries
// packets from one to the other. The kernel's netem would do the same, but not
// every kernel has it, and what it dropped it does not tell.
//
// Namespaces have no names and devices no life beyond their descriptors: the
// kernel removes both when the process ends, however it ends. So it does with
// the processes that a Host started. All of it needs root, and Linux.
package wan
