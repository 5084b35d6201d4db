//go:build !linux

package filevault_test

import "testing"

func smallDisk(t *testing.T) (dir string, full func() (release func())) {
	t.Skip("a small file system is mounted on Linux only; TestErrorAtEveryStep makes the errors instead")
	return "", nil
}
