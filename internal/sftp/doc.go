// Package sftp is an SFTP server, version 3, for one session: the protocol of
// draft-ietf-secsh-filexfer-02 with the extensions of OpenSSH's PROTOCOL file,
// section 4, and with the answers OpenSSH's own server gives, since those are
// what clients were tested against. It hides the protocol, the order in which
// pipelined requests take effect, and how little memory that takes.
//
// Requests run at the same time as far as the client cannot tell: the outcome
// is that of one after the other, as OpenSSH's server does it. What a client
// leaves half done stays as it is: partial files are not removed.
package sftp
