package cache

import "golang.org/x/sys/unix"

// excludeFromBackup keeps a folder out of Time Machine, as tmutil addexclusion
// does: with a property list of one text. It is a courtesy: what would be backed
// up is encrypted, and ends.
func excludeFromBackup(dir string) {
	const list = "bplist00\x5f\x10\x11com.apple.backupd\x08" +
		"\x00\x00\x00\x00\x00\x00\x01\x01" + "\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x1c"
	_ = unix.Setxattr(dir, "com.apple.metadata:com_apple_backup_excludeItem", []byte(list), 0)
}
