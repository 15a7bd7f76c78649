package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/itchyny/gojq"
)

// A jqRun is one run of jq.
type jqRun struct {
	c      *Context
	o      options
	out    *output
	code   *gojq.Code
	values []any // of variables
	status int
}

func jq(c *Context) int {
	j := &jqRun{c: c, out: c.output()}
	args, names, err := j.variables()
	if err != nil {
		return c.Usage("%s", err)
	}
	n := *c
	n.Args = append([]string{c.Args[0]}, args...)
	o, ok := n.parse("rjcnsSeRCMf:4:a", "raw-output=r", "join-output=j", "compact-output=c", "null-input=n", "slurp=s", "sort-keys=S",
		"exit-status=e", "raw-input=R", "color-output=C", "monochrome-output=M", "from-file=f", "indent=4", "tab=a")
	if !ok {
		return 2
	}
	j.o, args = o, o.operands
	text := ""
	if o.has("f") {
		if text, err = c.readAll(o.value('f')); err != nil {
			return c.fail(o.value('f'), err) + 1
		}
	} else {
		if len(args) == 0 {
			return c.Usage("a filter is needed, such as .")
		}
		text, args = args[0], args[1:]
	}
	query, err := gojq.Parse(text)
	if err == nil {
		j.code, err = gojq.Compile(query, gojq.WithVariables(names), gojq.WithEnvironLoader(func() []string { return c.Environ }))
	}
	if err != nil {
		c.Errorf("%s: %s", text, err)
		return 3
	}
	if err := j.input(args); err != nil && !errors.Is(err, errStop) {
		j.out.flush()
		c.Errorf("%s", reason(err))
		j.status = 2
	}
	return j.out.done(j.status)
}

// variables takes --arg NAME TEXT and --argjson NAME JSON off the command line:
// no other flag has two values.
func (j *jqRun) variables() (rest, names []string, err error) {
	args := j.c.Args[1:]
	var plain []string
	for i := 0; i < len(args); i++ {
		if args[i] != "--arg" && args[i] != "--argjson" {
			plain = append(plain, args[i])
			continue
		}
		if i+2 >= len(args) {
			return nil, nil, errors.New(args[i] + " needs a name and a value")
		}
		var value any = args[i+2]
		if args[i] == "--argjson" {
			if err := json.Unmarshal([]byte(args[i+2]), &value); err != nil {
				return nil, nil, errors.New(args[i+2] + " is no JSON")
			}
		}
		names, j.values = append(names, "$"+args[i+1]), append(j.values, value)
		i += 2
	}
	return plain, names, nil
}

func (j *jqRun) input(files []string) error {
	if j.o.has("n") {
		return j.run(nil)
	}
	var all []any
	var failed error
	raw := ""
	status := j.c.each(files, func(_ string, r io.Reader) error {
		if j.o.has("R") {
			if j.o.has("s") {
				text, err := io.ReadAll(r)
				raw += string(text)
				return err
			}
			return errors.Join(lines(patient{r, j.out}, func(line []byte, _ bool) bool {
				failed = j.run(string(line))
				return failed == nil
			}), failed)
		}
		d := json.NewDecoder(patient{r, j.out})
		d.UseNumber()
		for {
			var v any
			if err := d.Decode(&v); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if j.o.has("s") {
				all = append(all, v)
				continue
			}
			if err := j.run(v); err != nil {
				return err
			}
		}
	})
	if status != 0 {
		j.status = 2
	}
	switch {
	case j.o.has("s") && j.o.has("R"):
		return j.run(raw)
	case j.o.has("s"):
		if all == nil {
			all = []any{}
		}
		return j.run(all)
	}
	return nil
}

// run writes what the filter makes of one value.
func (j *jqRun) run(v any) error {
	results := j.code.RunWithContext(j.c, v, j.values...)
	for {
		v, ok := results.Next()
		if !ok {
			return nil
		}
		if err, ok := v.(error); ok {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return errStop
			}
			j.out.flush()
			j.c.Errorf("%s", err)
			j.status = 5
			return nil
		}
		if j.o.has("e") {
			if j.status = 0; v == nil || v == false {
				j.status = 1
			}
		}
		if err := j.write(v); err != nil {
			return err
		}
	}
}

func (j *jqRun) write(v any) error {
	if s, ok := v.(string); ok && j.o.has("rj") {
		j.out.text(s)
	} else {
		b, err := gojq.Marshal(v)
		if err != nil {
			return err
		}
		if !j.o.has("c") && !j.o.has("j") {
			indent := "  "
			if n, err := j.o.number('4', 2); err == nil {
				indent = strings.Repeat(" ", int(min(n, 8)))
			}
			if j.o.has("a") {
				indent = "\t"
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, b, "", indent); err != nil {
				return fmt.Errorf("writing %s: %w", b, err)
			}
			b = pretty.Bytes()
		}
		j.out.text(string(b))
	}
	if !j.o.has("j") {
		j.out.byte('\n')
	}
	if j.out.failed() {
		return errStop
	}
	return nil
}
