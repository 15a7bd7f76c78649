// Package bench measures cloudssh beside its peers, in one run on one machine,
// as ratios: `make bench`, or `make bench BENCH=Keys` for some of it. It holds
// no code, only benchmarks.
//
// The peers are OpenSSH over TCP with its default ciphers, OpenSSH through a
// plain WebSocket pipe, x/crypto/ssh over the WebSocket library's own net.Conn,
// and raw TCP and raw WebSockets as limits. Clients, servers and remote
// commands are processes of their own, on hosts and links of package wan.
// OpenSSH and we run the same remote commands and are timed at the same place,
// the client's standard streams.
//
// Figures are medians of rounds in which all peers had their turn; ratios are
// made round by round. The table at the end names each bar, and whether it was
// met. A bar that is missed fails nothing; what does not work does.
//
// CLOUDSSH_BENCH_GIB is how much BenchmarkMemoryAfterTransfer transfers: 1 by
// default, 10 for the full proof; and how long a file BenchmarkFiles copies.
package bench
