package run_test

import "testing"

func probe() {}

func testMain(m *testing.M) int { return m.Run() }
