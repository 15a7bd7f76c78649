package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/ui"
)

const configLong = `Sets up OpenSSH, and whatever reads its configuration, so that

  ssh cloudssh-SERVICE
  ssh cloudssh-SERVICE.REGION
  ssh cloudssh-SERVICE.REGION.PROJECT

and scp, sftp, rsync, git and editors go to a twin, which is made when it is not
there and deleted when its last connection ends. It is one marked block in
~/.ssh/config; nothing else in the file is touched.`

const configExample = `  cloudssh config write && ssh cloudssh-hello
  cloudssh config write --service hello --service api.europe-west1  # tools that list hosts show these
  cloudssh config write --host-prefix prod- --project my-prod       # a block of its own, for another project
  cloudssh config remove`

// configOptions are the flags of config and what follows from them.
type configOptions struct {
	prefix   string
	services []string
	file     string
	dryRun   bool
	twin     connectOptions // the ProxyCommand carries its flags
}

// newConfigCmd sets up other SSH clients.
func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Aliases: []string{"ssh-config"},
		Short:   "Set up your own SSH client: ssh cloudssh-SERVICE, scp, sftp, rsync, editors",
		Long:    configLong,
		Example: configExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q", cmd.CommandPath(), args[0])
			}
			return usagef("%s wants one of write, remove and print", cmd.CommandPath())
		},
	}
	cmd.AddCommand(newConfigWriteCmd(a), newConfigRemoveCmd(a), newConfigPrintCmd(a))
	return cmd
}

func newConfigWriteCmd(a *app) *cobra.Command {
	o := &configOptions{}
	cmd := &cobra.Command{
		Use:   "write",
		Short: "Put the block into ~/.ssh/config, or bring it up to date",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.writeConfig(cmd, o) },
	}
	o.registerFile(cmd)
	o.registerBlock(cmd)
	cmd.Flags().StringVar(&o.prefix, "host-prefix", defaultHostPrefix, "what the names of hosts begin with")
	return cmd
}

func newConfigRemoveCmd(a *app) *cobra.Command {
	o := &configOptions{}
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Take the block out again",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.removeConfig(o) },
	}
	o.registerFile(cmd)
	cmd.Flags().StringVar(&o.prefix, "host-prefix", "", "only the block of this prefix (default: all blocks)")
	return cmd
}

func newConfigPrintCmd(a *app) *cobra.Command {
	o := &configOptions{}
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the block, for a configuration that cloudssh is not to write to",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.printConfig(cmd, o) },
	}
	o.registerBlock(cmd)
	cmd.Flags().StringVar(&o.prefix, "host-prefix", defaultHostPrefix, "what the names of hosts begin with")
	return cmd
}

// defaultHostPrefix keeps our hosts apart from all others.
const defaultHostPrefix = "cloudssh-"

func (o *configOptions) registerFile(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.file, "file", "", "the configuration, or a file that it includes (default: ~/.ssh/config)")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would change, and change nothing")
}

// registerBlock registers what a block says. All that is about twins is handed
// on to the proxy.
func (o *configOptions) registerBlock(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.services, "service", nil, "SERVICE[.REGION[.PROJECT]] to name in the block, for completion and for editors that list hosts; may be repeated")
	f.Bool("progress", false, "have ssh show on standard error what happens to the twin")
	o.twin.escape = "none"
	o.twin.registerTwin(cmd)
	f.Var(&o.twin.wire, "wire", "what to connect with")
	complete(cmd, "wire", transport.WireAuto.String(), transport.WireWebSocket.String(), transport.WireHTTP.String())
}

// configFlags are those that say what config itself does; all others that
// were given are the proxy's.
func configFlag(name string) bool {
	return slices.Contains([]string{"file", "dry-run", "service", "host-prefix", "quiet", "verbosity", "format"}, name)
}

// block is the block that the flags ask for.
func (a *app) block(cmd *cobra.Command, o *configOptions) (sshconfig.Block, error) {
	if err := o.twin.validate(); err != nil {
		return sshconfig.Block{}, err
	}
	dir, err := a.configDir()
	if err != nil {
		return sshconfig.Block{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return sshconfig.Block{}, fmt.Errorf("locating the configuration folder: %w", err)
	}
	program, err := ownProgram()
	if err != nil {
		return sshconfig.Block{}, err
	}
	b := sshconfig.Block{
		Prefix:       o.prefix,
		Names:        o.services,
		Command:      append([]string{program, "proxy", sshconfig.HostName, "--host-prefix=" + o.prefix}, carried(cmd)...),
		IdentityFile: filepath.Join(dir, "id_ed25519"),
		KnownHosts:   filepath.Join(dir, "known_hosts"),
		User:         "cloudssh",
		Windows:      runtime.GOOS == "windows",
	}
	if a.env("CLOUDSSH_CONFIG_DIR") != "" || a.env("XDG_CONFIG_HOME") != "" {
		b.Command = append(b.Command, "--config-dir="+dir) // whoever starts ssh later may not have the variable
	}
	if err := b.Check(); err != nil {
		return b, &usageError{err}
	}
	return b, nil
}

// carried are the flags that the proxy is to be started with.
func carried(cmd *cobra.Command) []string {
	var args []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if configFlag(f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			args = append(args, "--"+f.Name+"="+v)
		}
	})
	return args
}

