//go:build tools

// Package server pins the kube-apiserver that tests ask of tokens, and the etcd
// that it keeps them in. It is a module of its own, so that none of what it needs
// can reach envrun's.
package server

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
