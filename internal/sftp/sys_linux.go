package sftp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// renameNew renames unless the new name exists.
func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

// setTimes is futimens(3), which the library has only by way of /proc.
func setTimes(fd int, atime, mtime unix.Timespec) error {
	times := [2]unix.Timespec{atime, mtime}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0) //nolint:gosec // the kernel takes a pointer
	if errno != 0 {
		return errno
	}
	return nil
}

func spaceOf(st *unix.Statfs_t) space {
	return space{
		block: uint64(st.Bsize), fragment: uint64(st.Frsize), blocks: st.Blocks, free: st.Bfree, available: st.Bavail,
		files: st.Files, filesFree: st.Ffree, filesAvailable: st.Ffree,
		fsid:     uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		readOnly: st.Flags&unix.ST_RDONLY != 0, noSetuid: st.Flags&unix.ST_NOSUID != 0,
		nameMax: uint64(st.Namelen),
	}
}
