//go:build !linux

package filevault_test

import "testing"

func smallDisk(t *testing.T) string {
	t.Skip("a small file system is mounted on Linux only; TestErrorAtEveryStep makes the errors instead")
	return ""
}

func readOnly(*testing.T, string, bool)             {}
func full(*testing.T, string, bool, int) (_ func()) { return }
