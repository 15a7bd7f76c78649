// Package agent is the SSH server inside a twin: it runs shells, commands and
// SFTP as the app's own user, in the app's environment and directory.
//
// It takes any net.Listener and knows nothing of WebSockets. RFC 4254 is
// implemented on golang.org/x/crypto/ssh itself, which gives control of
// everything between a request and a process: terminal modes, signals,
// half-close, exit signals, process groups.
//
// Who may do what: an owner everything. That is who has one of the authorized
// keys, or whom the front door has verified to be the account that made the
// twin. Anybody else whom the front door lets in is a guest, while a session is
// shared, and may join that.
//
// Extensions, all of them refused by other servers. Global requests:
//
//   - leave@cloudssh marks a connection as leaving and answers with the number
//     of connections that stay and of sessions without a client (two uint32);
//     when both are 0 the agent takes no more connections, because the twin is
//     about to be deleted;
//   - hold@cloudssh: the connection is there to hold the instance, and leave
//     does not count it;
//   - gone@cloudssh ends another connection, whose client has died: string, the
//     hex of its SSH session id, or of its stream's; it counts no longer when
//     the answer comes;
//   - renew@cloudssh makes the lease end later: uint64, unix seconds;
//   - sessions@cloudssh answers with the terminal sessions, a JSON array of
//     SessionInfo, for guests those that are shared;
//   - status@cloudssh answers with Status as JSON.
//
// Channel request exec-argv@cloudssh runs an argument vector without a shell:
// uint32 count, then that many strings.
//
// Of a session's environment the client may set the variable CLOUDSSH_SHELL, which
// is for the agent: auto, the image's shell or else the one that came with the
// agent; builtin, that one; or the path of another.
//
// In an instance without pseudo-terminals pty-req succeeds all the same: the
// program has pipes then, and the agent the line discipline.
//
// Forwarding is RFC 4254 §7 and OpenSSH's PROTOCOL, 2.4. To a client of ours the
// refusal of tcpip-forward and streamlocal-forward@openssh.com carries the reason,
// as text: the standards have no place for it.
package agent
