//go:build !linux

package pgtest

import "os/exec"

func (s *Server) prepare(cmd *exec.Cmd) { cmd.Dir = s.dir }
