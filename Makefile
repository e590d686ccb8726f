# What to run: make demo, make test. What each needs is in docs/testing.md.
GO ?= go
# Tests of one group that run at once. Much of each is waiting.
PARALLEL ?= 8
TESTFLAGS = -parallel $(PARALLEL) -timeout 30m

.PHONY: build demo test full deps check race integration user table clean

build: bin/hupt

bin/hupt: $(shell find . -name '*.go' -not -path './integration/*' -not -name '*_test.go') go.mod go.sum
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/hupt

# A static server, restarted under load: what happens, the checks, and demo.html.
demo: bin/hupt
	@bin/hupt smoke --html demo.html

# Every test, as .ci/run does it: as root with the race detector, and as an
# ordinary user without. Requests and restarts are fewer than they can be: make
# full has them all.
test: deps check race
	HUPT_SCALE=20 $(MAKE) user

# The integration suite at its full size, as root and as an ordinary user.
full: deps
	$(MAKE) integration
	HUPT_SCALE=1 $(MAKE) user

# What the tests run: real servers. Installs what is missing, if it may.
deps:
	@sh .ci/deps.sh

check:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...

# All tests with the race detector: the units, then the integration suite, small,
# with hupt itself built so.
race:
	$(GO) test -race $$($(GO) list ./... | grep -v /integration)
	HUPT_RACE=1 HUPT_SCALE=20 $(GO) test -race -count=1 $(TESTFLAGS) ./integration

# The integration suite, at HUPT_SCALE's part of its full size.
integration:
	$(GO) test -count=1 $(TESTFLAGS) ./integration

# The same as an ordinary user, if this is root.
user:
	@sh .ci/as-user.sh -test.parallel $(PARALLEL) -test.timeout 30m

# docs/matrix.md, from what the tests find.
table:
	HUPT_TABLE=1 $(GO) test -count=1 $(TESTFLAGS) -run TestMatrix ./integration

clean:
	rm -rf bin
