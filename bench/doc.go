// Package bench measures cloudssh beside OpenSSH's own sshd, in one run on one
// machine, as ratios: `make bench`. It holds no code, only benchmarks, which
// run the programs as a user would.
package bench
