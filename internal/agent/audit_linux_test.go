package agent

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What ssh-audit says of an algorithm.
type auditNotes struct {
	Algorithm string
	Notes     map[string][]string // by their weight: fail, warn or info
}

func TestSSHAudit(t *testing.T) {
	f := start(t, nil)
	host, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	fetch := exec.Command("../../.ci/ssh-audit")
	fetch.Stderr = os.Stderr
	path, err := fetch.Output()
	if err != nil {
		t.Fatalf("fetching ssh-audit: %v", err)
	}
	cmd := exec.Command("python3", "-m", "ssh_audit", "--json", "--timeout", "120", "--port", port, host)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.TrimSpace(string(path)), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil { // its exit status says whether there was a failure or a warning
		t.Fatalf("ssh-audit: %v\n%s", err, out)
	}
	var report struct {
		Kex, Key, Enc, Mac []auditNotes
		CVEs               []any
		Recommendations    map[string]any
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	strict := false
	for kind, all := range map[string][]auditNotes{"kex": report.Kex, "key": report.Key, "enc": report.Enc, "mac": report.Mac} {
		if len(all) == 0 {
			t.Errorf("ssh-audit saw nothing of kind %s", kind)
		}
		for _, a := range all {
			for weight, notes := range a.Notes {
				if weight != "info" {
					t.Errorf("%s %s: [%s] %s", kind, a.Algorithm, weight, strings.Join(notes, "; "))
				}
			}
			strict = strict || a.Algorithm == "kex-strict-s-v00@openssh.com"
		}
	}
	if !strict {
		t.Error("strict key exchange is not offered")
	}
	if len(report.CVEs) > 0 || len(report.Recommendations) > 0 {
		t.Errorf("CVEs %v, recommendations %v", report.CVEs, report.Recommendations)
	}
}
