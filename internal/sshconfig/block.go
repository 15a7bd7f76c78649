package sshconfig

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is what is put into a configuration: hosts whose names begin with a
// prefix are reached through a command.
type Block struct {
	Prefix       string   // of the host names, such as "cloudssh-"
	Names        []string // that stand in the configuration, for tools that list hosts; without the prefix
	Command      []string // what ProxyCommand runs, HostName standing for the host
	IdentityFile string
	KnownHosts   string
	User         string
	Windows      bool // ssh runs on Windows
	Made         Made
}

// HostName in a command is the name of the host that is connected to. Not %n,
// the name as it was typed: paramiko does not know it.
const HostName = "%h"

var (
	prefixForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`) // ssh makes %h lower case
	nameForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$`)
)

// Check says what is wrong with a block's words. None can end a line or be
// taken for another word of the configuration.
func (b Block) Check() error {
	if !prefixForm.MatchString(b.Prefix) {
		return fmt.Errorf("the prefix %q is not made of small letters, digits, '-', '.' and '_'", b.Prefix)
	}
	for _, n := range b.Names {
		if !nameForm.MatchString(n) {
			return fmt.Errorf("%q is not SERVICE, SERVICE.REGION or SERVICE.REGION.PROJECT", n)
		}
	}
	for _, w := range append([]string{b.IdentityFile, b.KnownHosts}, b.Command...) {
		if strings.ContainsAny(w, "\r\n\x00") {
			return fmt.Errorf("%q cannot be written in one line", w)
		}
	}
	for _, path := range []string{b.IdentityFile, b.KnownHosts} {
		if strings.Contains(path, "${") {
			return fmt.Errorf("ssh would take ${ in %q for a variable, and has no way to say that it is none", path)
		}
		if b.Windows && strings.Contains(path, `"`) {
			return fmt.Errorf("%q is no path on Windows", path)
		}
	}
	return nil
}

// Text is the block as lines that end in \n.
func (b Block) Text() (string, error) {
	lines, err := b.lines()
	return strings.Join(lines, "\n") + "\n", err
}

// lines is the block without line ends. Only keywords that every OpenSSH since
// 7.2 knows are in it: one that ssh does not know stops it for all hosts.
func (b Block) lines() ([]string, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	lines := []string{
		beginMark + ": " + b.Prefix + " >>>",
		"# `cloudssh config write` made this block and replaces it; `cloudssh config remove` takes it out.",
	}
	if b.Made.File {
		lines = append(lines, madeFileLine)
	}
	if b.Made.Folder {
		lines = append(lines, madeFolderLine)
	}
	for _, n := range b.Names { // by name, because HostKeyAlias knows no tokens (OpenSSH 9.2)
		lines = append(lines, "Host "+b.Prefix+n, "    HostKeyAlias "+b.Prefix+n)
	}
	lines = append(lines, "Host "+b.patterns())
	for _, o := range b.options() {
		lines = append(lines, "    "+o)
	}
	// What follows is for the hosts that it was for before.
	return append(lines, "Host *", endMark+" <<<"), nil
}

// patterns are the hosts that the ProxyCommand is for. OpenSSH before 9.6 puts
// any host name as it is into the line for the shell, and URLs of git
// submodules name hosts that nobody typed. The name stands in quotes there;
// names with what could end or pierce the quotes are no hosts of ours.
func (b Block) patterns() string {
	never := []string{"'", `\`} // the latter for fish
	if b.Windows {
		// Whose ssh it is decides who reads the line: CreateProcess, cmd.exe or
		// Git's sh. A double quote itself cannot be written in a pattern for old
		// and new ssh alike; without what could follow one it does no harm.
		never = strings.Split(" |\t|'|`|$|\\|%|^|&|;|<|>|(|)", "|")
		never = append(never, "|")
	}
	patterns := b.Prefix + "*"
	for _, n := range never {
		patterns += ` "!*` + n + `*"` // without quotes paramiko's reader would take \ away
	}
	return patterns
}

// options are chosen so that nothing that the user says below for all hosts
// keeps ssh from reaching a twin.
func (b Block) options() []string {
	return []string{
		// Not one made from it: the proxy and known_hosts want the name as it is.
		// First, because paramiko expands %h in ProxyCommand to what it has read so far.
		"HostName %h",
		"ProxyCommand " + b.ProxyCommand(),
		"ProxyUseFdpass no",
		"CanonicalizeHostname no",
		"Port 22",
		"User " + b.User,
		"PubkeyAuthentication yes",
		"PreferredAuthentications publickey",
		"IdentityFile " + b.path(b.IdentityFile),
		"IdentitiesOnly yes",
		"AddKeysToAgent no",
		"UserKnownHostsFile " + b.path(b.KnownHosts),
		"GlobalKnownHostsFile /dev/null", // "none" is a file name to older ones; ssh.exe knows this one
		"StrictHostKeyChecking yes",
		"CheckHostIP no",
		"VerifyHostKeyDNS no",
		"UpdateHostKeys no",
		"ConnectTimeout 600",    // a twin is made first
		"ServerAliveInterval 0", // the proxy outlives a network that is away, ssh would not
	}
}

// path quotes a file name for ssh's own reading, which expands % in it.
func (b Block) path(p string) string {
	p = strings.ReplaceAll(p, "%", "%%")
	if b.Windows {
		return `"` + strings.ReplaceAll(p, `\`, "/") + `"`
	}
	if plain(p) {
		return p
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p) + `"`
}

// ProxyCommand is the line that ssh, having expanded % in it, gives to a shell.
func (b Block) ProxyCommand() string {
	var line []string
	for i, w := range b.Command {
		switch {
		case w != HostName:
			line = append(line, strings.ReplaceAll(b.quote(w, i == 0), "%", "%%"))
		case b.Windows:
			line = append(line, `"%h"`)
		default:
			line = append(line, "'%h'")
		}
	}
	return strings.Join(line, " ")
}

// quote quotes a word for the user's shell: sh, its likes, csh and fish all
// take single quotes. On Windows there may be no shell; its double quotes are
// read alike by programs' C runtime, cmd.exe and Git's sh as long as there is
// neither " nor a backslash before one, so program gets slashes.
func (b Block) quote(w string, program bool) string {
	if !b.Windows {
		if plain(strings.ReplaceAll(w, "=", "")) {
			return w
		}
		return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	if program {
		return `"` + strings.ReplaceAll(w, `\`, "/") + `"`
	}
	if plain(strings.ReplaceAll(w, "=", "")) {
		return w
	}
	return `"` + strings.ReplaceAll(w, `"`, `\"`) + `"`
}

// plain reports whether a word means itself to every reader; to OpenSSH before
// 8.7 = in a file name was a space.
func plain(w string) bool {
	return w != "" && strings.IndexFunc(w, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+:,./@%", r)
	}) < 0
}
