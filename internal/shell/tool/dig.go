package tool

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func dig(c *Context) int {
	d := digger{question: question{kind: dnsmessage.TypeA}}
	for args := c.Args[1:]; len(args) > 0; {
		var err error
		if args, err = d.argument(args); err != nil {
			return c.Usage("%s", err)
		}
	}
	if d.name == "" {
		return c.Usage("dig [@SERVER] [-p PORT] [-x ADDRESS] [+short] [+tcp] NAME [TYPE]")
	}
	if d.at != "" {
		var err error
		if d.server, err = serverAddress(d.at, d.port); err != nil {
			return c.Usage("%s", err)
		}
	}
	a, err := d.anyServer(c)
	if err != nil {
		c.Errorf("%s", err)
		return 9
	}
	out := c.output()
	if d.short {
		for _, r := range a.Answers {
			out.line(recordText(r))
		}
		return out.done(0)
	}
	writeAnswer(out, a)
	return out.done(0)
}

// A digger is the command line of dig.
type digger struct {
	question
	short    bool
	at, port string
}

// argument reads the first of the arguments, and returns the others.
func (d *digger) argument(args []string) (rest []string, err error) {
	arg, rest := args[0], args[1:]
	kind, isKind := recordTypes()[strings.ToUpper(arg)]
	switch {
	case arg == "+short":
		d.short = true
	case arg == "+tcp" || arg == "+vc":
		d.stream = true
	case strings.HasPrefix(arg, "+time="):
		d.wait, err = duration(arg[len("+time="):])
		d.wait = max(d.wait, time.Millisecond)
	case strings.HasPrefix(arg, "+"): // what only changes how the answer looks
	case strings.HasPrefix(arg, "@"):
		d.at = arg[1:]
	case strings.HasPrefix(arg, "-"):
		if len(rest) == 0 {
			return nil, errors.New("unknown option " + arg)
		}
		return rest[1:], d.flag(arg, rest[0])
	case isKind && (d.name != "" || len(rest) > 0):
		d.kind = kind
	case strings.ToUpper(arg) == "IN":
	default:
		d.name = arg
	}
	return rest, err
}

func (d *digger) flag(flag, value string) error {
	ok := true
	switch flag {
	case "-p":
		d.port = value
	case "-t":
		d.kind, ok = recordTypes()[strings.ToUpper(value)]
	case "-x":
		d.kind = dnsmessage.TypePTR
		d.name, ok = reverse(value)
	default:
		return errors.New("unknown option " + flag)
	}
	if !ok {
		return errors.New("bad value of " + flag + ": " + value)
	}
	return nil
}

// codeName is how dig writes what a server answered.
func codeName(code dnsmessage.RCode) string {
	switch code {
	case dnsmessage.RCodeSuccess:
		return "NOERROR"
	case dnsmessage.RCodeNameError:
		return "NXDOMAIN"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	}
	return code.String()
}

func writeAnswer(out *output, a answered) {
	out.printf(";; status: %s, id: %d\n", codeName(a.RCode), a.ID)
	out.printf(";; QUERY: %d, ANSWER: %d, AUTHORITY: %d, ADDITIONAL: %d\n", len(a.Questions), len(a.Answers), len(a.Authorities), len(a.Additionals))
	out.text("\n;; QUESTION SECTION:\n")
	for _, q := range a.Questions {
		out.printf(";%s\t\tIN\t%s\n", q.Name, recordName(q.Type))
	}
	for _, part := range []struct {
		name    string
		records []dnsmessage.Resource
	}{{"ANSWER", a.Answers}, {"AUTHORITY", a.Authorities}, {"ADDITIONAL", a.Additionals}} {
		if len(part.records) == 0 {
			continue
		}
		out.text("\n;; " + part.name + " SECTION:\n")
		for _, r := range part.records {
			out.printf("%s\t%d\tIN\t%s\t%s\n", r.Header.Name, r.Header.TTL, recordName(r.Header.Type), recordText(r))
		}
	}
	out.printf("\n;; Query time: %d msec\n;; SERVER: %s\n;; MSG SIZE  rcvd: %d\n", a.took.Milliseconds(), a.server, a.size)
}

