package sshconfig_test

import (
	"strings"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

// kind is a configuration that somebody may have.
type kind struct {
	name    string
	text    string
	without string // the same without blocks of ours; empty: the same
	broken  bool   // ssh reads none of it, before or after
	moved   bool   // the user has put something above our block, which wins
}

func (k kind) rest() string {
	if strings.Contains(k.text, "cloudssh config") {
		return k.without
	}
	return k.text
}

// block is one as config write makes it.
func block() sshconfig.Block {
	return sshconfig.Block{
		Prefix:       "cloudssh-",
		Names:        []string{"hello", "api.europe-west1.my-project"},
		Command:      []string{"/usr/local/bin/cloudssh", "proxy", sshconfig.HostName, "--host-prefix=cloudssh-"},
		IdentityFile: "/home/me/.config/cloudssh/id_ed25519",
		KnownHosts:   "/home/me/.config/cloudssh/known_hosts",
		User:         "cloudssh",
	}
}

const (
	hosts = "Host otherhost\n    User alice\n    Port 2222\n\nHost *.corp\n    ProxyJump bastion\n"
	stars = "Host *\n    User bob\n    ProxyCommand nc %h %p\n    IdentityFile ~/.ssh/work\n    Port 2022\n    HostName %h.example.com\n    ConnectTimeout 3\n    StrictHostKeyChecking no\n"

	oldBlock   = "# >>> cloudssh config >>>\nHost gcr-*\n    ProxyCommand old %n\nHost *\n# <<< cloudssh config <<<\n"
	otherBlock = "# >>> cloudssh config: prod- >>>\nHost prod-*\n    ProxyCommand other %h\nHost *\n# <<< cloudssh config <<<\n"
	aboutUs    = "# see cloudssh config write, >>> and <<<\n# >>> cloudssh configuration >>>\n"
	sameBlock  = "# >>> cloudssh config: cloudssh- >>>\nHost cloudssh-*\n    ProxyCommand old %h\nHost *\n# <<< cloudssh config <<<\n"
)

// kinds are configurations of many sorts. INCLUDED is a file that is there.
func kinds() []kind {
	return []kind{
		{name: "empty"},
		{name: "one line end", text: "\n"},
		{name: "comments only", text: "# nothing here\n\n   # yet\n"},
		{name: "a comment without a final newline", text: "# nothing here"},
		{name: "hosts", text: hosts},
		{name: "a star for all", text: hosts + stars},
		{name: "globals above the hosts", text: "User carol\nServerAliveInterval 15\nAddKeysToAgent yes\n\n" + hosts},
		{name: "globals only", text: "ForwardAgent yes\nPort 99\nProxyUseFdpass yes\nPubkeyAuthentication no\n"},
		{name: "no final newline", text: hosts + "Host last\n    User dave"},
		{name: "tabs and equal signs", text: "Host=otherhost\n\tUser=erin\n\tPort = 2200\n\t\n"},
		{name: "CRLF", text: strings.ReplaceAll("User frank\n"+hosts+stars, "\n", "\r\n")},
		{name: "CRLF without an end", text: "Host otherhost\r\n  User frank"},
		{name: "both line ends", text: "User frank\r\n" + hosts},
		{name: "spaces and form feeds at line ends", text: "User grace  \t\f\nHost otherhost \n Port 23 \n"},
		{name: "no spaces at all", text: "user heidi\nhost otherhost\nport 24\n"},
		{name: "Match host", text: "Match host otherhost\n    User ivan\nMatch host *.corp,!git.corp user root\n    Port 25\n"},
		{name: "Match all", text: "User judy\nMatch all\n    Port 26\n"},
		{name: "Match final", text: "Match final host otherhost\n    User kim\nMatch originalhost example.com\n    Port 27\n"},
		{name: "Match canonical", text: "CanonicalizeHostname always\nCanonicalizeFallbackLocal yes\nMatch canonical all\n    User leo\n"},
		{name: "Match exec", text: "Match exec \"test %h = otherhost\"\n    User mia\n"},
		{name: "Include", text: "Include INCLUDED\n\n" + stars},
		{name: "Include below a host", text: "Host otherhost\n    Include INCLUDED\n    Port 28\n"},
		{name: "a byte order mark", text: "\ufeff" + hosts, broken: true},
		{name: "nothing but a byte order mark", text: "\ufeff", broken: true},
		{name: "bytes that are no text", text: "# \xff\xfe\x80 caf\xe9\n" + hosts},
		{name: "a zero byte", text: "# a\x00b\n" + hosts},
		{name: "a word that ssh does not know", text: hosts + "Host x\n    UseFeyerwerk yes\n", broken: true},
		{name: "a word that it is to ignore", text: "IgnoreUnknown UseKeychain\nUseKeychain yes\n" + hosts},
		{name: "a value that is none", text: "Port many\n" + hosts, broken: true},
		{name: "a quote that does not close", text: "Host \"otherhost\n    User nina\n", broken: true},
		{name: "a long line", text: "# " + strings.Repeat("long ", 20000) + "\n" + hosts},
		{name: "the same hosts by hand", text: "Host cloudssh-*\n    ProxyCommand mine %n\n    User oscar\n"},
		{name: "text about us", text: aboutUs + hosts, without: aboutUs + hosts},
		{name: "our block", text: sameBlock},
		{name: "our block above", text: sameBlock + hosts + stars, without: hosts + stars},
		{name: "our block, moved down", text: hosts + "\n" + sameBlock + stars, without: hosts + "\n" + stars, moved: true},
		{name: "our block with CRLF", text: strings.ReplaceAll(sameBlock+hosts, "\n", "\r\n"), without: strings.ReplaceAll(hosts, "\n", "\r\n")},
		{name: "our block, last and without an end", text: hosts + strings.TrimSuffix(sameBlock, "\n"), without: hosts},
		{name: "our block behind a byte order mark", text: "\ufeff" + sameBlock + hosts, without: "\ufeff" + hosts, broken: true},
		{name: "a byte order mark again", text: "\ufeff\ufeff" + hosts, broken: true},
		{name: "an old block that names no prefix", text: "User pat\n" + oldBlock + hosts, without: "User pat\n" + hosts, moved: true},
		{name: "the block of another prefix", text: otherBlock + stars, without: stars},
		{name: "two blocks", text: sameBlock + hosts + sameBlock, without: hosts},
		{name: "three blocks", text: "# a\n" + oldBlock + otherBlock + "# b\n" + sameBlock + "# c", without: "# a\n# b\n# c"},
	}
}
