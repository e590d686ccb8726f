# What to run: make demo, make test. What each needs is in docs/testing.md.
GO ?= go
# Tests of one group that run at once. Much of each is waiting.
PARALLEL ?= 6
TESTFLAGS = -parallel $(PARALLEL) -timeout 30m

.PHONY: build demo test deps check race integration user table clean

build: bin/hupt

bin/hupt: $(shell find . -name '*.go' -not -path './integration/*' -not -name '*_test.go') go.mod go.sum
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/hupt

# A static server, restarted under load: what happens, the checks, and demo.html.
demo: bin/hupt
	@bin/hupt smoke --html demo.html

# Everything, as .ci/run does it.
test: deps check race integration user

# What the tests run: real servers. Installs what is missing, if it may.
deps:
	@sh .ci/deps.sh

check:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...

# All tests with the race detector, and hupt itself built with it: units, and
# the integration suite at a tenth of its size.
race:
	HUPT_RACE=1 HUPT_SCALE=10 $(GO) test -race $(TESTFLAGS) ./...

# The integration suite at its full size.
integration:
	$(GO) test -count=1 $(TESTFLAGS) ./integration

# The same at a quarter of its size as an ordinary user, if this is root.
user:
	@sh .ci/as-user.sh -test.parallel $(PARALLEL) -test.timeout 30m

# docs/matrix.md, from what the tests find.
table:
	HUPT_TABLE=1 $(GO) test -count=1 $(TESTFLAGS) -run TestMatrix ./integration

clean:
	rm -rf bin
