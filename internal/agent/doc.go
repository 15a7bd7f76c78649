// Package agent is the SSH server inside a twin: it runs shells, commands and
// SFTP as the app's own user, in the app's environment and directory.
//
// It takes any net.Listener and knows nothing of WebSockets. RFC 4254 is
// implemented on golang.org/x/crypto/ssh itself, which gives control of
// everything between a request and a process: terminal modes, signals,
// half-close, exit signals, process groups.
//
// Extensions, all of them refused by other servers:
//
//   - channel request exec-argv@cloudssh runs an argument vector without a
//     shell: uint32 count, then that many strings;
//   - global request leave@cloudssh marks a connection as leaving and answers
//     with the number of those that stay (uint32); at 0 the agent takes no
//     more connections, because the twin is about to be deleted;
//   - global request status@cloudssh answers with Status as JSON.
package agent
