package tool

import (
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func dig(c *Context) int {
	q := question{kind: dnsmessage.TypeA}
	short, port, server := false, "", ""
	args := c.Args[1:]
	for i := 0; i < len(args); i++ {
		arg := args[i]
		kind, isKind := recordTypes()[strings.ToUpper(arg)]
		switch {
		case arg == "+short":
			short = true
		case arg == "+tcp" || arg == "+vc":
			q.stream = true
		case strings.HasPrefix(arg, "+time="):
			d, err := duration(arg[len("+time="):])
			if err != nil {
				return c.Usage("not a time: %s", arg)
			}
			q.wait = max(d, time.Millisecond)
		case strings.HasPrefix(arg, "+"): // what only changes how the answer looks
		case strings.HasPrefix(arg, "@"):
			server = arg[1:]
		case (arg == "-p" || arg == "-t" || arg == "-x") && i+1 < len(args):
			i++
			switch arg {
			case "-p":
				port = args[i]
			case "-t":
				if q.kind, isKind = recordTypes()[strings.ToUpper(args[i])]; !isKind {
					return c.Usage("unknown type %s", args[i])
				}
			default:
				var ok bool
				if q.name, ok = reverse(args[i]); !ok {
					return c.Usage("not an address: %s", args[i])
				}
				q.kind = dnsmessage.TypePTR
			}
		case isKind && (q.name != "" || i+1 < len(args)):
			q.kind = kind
		case strings.HasPrefix(arg, "-"):
			return c.Usage("unknown option %s", arg)
		case strings.ToUpper(arg) == "IN":
		default:
			q.name = arg
		}
	}
	if q.name == "" {
		return c.Usage("dig [@SERVER] [-p PORT] [-x ADDRESS] [+short] [+tcp] NAME [TYPE]")
	}
	if server != "" {
		var err error
		if q.server, err = serverAddress(server, port); err != nil {
			return c.Usage("%s", err)
		}
	}
	a, err := q.anyServer(c)
	if err != nil {
		c.Errorf("%s", err)
		return 9
	}
	out := c.output()
	if short {
		for _, r := range a.Answers {
			out.line(recordText(r))
		}
		return out.done(0)
	}
	writeAnswer(out, a)
	return out.done(0)
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
	if name, ok := reverse(q.name); ok {
		q.name, kinds = name, []dnsmessage.Type{dnsmessage.TypePTR}
	} else if o.has("t") {
		kind, ok := recordTypes()[strings.ToUpper(o.value('t'))]
		if !ok {
			return c.Usage("unknown type %s", o.value('t'))
		}
		kinds = []dnsmessage.Type{kind}
	}
	out, found := c.output(), false
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
			return out.done(0)
		}
	}
	if code == dnsmessage.RCodeSuccess {
		out.line(q.name + " has no such record")
	} else {
		out.line(q.name + " not found: " + codeName(code))
	}
	return out.done(1)
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
