# envrun: everything a contributor types.
#
#   make build     envrun and envrund, stripped and static, in bin/
#   make install   build and install into ~/.local (PREFIX=… for elsewhere)
#   make test      all tests; installs what the suites need when it is root on Debian
#   make race      all tests under the race detector
#   make thorough  the file vault with every kill, power cut and step there is to try, the server's data with 300 kills
#   make fuzz      every fuzz target for FUZZTIME (default 10s each)
#   make bench     the speed table of the README, as ratios measured in one run
#   make generate  completions and man pages, from the commands themselves
#   make pictures  docs/screens, from the interface itself in tmux
#   make dist      release archives with their SHA-256 sums, in dist/

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = $(shell .ci/ldflags $(shell go env GOOS) $(VERSION))
FLAGS    = $(shell .ci/buildflags)
GO       = CGO_ENABLED=0 go
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build install test race thorough fuzz bench generate pictures dist check clean

build:
	$(GO) build $(FLAGS) -ldflags '$(LDFLAGS)' -o bin/envrun ./cmd/envrun
	$(GO) build $(shell .ci/buildflags envrund) -ldflags '$(shell .ci/ldflags $(shell go env GOOS) $(VERSION) envrund)' -o bin/envrund ./cmd/envrund

install:
	./install.sh

test:
	./.ci/test

race:
	RACE=1 ./.ci/test

thorough:
	FILEVAULT_THOROUGH=1 go test -v -timeout 1h ./vault/filevault -run 'Replay|PowerCut|Kill|Error|Part'
	KV_THOROUGH=1 go test -v -timeout 1h ./vault/kv -run Kill

fuzz:
	./.ci/fuzz $(or $(FUZZTIME),10s)

bench:
	./.ci/bench

generate:
	go test ./cmd/envrun ./cmd/envrund -run 'TestGenerated' -count=1 -update

pictures:
	go test ./cmd/envrun -run 'TestPictures' -count=1 -update

check:
	./.ci/check

dist: generate
	./.ci/dist '$(VERSION)' $(PLATFORMS)

clean:
	rm -rf bin dist
