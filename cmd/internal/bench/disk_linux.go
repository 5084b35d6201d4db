package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystem names that of a folder, by the numbers of statfs(2); empty if there is none.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	switch kind := uint32(st.Type); kind {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return inMemory
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	default:
		return fmt.Sprintf("file system %#x", kind)
	}
}
