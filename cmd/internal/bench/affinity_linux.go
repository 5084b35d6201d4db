package main

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOneProcessor lets what f starts run on one processor only. Children
// inherit that from the thread that starts them.
func onOneProcessor(f func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	last := 0 // interrupts tend to be served by the first
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			last = cpu
		}
	}
	one.Set(last)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	return f()
}
