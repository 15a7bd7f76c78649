package sftp

import "golang.org/x/sys/unix"

// renameNew renames unless the new name exists.
func renameNew(from, to string) error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) }

func setTimes(fd int, atime, mtime unix.Timespec) error {
	return unix.Futimes(fd, []unix.Timeval{{Sec: atime.Sec}, {Sec: mtime.Sec}})
}

func spaceOf(st *unix.Statfs_t) space {
	return space{
		block: uint64(st.Iosize), fragment: uint64(st.Bsize), blocks: st.Blocks, free: st.Bfree, available: st.Bavail,
		files: st.Files, filesFree: st.Ffree, filesAvailable: st.Ffree,
		fsid:     uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		readOnly: st.Flags&unix.MNT_RDONLY != 0, noSetuid: st.Flags&unix.MNT_NOSUID != 0,
		nameMax: 255,
	}
}
