package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestConfigOwner lets root edit files of a user's home: they stay the user's,
// and new ones become his.
func TestConfigOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give files away: run `make test`")
	}
	const uid, gid = 12345, 12346
	home := t.TempDir()
	owned := filepath.Join(home, "config")
	if err := os.WriteFile(owned, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{home, owned} {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	made := filepath.Join(home, ".ssh", "config")
	mustEdit(t, owned, putBlock)
	mustEdit(t, made, putBlock)
	for _, path := range []string{owned, made, filepath.Dir(made)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
	}
}

// TestConfigFolderWithoutUs is a folder where not even root can make a file.
func TestConfigFolderWithoutUs(t *testing.T) {
	if _, err := editConfig("/proc/self/task/cloudssh-config", false, putBlock); err == nil {
		t.Error("a file in /proc was made")
	}
}
