package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transfer"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const cpLong = `Copies files between this machine and twins, as scp does: SERVICE:PATH is in a
twin of the service, job:NAME:PATH in one of a job, everything else is here. The image needs neither tar nor scp
nor a shell. The twin is made, or joined if you have one, and deleted at the end.

A relative PATH starts in the app's directory; SERVICE: alone is that directory.
Wildcards in PATH are the twin's: put them in quotes. A file here whose name has a
colon is ./NAME. With several sources, or a slash at its end, the destination is a
directory. - is standard input, as the only source, or standard output.

Directories are copied with -r, merging into what is there. Links in them stay
links; devices, sockets, pipes, and the /proc and /sys of a copy of / are left out
with a warning. A file appears under its name when it is whole; until then it is
.NAME.cloudssh-part-... beside it. When a large copy was cut off, the same command
goes on from there, if the source is the same and the part still exists: nothing
is kept in a twin that was deleted.

Exit codes: 0, 1 when something was not copied, 2 for wrong usage, 255 when the
twin or the connection failed.`

const cpExample = `  cloudssh cp hello:/etc/os-release .
  cloudssh cp -r hello: ./app                    # the app's directory
  cloudssh cp 'hello:/var/log/*.log' logs/
  cloudssh cp -rp fixtures config.json hello:/tmp/
  cloudssh cp hello:/app/data.db web:/tmp/       # between two twins
  cloudssh cp hello:/proc/1/environ - | tr '\0' '\n'`

// interruptGrace is how long a copy has, after it was interrupted, before its
// connection is closed.
const interruptGrace = 3 * time.Second

// cpOptions are the flags and arguments of cp.
type cpOptions struct {
	connect   connectOptions
	recursive bool
	preserve  bool
	noResume  bool

	sources []location
	dst     location
	again   string // the command line that does the same once more
}

// newCpCmd copies files.
func newCpCmd(a *app) *cobra.Command {
	o := &cpOptions{connect: connectOptions{escape: "none"}}
	cmd := &cobra.Command{
		Use:     "cp [-r] [-p] SOURCE... DESTINATION",
		Short:   "Copy files to and from a twin",
		Long:    cpLong,
		Example: cpExample,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parse(args); err != nil {
				return err
			}
			if err := o.connect.validate(); err != nil {
				return err
			}
			o.again = commandLine(cmd, args)
			return asCopy(a.copyFiles(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.recursive, "recursive", "r", false, "copy directories with all that is in them")
	f.BoolVarP(&o.preserve, "preserve", "p", false, "keep times and permissions")
	f.BoolVar(&o.noResume, "no-resume", false, "begin anew, even if a part of an earlier copy is there")
	o.connect.registerTwin(cmd)
	if err := f.MarkHidden("min-instances"); err != nil {
		panic(err) // a misspelt flag name above
	}
	o.connect.registerWire(cmd)
	return cmd
}

// commandLine is a command as the user could type it again.
func commandLine(cmd *cobra.Command, args []string) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if values, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range values.GetSlice() {
				words = append(words, shellWord("--"+f.Name+"="+v))
			}
			return
		}
		if f.Value.Type() == "bool" && f.Value.String() == "true" {
			words = append(words, "--"+f.Name)
			return
		}
		words = append(words, shellWord("--"+f.Name+"="+f.Value.String()))
	})
	for _, arg := range args {
		words = append(words, shellWord(arg))
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a POSIX shell, where it needs that.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// copyError is a failure of a copy alone: the twin and the connection are well.
type copyError struct{ error }

func (e *copyError) Unwrap() error { return e.error }

// asCopy marks what is neither the copy's failure nor wrong usage.
func asCopy(err error) error {
	var failed *copyError
	if errors.As(err, &failed) && without(err, func(e error) bool { return errors.As(e, &failed) }) == nil {
		return err
	}
	return asConnection(err)
}

// copying is one run of cp.
type copying struct {
	*app
	options *cpOptions
	cloud   *cloud
	remotes map[string]*transfer.Remote // by service
	kept    map[transfer.FS]bool        // whether a server's twin certainly stays
}

// copyFiles makes or joins the twins that are named, and copies.
func (a *app) copyFiles(ctx context.Context, o *cpOptions) error {
	if err := transfer.Hopeless(o.here(), transfer.Options{Recursive: o.recursive}); err != nil { // before a twin is made for it
		return (&copying{app: a, options: o}).tell(ctx, transfer.Report{}, 0, err)
	}
	c, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	job := &copying{app: a, options: o, cloud: c, remotes: map[string]*transfer.Remote{}, kept: map[transfer.FS]bool{}}
	return job.with(ctx, o.services())
}

// with connects to twins of services, one inside the other, and copies when
// all are there.
func (j *copying) with(ctx context.Context, services []string) error {
	if len(services) == 0 {
		return j.copy(ctx)
	}
	o := j.options.connect
	o.service = services[0]
	s, err := j.newConnection(j.cloud, &o)
	if err != nil {
		return err
	}
	s.work = func(ctx context.Context, l *link, twin *provision.Twin) error {
		stream, err := l.Subsystem(ctx, "sftp")
		if err != nil {
			return &session.NoStatusError{Err: err, Fate: session.NotStarted}
		}
		remote, err := transfer.NewRemote(stream, o.service)
		if err != nil {
			return err
		}
		defer remote.Close() //nolint:errcheck // all that was written has been confirmed
		j.remotes[o.service] = remote
		j.kept[remote] = o.keep || twin.Keep
		defer s.watchCopy(ctx, l)()
		return j.with(ctx, services[1:])
	}
	return s.inTwin(ctx, s.run)
}

// watchCopy tells of outages, and sees to it that a copy that was interrupted
// does not wait for a connection that is slow or gone.
func (s *connection) watchCopy(ctx context.Context, l *link) (stop func()) {
	told := s.tellOutages(ctx, l)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		limit := time.NewTimer(interruptGrace)
		defer limit.Stop()
		if !l.outage.down() {
			select {
			case <-done:
				return
			case <-limit.C:
			}
		}
		if err := l.conn.Abort(); err != nil {
			s.log.Info("giving the connection up", "error", err)
		}
	}()
	return func() {
		told()
		close(done)
	}
}

// copy does the copying, and tells of it.
func (j *copying) copy(ctx context.Context) error {
	o := j.options
	show := j.showProgress(o.title())
	began := time.Now()
	report, err := j.transfer(ctx, transfer.Options{
		Recursive: o.recursive, Preserve: o.preserve, NoResume: o.noResume,
		Keep:     func(side transfer.FS) bool { return side == transfer.Local{} || j.kept[side] },
		Progress: &show.progress, Logger: j.log,
	})
	show.end(err)
	return j.tell(ctx, report, time.Since(began), err)
}

func (j *copying) transfer(ctx context.Context, o transfer.Options) (transfer.Report, error) {
	sources := make([]transfer.Place, len(j.options.sources))
	for i, l := range j.options.sources {
		sources[i] = j.place(l)
	}
	switch {
	case j.options.sources[0].std:
		return transfer.Send(ctx, j.in, j.place(j.options.dst), o)
	case j.options.dst.std:
		return transfer.Fetch(ctx, sources, output{j.out}, o)
	}
	return transfer.Copy(ctx, sources, j.place(j.options.dst), o)
}

func (j *copying) place(l location) transfer.Place {
	if l.service == "" {
		return transfer.Place{FS: transfer.Local{}, Path: l.path}
	}
	return transfer.Place{FS: j.remotes[l.service], Path: l.path}
}

// tell says what came of the copy, and turns it into cp's result.
func (j *copying) tell(ctx context.Context, r transfer.Report, took time.Duration, err error) error {
	for _, name := range r.Skipped {
		j.ui.Warnf("%s: left out: neither a file nor a directory nor a link", name)
	}
	for _, name := range r.Virtual {
		j.ui.Warnf("%s: left out: the kernel makes up what is in it; it is copied when it is named", name)
	}
	for _, name := range r.Changed {
		j.ui.Warnf("%s: grew while it was copied: what it had at first was copied", name)
	}
	var (
		failed *transfer.FailedError
		lost   *transfer.LostError
	)
	cut := ctx.Err() != nil || errors.As(err, &lost)
	several := errors.As(err, &failed) && (len(failed.Failures) > 1 || cut)
	if several {
		for _, f := range failed.Failures {
			j.ui.Errorf(nil, "%s: %v", f.Path, f.Err)
		}
	}
	if cut {
		j.tellParts(r)
	}
	switch {
	case ctx.Err() != nil:
		return context.Canceled // why is known to whoever ended it
	case lost != nil:
		return lost
	case errors.Is(err, errOutput):
		return &copyError{err}
	}
	if err == nil || r.Files+r.Dirs+r.Links > 0 {
		j.ui.Settle(summary(r, took))
	}
	if reportErr := j.printReport(r, failed); reportErr != nil {
		return reportErr
	}
	switch {
	case several:
		n := int64(len(failed.Failures))
		return &copyError{fmt.Errorf("%d of %d were not copied", n, n+failed.Copied)}
	case err != nil:
		return &copyError{err}
	}
	return nil
}

// tellParts says what a copy that was cut off has left, and how it goes on.
func (j *copying) tellParts(r transfer.Report) {
	for _, part := range r.Parts {
		j.ui.Notef("%s holds what was copied of it", part)
	}
	switch dst := j.place(j.options.dst); {
	case len(r.Parts) > 0:
		j.ui.Notef("go on from there with: %s", j.options.again)
		if j.options.dst.service == "" && !j.allKept() {
			j.ui.Notef("(if a new twin has the same file, from the image or from a volume: this twin is deleted, which --keep prevents)")
		}
	case j.options.dst.service != "" && !j.kept[dst.FS]:
		j.ui.Notef("nothing of an unfinished file is kept: the twin is deleted (--keep leaves it)")
	}
}

// allKept reports whether all twins certainly stay.
func (j *copying) allKept() bool {
	for _, kept := range j.kept {
		if !kept {
			return false
		}
	}
	return true
}

// jsonReport is the report of --format json.
type jsonReport struct {
	Files       int64         `json:"files"`
	Directories int64         `json:"directories"`
	Links       int64         `json:"links"`
	Bytes       int64         `json:"bytes"`
	Skipped     []string      `json:"skipped"`
	Failed      []jsonFailure `json:"failed"`
}

type jsonFailure struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

func (j *copying) printReport(r transfer.Report, failed *transfer.FailedError) error {
	if !j.json() || j.options.dst.std {
		return nil
	}
	out := jsonReport{Files: r.Files, Directories: r.Dirs, Links: r.Links, Bytes: r.Bytes, Skipped: append(r.Virtual, r.Skipped...), Failed: []jsonFailure{}}
	if out.Skipped == nil {
		out.Skipped = []string{}
	}
	if failed != nil {
		for _, f := range failed.Failures {
			out.Failed = append(out.Failed, jsonFailure{f.Path, f.Err.Error()})
		}
	}
	return ui.WriteJSON(output{j.out}, out)
}
