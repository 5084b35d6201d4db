package filevault_test

import "os/exec"

func becomeUser(*exec.Cmd, uint32) { panic("not on Windows") }

func starve(int) { panic("not on Windows") }
