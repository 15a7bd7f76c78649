# cloudssh: `make demo` tries it, `make test` tests it, `make build` builds it.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
ARCH    ?= $(shell go env GOARCH)
LDFLAGS  = -s -w -X main.version=$(VERSION)
GOBUILD  = CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
SUDO     = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Containers need root. Root's builds stay out of the user's build cache.
AS_ROOT  = $(if $(SUDO),sudo env "PATH=$$PATH" "GOMODCACHE=$(shell go env GOMODCACHE)" GOFLAGS=-modcacherw,)

.PHONY: all build embed images deps demo test lint fmt docs soak chaos e2e-clients bench clean

all: build

## build: cloudssh and cloudssh-agent into bin/
build: embed
	$(GOBUILD) -o bin/cloudssh ./cmd/cloudssh
	$(GOBUILD) -o bin/cloudssh-cf-plugin ./plugin/cf
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags '$(LDFLAGS)' -o bin/cloudssh-agent ./cmd/cloudssh-agent
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags '$(LDFLAGS)' -o bin/cloudssh-shell ./cmd/cloudssh-shell

# The programs that cloudssh carries into containers, gzipped.
embed:
	@for arch in $(ARCHES); do for program in cmd/cloudssh-agent cmd/cloudssh-shell images/hello; do \
	  name=$$(basename $$program); out=images/bin/$$name-linux-$$arch; \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o $$out ./$$program && \
	  gzip -9nf $$out || exit 1; done; done
ARCHES ?= $(ARCH)

## images: the agent's image for sidecars, as an OCI layout in bin/; PUSH=REGISTRY/PATH/cloudssh-agent puts it there
images:
	go run ./images/oci -version '$(VERSION)' -arch amd64,arm64 -out bin/cloudssh-agent-image $(if $(PUSH),-push '$(PUSH)')

## deps: what the demo and the end-to-end tests need from the distribution
deps:
	@./.ci/deps demo

## demo: a shell in a twin of the sample service, on a Cloud Run of your own
demo: deps build
	@if [ -t 0 ] && [ -t 1 ]; then $(SUDO) bin/cloudssh demo; \
	else $(SUDO) bin/cloudssh demo --exec 'uname -a; env | sort | head'; fi

## test: every test, end to end included
test:
	@./.ci/deps test
	@go mod download
	$(AS_ROOT) go test -race -timeout 20m ./...

## lint: what CI checks besides the tests
lint:
	@./.ci/lint

## fmt: format the sources
fmt:
	go tool -modfile=tools/go.mod golangci-lint fmt

## docs: regenerate docs/commands from the commands
docs:
	go test ./internal/cli -run TestDocs -update

## soak: a million cuts of the stream, and sessions that live through 15 minutes of a bad network
soak:
	@./.ci/deps test
	CLOUDSSH_SOAK=1 go test ./internal/transport -run Soak -timeout 60m
	$(AS_ROOT) env CLOUDSSH_SOAK=1 go test ./internal/cli -run TestEndurance -v -timeout 60m

## chaos: whatever ends a client, in every phase of a session: nothing may be left
chaos:
	@./.ci/deps test
	$(AS_ROOT) env CLOUDSSH_CHAOS=1 go test ./internal/cli -run TestChaos -v -timeout 30m

## e2e-clients: OpenSSH, PuTTY, dropbear, rsync, sshfs, Ansible and others against a twin
e2e-clients:
	@./.ci/deps test
	@go mod download
	$(AS_ROOT) go test ./e2e -count=1 -v -run TestClients -timeout 15m

## bench: throughput, keystrokes, outages and memory beside OpenSSH; BENCH=Keys for some of it
BENCH ?= .
bench:
	@./.ci/deps test
	$(AS_ROOT) $(BENCH_ENV) go test ./bench -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 30m
# What a benchmark reads from the environment, past sudo.
BENCH_ENV = $(if $(CLOUDSSH_BENCH_GIB),env CLOUDSSH_BENCH_GIB=$(CLOUDSSH_BENCH_GIB),)

clean:
	rm -rf bin dist images/bin/*.gz