// configReport is what --format json prints.
type configReport struct {
	File         string   `json:"file,omitempty"`
	Changed      *bool    `json:"changed,omitempty"` // of write and remove
	DryRun       bool     `json:"dryRun,omitempty"`  // Changed is what would be
	Hosts        []string `json:"hosts,omitempty"`
	ProxyCommand string   `json:"proxyCommand,omitempty"`
	IdentityFile string   `json:"identityFile,omitempty"`
	KnownHosts   string   `json:"knownHosts,omitempty"`
	Block        string   `json:"block,omitempty"`
}

func reportBlock(b sshconfig.Block) (configReport, error) {
	text, err := b.Text()
	r := configReport{
		Hosts:        []string{b.Prefix + "*"},
		ProxyCommand: b.ProxyCommand(), IdentityFile: b.IdentityFile, KnownHosts: b.KnownHosts, Block: text,
	}
	for _, n := range b.Names {
		r.Hosts = append(r.Hosts, b.Prefix+n)
	}
	return r, err
}

func (a *app) printConfig(cmd *cobra.Command, o *configOptions) error {
	b, err := a.block(cmd, o)
	if err != nil {
		return err
	}
	if _, err := a.key(); err != nil {
		return err
	}
	r, err := reportBlock(b)
	if err != nil {
		return err
	}
	if a.json() {
		return ui.WriteJSON(output{a.out}, r)
	}
	a.ui.Notef("to go above everything else in ~/.ssh/config, or into a file that an Include line there names")
	_, err = fmt.Fprint(output{a.out}, r.Block)
	return err
}

func (a *app) writeConfig(cmd *cobra.Command, o *configOptions) error {
	b, err := a.block(cmd, o)
	if err != nil {
		return err
	}
	path, err := a.configPath(o)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if _, err := a.key(); err != nil {
			return err
		}
	}
	e, err := editConfig(path, o.dryRun, func(f *sshconfig.File, made sshconfig.Made) error {
		b.Made = made
		return f.Put(b)
	})
	var overlap *sshconfig.OverlapError
	if errors.As(err, &overlap) {
		err = withHints(err, "cloudssh config remove --host-prefix "+overlap.Other)
	}
	if err != nil {
		return err
	}
	r, err := reportBlock(b)
	if err != nil {
		return err
	}
	if err := a.reportEdit(e, o, "wrote the block for "+b.Prefix+"* to", r); err != nil || o.dryRun {
		return err
	}
	if !e.changed() {
		a.ui.Notef("%s has the block for %s* already", path, b.Prefix)
	}
	a.checkConfig(cmd.Context(), path, o.file == "", b)
	a.ui.Notef("now: ssh %sSERVICE", b.Prefix)
	return nil
}

func (a *app) removeConfig(o *configOptions) error {
	path, err := a.configPath(o)
	if err != nil {
		return err
	}
	var hosts []string
	e, err := editConfig(path, o.dryRun, func(f *sshconfig.File, _ sshconfig.Made) error {
		hosts = nil
		for _, prefix := range f.Remove(o.prefix) {
			hosts = append(hosts, prefix+"*")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.reportEdit(e, o, "took the block for "+strings.Join(hosts, ", ")+" out of", configReport{Hosts: hosts}); err != nil {
		return err
	}
	if !e.changed() {
		a.ui.Notef("%s has no such block", path)
	}
	return nil
}

// reportEdit says what was done to a file, or would be.
func (a *app) reportEdit(e *configEdit, o *configOptions, done string, r configReport) error {
	if a.json() {
		changed := e.changed()
		r.File, r.Changed, r.DryRun = e.path, &changed, o.dryRun
		return ui.WriteJSON(output{a.out}, r)
	}
	if !e.changed() {
		return nil
	}
	text := done + " " + e.path + "\n"
	if o.dryRun {
		text = e.diff()
	}
	_, err := fmt.Fprint(output{a.out}, text)
	return err
}
