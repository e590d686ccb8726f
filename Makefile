# What to run: make demo, make test. What each needs is in docs/testing.md.
GO ?= go
# Tests of one part that run at once. Much of each is waiting.
PARALLEL ?= 8
# SLOW=1 runs the tests on a fifth of the processors, SLOW=0.4 on two fifths.
SLOW ?= 0
SUITE = GO="$(GO)" PARALLEL=$(PARALLEL) SLOW=$(SLOW) sh .ci/suite.sh

.PHONY: build demo test full deps check units race integration user races differ delays hostile table clean

build: bin/hupt

bin/hupt: $(shell find . -name '*.go' -not -path './integration/*' -not -name '*_test.go') go.mod go.sum
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/hupt

# A static server, restarted under load: what happens, the checks, and demo.html.
demo: bin/hupt
	@bin/hupt smoke --html demo.html

# Every test, as .ci/run does it: as root with the race detector, and as an
# ordinary user without, small. Requests and restarts are fewer than they can be:
# make full has them all.
test: deps check
	@HUPT_SCALE=$${HUPT_SCALE:-200} $(SUITE) units race user

# The integration suite with the race detector, in the tests, too, at a twentieth
# of its size, and at its full size as root and as an ordinary user.
full: deps check
	@RACE_TESTS=1 HUPT_SCALE=20 $(SUITE) units race
	@HUPT_SCALE=1 $(SUITE) integration user

# What the tests run: real servers. Installs what is missing, if it may.
deps:
	@sh .ci/deps.sh

check:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...

# One part of make test, at HUPT_SCALE's part of its full size. All packages but
# integration, with the race detector; integration with hupt itself built so,
# too; without it; and as an ordinary user, if this is root. RUN=pattern runs some
# of a part.
units race integration user:
	@$(SUITE) $@

# Worlds in which hupt is slow at random points while it is asked for random things,
# with the race detector in hupt: make races N=1000 SEED=1
N ?= 1000
races:
	@dir=$$(mktemp -d) && chmod 755 $$dir && HUPT_RACE=1 sh integration/testdata/build.sh $$dir && \
	HUPT_SCALE=200 HUPT_BIN=$$dir HUPT_RACES=$(N) HUPT_SEED=$(SEED) $(GO) test -count=1 -timeout 4h -parallel $(PARALLEL) -run 'TestRaces$$' ./integration; \
	code=$$?; rm -rf $$dir; exit $$code

# The suite, or RUN=pattern of it, with a hupt that takes its time: DELAYS says where
# (package fault), stop=~10ms at each stop of a task, say. What is about time itself
# may fail; whatever else does is a fault.
DELAYS ?= stop=~10ms
delays:
	@dir=$$(mktemp -d) && chmod 755 $$dir && sh integration/testdata/build.sh $$dir && \
	HUPT_SCALE=200 HUPT_BIN=$$dir HUPT_DELAYS="$(DELAYS)" $(GO) test -count=1 -timeout 2h -parallel $(PARALLEL) -run '$(RUN)' ./integration; \
	code=$$?; rm -rf $$dir; exit $$code

# A program that makes random calls from a seed, bare and in each role under hupt; what each
# call gives is compared: make differ N=2000 SEED=1. STEPS=20 makes shorter sequences.
differ:
	@dir=$$(mktemp -d) && chmod 755 $$dir && sh integration/testdata/build.sh $$dir && \
	HUPT_SCALE=200 HUPT_BIN=$$dir HUPT_DIFFER=$(N) HUPT_SEED=$(SEED) HUPT_STEPS=$(STEPS) $(GO) test -count=1 -timeout 24h -parallel $(PARALLEL) -run 'TestDiffer$$' ./integration; \
	code=$$?; rm -rf $$dir; exit $$code

# A program that tries whatever an ordinary user may, beneath root's hupt. Needs root:
# make hostile TIME=10m SEED=7
TIME ?= 10m
hostile:
	@dir=$$(mktemp -d) && chmod 755 $$dir && sh integration/testdata/build.sh $$dir && \
	HUPT_SCALE=200 HUPT_BIN=$$dir HUPT_HOSTILE=$(TIME) HUPT_SEED=$(SEED) $(GO) test -count=1 -timeout 24h -v -run 'TestHostile$$' ./integration; \
	code=$$?; rm -rf $$dir; exit $$code

# docs/matrix.md, from what the tests find.
table:
	HUPT_TABLE=1 $(GO) test -count=1 -timeout 30m -run TestMatrix ./integration

clean:
	rm -rf bin
