package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDeviceNodesTakeControlGroups: where no control group rules on devices, a container cannot make any.
func TestDeviceNodesTakeControlGroups(t *testing.T) {
	for _, user := range []uint32{0, 1000} {
		for memory, want := range map[string]bool{"": false, "/sys/fs/cgroup": true} {
			b := &bundle{user: identity{uid: user}, cgroups: cgroups{memory: memory}}
			if got := slices.Contains(b.capabilities().Bounding, "CAP_MKNOD"); got != want {
				t.Errorf("user %d, control groups at %q: CAP_MKNOD %v, want %v", user, memory, got, want)
			}
		}
	}
}

func TestStateDirectoriesMayHaveAnyName(t *testing.T) {
	root := filepath.Join(t.TempDir(), "[a]*")
	if err := os.MkdirAll(filepath.Join(root, "cloudssh-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := newTool(Runc, "/usr/sbin/runc", root, cgroups{})
	if !c.knows("cloudssh-1") || c.knows("cloudssh-2") {
		t.Errorf("knows cloudssh-1: %v, cloudssh-2: %v; want the first", c.knows("cloudssh-1"), c.knows("cloudssh-2"))
	}
}
