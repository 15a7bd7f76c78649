package tool

import (
	"slices"
	"strings"
)

// All returns every tool, sorted by name.
func All() []Tool {
	all := slices.Concat(viewing(), files(), times(), running(), archives(), basics(), text(), comparing(), network(), system())
	for i, t := range all {
		all[i].Run = helpful(t)
	}
	slices.SortFunc(all, func(a, b Tool) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// OwnProcess says whether a tool must have a process of its own: because of the
// directory in which it opens files, of signals or of descriptors. The shell starts
// itself for it.
func OwnProcess(name string) bool { return name == "awk" || name == "nohup" }

// helpful is a tool that explains itself when it is called with --help.
func helpful(t Tool) func(*Context) int {
	return func(c *Context) int {
		if len(c.Args) == 2 && c.Args[1] == "--help" && t.Synopsis != "" {
			out := c.output()
			out.line(t.Synopsis)
			return out.done(0)
		}
		return t.Run(c)
	}
}

func viewing() []Tool {
	return []Tool{
		{"cat", "cat [-nbsAvet] [FILE]...: show files one behind the other", cat},
		{"egrep", "egrep PATTERN [FILE]...: grep -E", egrep},
		{"fgrep", "fgrep TEXT [FILE]...: grep -F", fgrep},
		{"grep", "grep [-EFPivwxcnlLqsohHrRa] [-m N] [-A N] [-B N] [-C N] [-e PATTERN] [-f FILE] [PATTERN] [FILE]...: find lines", grep},
		{"head", "head [-n [-]LINES] [-c [-]BYTES] [-qv] [FILE]...: show the beginning", head},
		{"less", "less [-SRNi] [FILE]...: look through files; h shows the keys", less},
		{"ls", "ls [-aAlhRrtSXU1dFpinsLcugo] [FILE]...: list files", ls},
		{"more", "more [FILE]...: less", less},
		{"tail", "tail [-n [+]LINES] [-c [+]BYTES] [-fFqv] [-s SECONDS] [FILE]...: show the end", tail},
		{"tee", "tee [-a] [FILE]...: copy standard input to files and on", tee},
		{"vi", "vi [+LINE] [FILE]...: edit files", vi},
		{"view", "view [FILE]...: less", less},
		{"wc", "wc [-lwcmL] [FILE]...: count lines, words and bytes", wc},
		{"yes", "yes [TEXT]: write a line until nobody reads it", yes},
	}
}

func files() []Tool {
	return []Tool{
		{"chgrp", "chgrp [-Rh] GROUP FILE...: change the group of files", chown},
		{"chmod", "chmod [-R] MODE FILE...: change permissions, to 755 or by u+x,go-w", chmod},
		{"chown", "chown [-Rh] [USER][:GROUP] FILE...: change the owner of files", chown},
		{"cp", "cp [-raRfinpuvTlLPH] FILE... TO: copy files", cp},
		{"find", "find [-HLP] [FILE]... [EXPRESSION]: find files (-name -type -size -mtime -perm -exec -delete -prune ...)", findFiles},
		{"ln", "ln [-sfnrvT] TARGET... [NAME]: make links", ln},
		{"mkdir", "mkdir [-pv] [-m MODE] NAME...: make directories", mkdir},
		{"mktemp", "mktemp [-du] [-p DIR] [TEMPLATE]: make a temporary file or directory", mktemp},
		{"mv", "mv [-finuvT] FILE... TO: move or rename files", mv},
		{"readlink", "readlink [-femnv] FILE...: show where links lead to", readlink},
		{"realpath", "realpath [-ems] FILE...: show paths without links", readlink},
		{"rm", "rm [-rfidv] FILE...: remove files", rm},
		{"rmdir", "rmdir [-pv] DIR...: remove empty directories", rmdir},
		{"stat", "stat [-L] [-c FORMAT] FILE...: show all about files", statTool},
		{"truncate", "truncate [-c] -s [+-]SIZE FILE...: set the size of files", truncate},
		{"touch", "touch [-acmh] [-d DATE] [-t TIME] [-r FILE] FILE...: make files, or set their times", touch},
	}
}

func times() []Tool {
	return []Tool{
		{"date", "date [-uR] [-I[SPEC]] [-d DATE] [-r FILE] [+FORMAT]: show the time", date},
		{"sleep", "sleep TIME[smhd]...: wait", sleep},
	}
}

// running are the tools that show processes, and those that run other commands.
func running() []Tool {
	return []Tool{
		{"env", "env [-i0] [-u NAME] [-C DIR] [NAME=VALUE]... [COMMAND]: show the environment, or run a command in another", env},
		{"nohup", "nohup COMMAND: run a command that goes on when the terminal is gone", nohup},
		{"kill", "kill [-SIGNAL] PID...: send signals; -l lists them", kill},
		{"pgrep", "pgrep [-flaxvnoic] [-u USER] [-P PID] PATTERN: find processes", pgrep},
		{"pidof", "pidof [-s] NAME...: find the processes of a program", pidof},
		{"pkill", "pkill [-SIGNAL] [-fxvno] PATTERN: send signals to processes", pgrep},
		{"printenv", "printenv [-0] [NAME]...: show variables of the environment", printenv},
		{"ps", "ps [aux] [-ef] [-o COLUMN,...] [-p PID,...] [-u USER,...] [-C NAME,...] [--no-headers]: list processes", ps},
		{"time", "time COMMAND: run a command, and say how long it took", clocked},
		{"timeout", "timeout TIME[smhd] COMMAND: run a command no longer than that", timeout},
		{"top", "top [-b] [-n ROUNDS] [-d SECONDS] [-p PID,...]: watch processes; keys: P M N sort, q quits", top},
		{"watch", "watch [-tdeg] [-n SECONDS] COMMAND: run a command again and again", watch},
		{"xargs", "xargs [-0rt] [-n N] [-L N] [-I TEXT] [-d CHAR] [-a FILE] [COMMAND]: run a command with arguments from standard input", xargs},
	}
}

func archives() []Tool {
	return []Tool{
		{"gunzip", "gunzip [-cfkt] [FILE]...: gzip -d", gunzip},
		{"gzip", "gzip [-cdfkt1..9] [FILE]...: compress files", gzipTool},
		{"tar", "tar -c|-x|-t [-zvhpkOm] [-f FILE] [-C DIR] [--exclude PATTERN] [--strip-components N] [FILE]...: archives", tarTool},
		{"zcat", "zcat [FILE]...: gzip -dc", zcat},
	}
}

// basics are those that shells often have themselves: xargs, find -exec and the
// like need them as commands.
func basics() []Tool {
	return []Tool{
		{"[", "", testTool},
		{"basename", "basename [-a] [-s SUFFIX] NAME [SUFFIX]: show the last part of a path", basename},
		{"clear", "clear: empty the terminal", clearScreen},
		{"dirname", "dirname PATH...: show all but the last part of a path", dirname},
		{"echo", "", echo},
		{"false", "", falsity},
		{"printf", "printf FORMAT [ARGUMENT]...: show text in a form", printf},
		{"pwd", "pwd: show the working directory", pwd},
		{"seq", "seq [-w] [-s TEXT] [FIRST [STEP]] LAST: count", seq},
		{"test", "", testTool},
		{"true", "", truth},
	}
}

// text are the tools that work on lines of text.
func text() []Tool {
	return []Tool{
		{"awk", "awk [-F SEPARATOR] [-v NAME=VALUE] [-f FILE] [PROGRAM] [FILE]...: run a program for lines and their fields", awk},
		{"cut", "cut -b|-c|-f LIST [-d CHAR] [-s] [--complement] [FILE]...: show parts of lines", cutTool},
		{"sed", "sed [-nEsz] [-i[SUFFIX]] [-e SCRIPT] [-f FILE] [SCRIPT] [FILE]...: edit lines", sed},
		{"sort", "sort [-bdfghinrRVcusz] [-t CHAR] [-k KEY] [-o FILE] [FILE]...: sort lines", sortTool},
		{"tr", "tr [-cds] SET [SET]: replace or delete characters", tr},
		{"uniq", "uniq [-cdui] [-f N] [-s N] [-w N] [FILE [TO]]: leave out lines that repeat", uniq},
	}
}

// comparing are the tools for files that are no text, and for differences.
func comparing() []Tool {
	return []Tool{
		{"base64", "base64 [-d] [-w COLUMNS] [FILE]: encode or decode", base64Tool},
		{"cmp", "cmp [-ls] FILE [FILE]: compare two files", cmpTool},
		{"diff", "diff [-urqNiwbs] [-U LINES] FILE FILE: show how two files differ", diff},
		{"hd", "hd [FILE]...: hexdump -C", hexdump},
		{"hexdump", "hexdump [-Cv] [-n BYTES] [-s BYTES] [FILE]...: show bytes", hexdump},
		{"jq", "jq [-rcnsejR] [--arg NAME TEXT] FILTER [FILE]...: query JSON", jq},
		{"md5sum", "md5sum [-c] [FILE]...: digests", md5sum},
		{"sha1sum", "sha1sum [-c] [FILE]...: digests", sha1sum},
		{"sha256sum", "sha256sum [-c] [FILE]...: digests", sha256sum},
		{"sha512sum", "sha512sum [-c] [FILE]...: digests", sha512sum},
		{"od", "od [-abcdilosxv] [-t [acdoux][SIZE][z]] [-A d|o|x|n] [-N BYTES] [-j BYTES] [-w[WIDTH]] [FILE]...: show bytes", od},
		{"strings", "strings [-n LENGTH] [-t d|x|o] [FILE]...: show texts in files", stringsTool},
		{"xxd", "xxd [-pr] [-l BYTES] [-s BYTES] [-c COLUMNS] [FILE]: show bytes, or turn them back", xxd},
	}
}

func network() []Tool {
	const flags = " [-X METHOD] [-H HEADER] [-d DATA] [-o FILE] [-OILksfvi] [-u USER:PASSWORD] [-m SECONDS] URL...: talk to a web server"
	return []Tool{
		{"curl", "curl" + flags, fetch},
		{"dig", "dig [@SERVER] [-p PORT] [-x ADDRESS] [+short] [+tcp] NAME [TYPE]: ask the name servers", dig},
		{"fetch", "fetch" + flags, fetch},
		{"host", "host [-t TYPE] NAME [SERVER]: look up names", nslookup},
		{"lsof", "lsof [-p PID] [-c NAME] [-u USER] [-i[:PORT]] [-t] [FILE]...: list open files", lsof},
		{"nc", "nc [-uUvz] [-w TIME] HOST PORT | nc -l [-k] PORT: connections by hand", nc},
		{"netstat", "netstat [-tuxlanp]: list sockets", ss},
		{"nslookup", "nslookup [-type=TYPE] NAME [SERVER]: look up names", nslookup},
		{"ss", "ss [-tuxlanpH46]: list sockets", ss},
		{"wget", "wget [-qS] [-O FILE] [--header HEADER] [--post-data DATA] [--no-check-certificate] URL...: download", wget},
	}
}

func system() []Tool {
	return []Tool{
		{"df", "df [-ahikmT] [FILE]...: show how full file systems are", df},
		{"du", "du [-sahkmbcx] [-d DEPTH] [FILE]...: show what takes how much", du},
		{"free", "free [-bkmgh]: show memory", free},
		{"groups", "groups [USER]: show groups", groups},
		{"hostname", "hostname [-s]: show the name of the machine", hostname},
		{"id", "id [-ugGn] [USER]: show users and groups", id},
		{"mount", "mount [-t TYPE]: list what is mounted", mount},
		{"nproc", "nproc: show how many processors there are", nproc},
		{"tty", "tty: show the terminal", tty},
		{"uname", "uname [-asnrvmo]: show the system", uname},
		{"uptime", "uptime: show how long the machine runs", uptimeTool},
		{"which", "which NAME...: show what a command is", which},
		{"whoami", "whoami: show the user", whoami},
	}
}
