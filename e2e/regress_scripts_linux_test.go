package e2e

// A regressScript is one of OpenSSH's regression tests.
type regressScript struct {
	name string
	not  string // why it does not apply; empty: it runs
	slow bool   // runs only on demand
	// inside is for those that look for remote forwards at their own end: they run
	// in the network of the twin, one at a time because of their fixed ports.
	inside bool
	edits  []string // of sed: what is about sshd and not about the client is left out
}

// Reasons that several scripts share.
const (
	local     = "tests a program of OpenSSH alone, without a connection"
	sshdsOwn  = "tests sshd's own configuration"
	keyRules  = "tests rules in authorized_keys and principals files, which the agent does not have"
	notATest  = "no test"
	otherKeys = "tests key types and certificates that the agent does not offer"
)

// regressScripts are all of them.
func regressScripts() []regressScript {
	return []regressScript{
		// Sessions.
		{name: "connect"},
		{name: "proxy-connect", edits: []string{`s/UNKNOWN 65535 UNKNOWN 65535//`}},
		{name: "connect-uri"},
		{name: "connect-privsep", not: sshdsOwn},
		{name: "exit-status", slow: true},
		{name: "exit-status-signal"},
		{name: "envpass", edits: []string{
			`/^trace "pass env, don/,/^trace "don.t pass env/{/^trace "don.t pass/!d}`, // sshd takes what its configuration allows
			`/^trace "server setenv wins/,/^rm -f/{/^rm -f/!d}`,
		}},
		{name: "transfer"},
		{name: "stderr-data"},
		{name: "stderr-after-eof"},
		{name: "broken-pipe"},
		{name: "yes-head"},
		{name: "host-expand"},
		{name: "localcommand"},
		{name: "portnum"},
		{name: "knownhosts"},
		{name: "knownhosts-command"},
		{name: "percent", slow: true},
		{name: "proto-version"},
		{name: "proto-mismatch", not: "tests the exit status of sshd"},
		{name: "multiplex", slow: true, inside: true, edits: []string{`s/Invalid SSH identification string/SSH-2.0-/`}}, // sshd's answer to an empty line
		// Algorithms: those that the agent has.
		{name: "try-ciphers"},
		{name: "kextype"},
		{name: "rekey", slow: true, edits: []string{ // sshd's own limits
			`/^for s in/{N;/server rekeylimit/s/^for s in [^;]*;/for s in ;/}`, `s/^for size in [^;]*;/for size in ;/`,
		}},
		{name: "integrity", slow: true},
		{name: "keyscan"},
		{name: "cipher-speed", slow: true},
		// Forwarding.
		{name: "forwarding", inside: true},
		{name: "dynamic-forward", slow: true, inside: true},
		{name: "forward-control", inside: true, edits: []string{`s/^[lr]perm_tests +[a-z].*//`}}, // AllowTcpForwarding
		{name: "agent", slow: true},
		// Files.
		{name: "scp"},
		{name: "scp3"},
		{name: "scp-uri"},
		{name: "sftp", edits: []string{`s/^BUFFERSIZE="5 /BUFFERSIZE="/`}}, // 600,000 round trips
		{name: "sftp-cmds"},
		{name: "sftp-badcmds"},
		{name: "sftp-batch"},
		{name: "sftp-glob"},
		{name: "sftp-uri"},
		// PuTTY.
		{name: "putty-transfer", slow: true},
		{name: "putty-ciphers"},
		{name: "putty-kex"},

		{name: "addrmatch", not: sshdsOwn},
		{name: "agent-getpeereid", not: local},
		{name: "agent-pkcs11", not: local},
		{name: "agent-ptrace", not: local},
		{name: "agent-restrict", not: "tests the restrictions of ssh-agent along several sshds on this machine"},
		{name: "agent-subprocess", not: local},
		{name: "agent-timeout", not: local},
		{name: "allow-deny-users", not: sshdsOwn},
		{name: "authinfo", not: sshdsOwn},
		{name: "banner", not: sshdsOwn},
		{name: "brokenkeys", not: keyRules},
		{name: "cert-file", not: otherKeys},
		{name: "cert-hostkey", not: otherKeys},
		{name: "cert-userkey", not: otherKeys},
		{name: "cfginclude", not: local},
		{name: "cfgmatch", not: sshdsOwn},
		{name: "cfgmatchlisten", not: sshdsOwn},
		{name: "cfgparse", not: sshdsOwn},
		{name: "channel-timeout", not: sshdsOwn},
		{name: "conch-ciphers", not: "needs Twisted Conch"},
		{name: "connection-timeout", not: sshdsOwn},
		{name: "dhgex", not: "tests Diffie-Hellman group exchange, which the agent does not offer"},
		{name: "forcecommand", not: sshdsOwn},
		{name: "hostbased", not: "tests authentication by host, which the agent does not offer"},
		{name: "hostkey-agent", not: sshdsOwn},
		{name: "hostkey-rotate", not: "tests the announcement of further host keys: an agent has one, for its life"},
		{name: "key-options", not: keyRules},
		{name: "keygen-change", not: local},
		{name: "keygen-comment", not: local},
		{name: "keygen-convert", not: local},
		{name: "keygen-knownhosts", not: local},
		{name: "keygen-moduli", not: local},
		{name: "keygen-sshfp", not: local},
		{name: "keys-command", not: sshdsOwn},
		{name: "keytype", not: otherKeys},
		{name: "krl", not: local},
		{name: "limit-keytype", not: sshdsOwn},
		{name: "login-timeout", not: sshdsOwn},
		{name: "multipubkey", not: keyRules},
		{name: "principals-command", not: sshdsOwn},
		{name: "reconfigure", not: sshdsOwn},
		{name: "reexec", not: sshdsOwn},
		{name: "scp-ssh-wrapper", not: notATest},
		{name: "servcfginclude", not: sshdsOwn},
		{name: "sftp-chroot", not: sshdsOwn},
		{name: "sftp-perm", not: "tests the options of OpenSSH's sftp-server"},
		{name: "ssh-com", not: "needs the programs of ssh.com"},
		{name: "ssh-com-client", not: "needs the programs of ssh.com"},
		{name: "ssh-com-keygen", not: "needs the programs of ssh.com"},
		{name: "ssh-com-sftp", not: "needs the programs of ssh.com"},
		{name: "ssh2putty", not: notATest},
		{name: "sshcfgparse", not: local},
		{name: "sshd-log-wrapper", not: notATest},
		{name: "sshfp-connect", not: "needs names in the DNS"},
		{name: "sshsig", not: local},
		{name: "test-exec", not: notATest},
		{name: "valgrind-unit", not: notATest},
	}
}
