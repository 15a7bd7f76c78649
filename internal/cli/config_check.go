package cli

import (
	"bytes"
	"context"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

// checkConfig asks ssh, if there is one, what it makes of the file, and warns.
// The user's own mistakes are no reason to refuse, nor ours to mend.
func (a *app) checkConfig(ctx context.Context, path string, byDefault bool, b sshconfig.Block) {
	reads := sshReads()
	if byDefault && reads != "" && reads != path {
		a.ui.Notef("ssh reads %s, whatever HOME says; for this one: ssh -F %s", reads, path)
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return
	}
	args := []string{"-G", b.Prefix + "check"}
	if reads != path {
		args = append([]string{"-F", path}, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, ssh, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		a.ui.Warnf("ssh does not accept %s as it is now:\n%s", path, strings.TrimSpace(stderr.String()+"\n"+err.Error()))
		return
	}
	for line := range strings.Lines(stdout.String()) {
		if other, ok := strings.CutPrefix(strings.TrimSpace(line), "proxycommand "); ok && other != b.ProxyCommand() {
			a.ui.Warnf("%s gives these hosts another ProxyCommand before the block: %s", path, other)
		}
	}
}

// sshReads is the configuration that ssh reads when it is told nothing: the
// home in it is that of the account, not HOME's.
func sshReads() string {
	u, err := user.Current()
	if err != nil || u.HomeDir == "" {
		return ""
	}
	return filepath.Join(u.HomeDir, ".ssh", "config")
}