// lookups are the questions of nslookup and host: the name as it is, and in each
// of the container's domains if it has no dot.
func (q question) lookups() []question {
	names := []string{q.name}
	if _, search := resolvConf(); !strings.Contains(q.name, ".") {
		for _, domain := range search {
			names = append(names, q.name+"."+domain)
		}
	}
	var all []question
	for _, name := range names {
		q.name = name
		all = append(all, q)
	}
	return all
}

// nslookup is nslookup and host, which differ in how they write answers.
func nslookup(c *Context) int {
	o, ok := c.parse("t:p:avW:", "type=t")
	if !ok {
		return 2
	}
	for i, arg := range c.Args { // nslookup has -type=MX
		if kind, ok := strings.CutPrefix(arg, "-type="); ok {
			n := *c
			n.Args = append(append(append([]string{}, c.Args[:i]...), "-t", kind), c.Args[i+1:]...)
			return nslookup(&n)
		}
	}
	if len(o.operands) < 1 || len(o.operands) > 2 {
		return c.Usage("%s [-t TYPE] NAME [SERVER]", c.Args[0])
	}
	q := question{name: o.operands[0]}
	if len(o.operands) == 2 {
		var err error
		if q.server, err = serverAddress(o.operands[1], o.value('p')); err != nil {
			return c.Usage("%s", err)
		}
	}
	kinds := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	kind, known := recordTypes()[strings.ToUpper(o.value('t'))]
	name, isAddress := reverse(q.name)
	switch {
	case isAddress:
		q.name, kinds = name, []dnsmessage.Type{dnsmessage.TypePTR}
	case o.has("t") && !known:
		return c.Usage("unknown type %s", o.value('t'))
	case known:
		kinds = []dnsmessage.Type{kind}
	}
	out := c.output()
	return out.done(q.lookUp(c, out, kinds))
}

// lookUp asks for each kind of record, and writes what is found.
func (q question) lookUp(c *Context, out *output, kinds []dnsmessage.Type) int {
	found := false
	code := dnsmessage.RCodeSuccess
	for _, q := range q.lookups() {
		for _, q.kind = range kinds {
			a, err := q.anyServer(c)
			if err != nil {
				out.flush()
				return c.Errorf("%s", err)
			}
			code = max(code, a.RCode)
			if !found && len(a.Answers) > 0 && c.Args[0] == "nslookup" {
				out.text("Server:\t\t" + a.server + "\n\n")
			}
			for _, r := range a.Answers {
				found = true
				writeLookup(out, c.Args[0], r)
			}
		}
		if found {
			return 0
		}
	}
	if code == dnsmessage.RCodeSuccess {
		out.line(q.name + " has no such record")
	} else {
		out.line(q.name + " not found: " + codeName(code))
	}
	return 1
}

func writeLookup(out *output, program string, r dnsmessage.Resource) {
	name, text := strings.TrimSuffix(r.Header.Name.String(), "."), recordText(r)
	address := r.Header.Type == dnsmessage.TypeA || r.Header.Type == dnsmessage.TypeAAAA
	switch {
	case program == "nslookup" && address:
		out.line("Name:\t" + name + "\nAddress: " + text)
	case program == "nslookup":
		out.line(name + "\t" + recordName(r.Header.Type) + " = " + text)
	case address:
		out.line(name + " has " + map[bool]string{true: "address ", false: "IPv6 address "}[r.Header.Type == dnsmessage.TypeA] + text)
	case r.Header.Type == dnsmessage.TypeCNAME:
		out.line(name + " is an alias for " + text)
	default:
		out.line(name + " " + recordName(r.Header.Type) + " " + text)
	}
}
