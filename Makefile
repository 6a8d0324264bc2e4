# Gatehouse. The two targets a newcomer needs are demo and test; "make help" lists all.

GO       ?= go
FUZZTIME ?= 30s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

TOOLS := $(CURDIR)/.cache/bin
LINT  := $(TOOLS)/golangci-lint

# The rooms where goroutines meet: they are tested under the race detector, which needs a C compiler.
RACE_ROOMS := /internal/(domain|store|sshd|git)(/|$$)

.DEFAULT_GOAL := help
.PHONY: help demo test build lint fmt fuzz bench nightly golden map docker console peers clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## prove a key and open a recorded session in two minutes: build, start on throwaway data, show what happens
	@bin/gatehouse demo

test: peers console ## run every test; installs the peers that it needs when run as root
	@scripts/run-tests '$(RACE_ROOMS)'

build: console ## build bin/gatehouse, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/gatehouse ./cmd/gatehouse

lint: $(LINT) ## run the linters and check the formatting
	$(GO) vet ./...
	$(LINT) run ./...
	@scripts/build-console lint

fmt: $(LINT) ## format all Go files
	$(LINT) fmt ./...

fuzz: ## run every fuzz target for FUZZTIME each (default 30s)
	@scripts/fuzz $(FUZZTIME)

bench: ## measure against the peers; writes the table that bench/RESULTS.md quotes
	$(GO) run ./bench

nightly: peers console ## the long runs: fuzzing for 10 minutes a target, the tests repeated, the benchmarks
	GATEHOUSE_NIGHTLY=1 $(GO) test -count=3 -timeout 60m ./...
	@scripts/fuzz 10m
	$(MAKE) bench

golden: ## rewrite the expected HTTP answers and the tests named in docs/security.md; read the diff
	$(GO) test ./internal/api/... -update
	$(GO) test -run TestSecurityRules . -update

map: ## print the architecture: each package and its sentence
	@$(GO) list -f '{{.ImportPath}}: {{.Doc}}' ./...

docker: ## build the container image gatehouse:VERSION
	docker build --build-arg VERSION=$(VERSION) -t gatehouse:$(VERSION) .

console: ## build the scripts of the pages that need them, with npm; build, demo and test do it where they are missing or old
	@scripts/build-console

peers: ## install the programs that the tests talk to, or name what is missing
	@scripts/install-peers

clean: ## remove what the other targets built
	rm -rf bin .cache console/node_modules
	find internal/console/dist -type f ! -name index.html -delete

# The linters have a module of their own: their dependencies must not take part in choosing ours.
$(LINT): tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 $(GO) build -trimpath -o $(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $(LINT)
