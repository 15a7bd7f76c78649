package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOverlay shows lower at target, with changes going to dir/upper. What an image's
// directory name may not contain (':' and ',') is never in a chain ID; the state
// directory is escaped.
func mountOverlay(lower, dir, target string) error {
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil { //nolint:gosec // upper is a container's root directory
			return err
		}
	}
	if err := copyMetadata(lower, upper); err != nil {
		return err
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s",
		escape.Replace(lower), escape.Replace(upper), escape.Replace(work))
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting overlay at %s: %w", target, err)
	}
	return nil
}

// makeRoot gives a container a root file system of its own: an overlay, or a copy where
// the kernel or the file system below does not do overlays.
func makeRoot(ctx context.Context, lower, dir, target string) (overlay bool, err error) {
	if err := os.MkdirAll(target, 0o755); err != nil { //nolint:gosec // a container's root directory
		return false, err
	}
	err = mountOverlay(lower, dir, target)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return false, err
	}
	if err := copyTree(ctx, lower, target, ownInodes); err != nil {
		return false, fmt.Errorf("copying the image to %s: %w", target, err)
	}
	return false, nil
}

func mountTmpfs(target string, size int64) error {
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	options := "mode=" + volumeMode
	if size > 0 {
		options += ",size=" + strconv.FormatInt(size, 10)
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting tmpfs at %s: %w", target, err)
	}
	return nil
}

// unmount unmounts what is mounted last on a path. A file system that is still in use, by a
// process that is about to end, goes when its last user does.
func unmount(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // not mounted
	}
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", path, err)
	}
	return nil
}

// removeMountPoint unmounts a file and removes it.
func removeMountPoint(path string) error {
	if err := unmount(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeTree unmounts all that is mounted below a directory and removes it. It never removes
// through a mount: that could delete what is not ours.
func removeTree(dir string) error {
	mounts, err := mountsUnder(dir)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unmount(m); err != nil {
			return err
		}
	}
	if mounts, err = mountsUnder(dir); err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("removing %s: still mounted: %s", dir, strings.Join(mounts, ", "))
	}
	return os.RemoveAll(dir)
}

// mountsUnder lists what is mounted on a directory and below it, in the order in which it was
// mounted. See proc_pid_mountinfo(5).
func mountsUnder(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer discardClose(f)
	var found []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // an overlay's options name each of its layers
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			found = append(found, point)
		}
	}
	return found, lines.Err()
}
