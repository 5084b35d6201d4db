package run

import ("io"; "envrun/vault")

func AddMasks(w io.Writer, values []vault.Value) error { return nil }
