# `make` lists the targets. Go, git and make are enough for all targets, except that the race
# detector needs a C compiler.

# Plugins that bring beats from other Telegrafs, directly or over a message broker.
BUS_TAGS = $(foreach engine,amqp kafka mqtt nats,inputs.$(engine)_consumer outputs.$(engine)) \
	inputs.influxdb_listener inputs.system outputs.socket_writer parsers.value serializers.template

# Plugins of bin/telegraf in addition to ours, as Telegraf's build tags.
TAGS ?= inputs.cpu inputs.disk inputs.execd inputs.internal inputs.mem \
	inputs.system outputs.discard outputs.file outputs.heartbeat \
	outputs.influxdb outputs.influxdb_v2 outputs.prometheus_client \
	parsers.influx serializers.influx $(BUS_TAGS)

# Plugins of the Telegraf without our plugin that the demo and the tests use.
STOCK_TAGS = inputs.execd outputs.discard outputs.file outputs.influxdb \
	outputs.prometheus_client parsers.influx serializers.influx $(BUS_TAGS)

# These run at fixed versions and are not tools in go.mod, because that would raise the versions of
# modules that Telegraf and our programs are built from.
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.11.4
MARKDOWNLINT = npx --yes markdownlint-cli2@0.17.2
PRETTIER = npx --yes prettier@3.6.2
GOTESTSUM = go run gotest.tools/gotestsum@v1.13.0 --format pkgname --format-hide-empty-pkg

# On amd64, functions of the sender are aligned to 16 bytes instead of 32, which saves 57 kB.
# Without inlining, crypto/tls is 110 kB smaller; the ciphers are in other packages.
SMALL = $(if $(filter amd64,$(shell go env GOARCH)),-funcalign=16)
SMALL_TLS = -gcflags=crypto/tls=-l

BENCHMARKED = ./internal/execd ./plugins/inputs/heartbeat/wire ./plugins/inputs/heartbeat/judge

FUZZTIME ?= 10s
SOAK ?= 2m
HOSTS ?= 3

# Telegraf's source with our plugin in it. Its two README tools run there, so that they need not be
# in our go.mod, and are the same ones that upstream runs.
TREE = build/telegraf
IN_TREE = $(TREE)/plugins/inputs/heartbeat
README = plugins/inputs/heartbeat/README.md
INCLUDER = github.com/influxdata/telegraf/tools/readme_config_includer

# The race detector needs cgo, which Go disables if there is no C compiler.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# Skipped tests are listed at the end. With CI=true nobody reads that list, so a skipped test is a
# failure. (Packages without tests are also reported as skipped, but without a test name.)
define run-tests
	@mkdir -p build
	$(GOTESTSUM) --jsonfile build/tests.json --raw-command -- $(2) go test -json -timeout 40m -shuffle=on $(1)
	@test "$(CI)" != true || ! grep -q '"Action":"skip".*"Test":' build/tests.json || \
		{ echo "tests were skipped, and CI=true"; exit 1; }
endef

SCRIPTS = .ci/run $(wildcard scripts/* deploy/completions/*) $(wildcard deploy/packages/*install deploy/packages/*remove) \
	$(wildcard deploy/openrc/* deploy/runit/*/run deploy/runit/*/log/run deploy/rc.d/*)

# In a clone that belongs to another user, git refuses to report the version.
export GOFLAGS += -buildvcs=false

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[^ ]*:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/telegraf-heartbeat and bin/heartbeat-sender: static, reproducible
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -buildid=" -o bin/ ./cmd/telegraf-heartbeat
	CGO_ENABLED=0 go build -trimpath $(SMALL_TLS) -ldflags="-s -w -buildid= $(SMALL)" -o bin/ ./cmd/heartbeat-sender

.PHONY: telegraf
telegraf: tree ## bin/telegraf: with the plugin compiled in; TAGS="inputs.cpu ..." for other plugins beside it
	scripts/telegraf-build $(TREE) bin/telegraf $(sort inputs.heartbeat $(TAGS))

bin/telegraf-stock: go.mod Makefile scripts/telegraf-build | tree
	scripts/telegraf-build $(TREE) $@ $(STOCK_TAGS)

.PHONY: tree
tree:
	scripts/telegraf-tree $(TREE)

.PHONY: demo
demo: build bin/telegraf-stock ## show the plugin and the sender with a real Telegraf; takes less than a minute after building
	go test -count=1 -v -timeout 3m -run '^TestDemo$$' ./internal/e2e -demo

.PHONY: test
test: build telegraf bin/telegraf-stock bin/telegraf-heartbeat-race ## run all tests and list the skipped ones (with CI=true, a skipped test is a failure)
	@$(if $(RACE),true,echo "no C compiler: testing without -race"; test "$(CI)" != true)
	$(call run-tests,$(RACE) ./...)

.PHONY: bin/telegraf-heartbeat-race
bin/telegraf-heartbeat-race:
	$(if $(RACE),go build $(RACE) -o $@ ./cmd/telegraf-heartbeat)

.PHONY: test-386
test-386: export GOARCH = 386
test-386: ## test the plugin and the sender with a 32-bit int (needs an x86-64 processor)
	$(call run-tests,./plugins/inputs/heartbeat/... ./sender)

# Another processor may change the layout of bytes, numbers and system calls. Some tests are left
# out: those that would take minutes because they do something thousands of times, and those that
# need what qemu-user does not support: a program that restarts itself, the ioctl PIDFD_GET_INFO,
# and on s390x the nanoseconds of fstat.
REPEATED = CarriedBeats CarriedInBatches CrashAtAnyByteCostsTheTailAlone CrashMakesNoSilenceLonger CrisesGoInParts \
	DamageCostsOneLine DecoderReadsEachBeatLikeANewOne DisturbancesKillNobody Ephemeral ExecutedByCalendar \
	ExpectationOfManyChangesInParts ExpectingManyIsQuick ForgottenStaysForgotten ForgottenWhileAway \
	InvariantsHoldWhateverHappens JobsAreKnownToAll JobsByCalendar JournalDoesNotGrowWithoutEnd JournalMissesNoChange \
	LateRecordsKeepTheInvariants ManyReconnectsLeaveNothing MatesKeepOneSchedule \
	NoChangeIsDropped NoDeathBeforeItsPromise NoProcessSpeaksForAnother OfficeHoursOfAYear PlainLinesAreJSON \
	ReplayInPieces RoundsMendWhatWasLost Scenarios ShortPathHasTheSameResult SilenceOutsideOfHours SlowIntervalsDieOnlyWhenTheyStop \
	TotalsAreSavedAhead TrackerAgreesWithNaiveModel TruncatedVersion1IsSetAside WayToTheCollector
STARTED_AGAIN = EndOfTheFirstThreadIsNoEnd FilesOfRootBelongToTheService FullAndReadOnlyDisks KilledSavingLeavesAWholeFile \
	PartialSaveLeavesTheOldFile SecondProcessIsRefused StateWithoutPermission
PIDFD = EndOfAProcessIsDeathWithItsExit ExitIsAwaitedUntilTheProcessIsReaped PIDFileWhoseProcessDoesNotComeBackIsDead
NANOSECONDS = OnlyFilesThatChangeAreReadAgain
space = $(subst ,, )
NOT_EMULATED = ^Test($(subst $(space),|,$(strip $(REPEATED) $(STARTED_AGAIN) $(PIDFD) $(NANOSECONDS))))$$
BYTES = $(addprefix ./plugins/inputs/heartbeat/,wire statefile serve) ./sender ./internal/proc/...

define emulate
	$(call run-tests,-exec qemu-$(1:arm64=aarch64) -skip '$(NOT_EMULATED)' $(2),env GOARCH=$(1) CGO_ENABLED=0)
endef

.PHONY: test-processors
test-processors: ## test on the processors s390x (big-endian), arm, arm64 and riscv64, emulated by qemu-user
	$(call emulate,s390x,$(BYTES) $(addprefix ./plugins/inputs/heartbeat/,liveness judge regular) ./internal/watch)
	$(call emulate,s390x,-run HandOver ./internal/execd)
	$(call emulate,arm,$(BYTES))
	$(call emulate,arm64,$(BYTES))
	$(call emulate,riscv64,$(BYTES))

.PHONY: windows
windows: build ## build both programs for Windows into build/windows, and test them with Wine (needs wine, wine64, gcc-mingw-w64-x86-64)
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -buildid=" -o build/windows/ ./cmd/heartbeat-sender ./cmd/telegraf-heartbeat
	$(call run-tests,-count=1 -run '^TestWindows$$' ./internal/e2e -windows)

.PHONY: rollout
rollout: build bin/telegraf-stock ## set up a collector and HOSTS (3) machines with the Ansible roles (needs root, systemd, ansible-core, python3-apt, curl)
	$(call run-tests,-count=1 -run '^TestRollout$$' ./internal/systemd -hosts $(HOSTS))

.PHONY: test-goroutines
test-goroutines: ## test the plugin as on systems without epoll, with a goroutine for each connection
	$(call run-tests,-tags goroutines ./plugins/inputs/heartbeat ./plugins/inputs/heartbeat/serve)

.PHONY: check
check: tree ## check format, vet, staticcheck, import rules, README, go.mod and shell scripts
	@echo gofmt -s
	@bad=$$(gofmt -s -l cmd deploy internal plugins sender); \
		test -z "$$bad" || { echo "run gofmt -s -w on: $$bad"; exit 1; }
	go vet ./...
	$(STATICCHECK) ./...
	go test ./internal/arch
	go test -run '^TestSenderDependsOnNothingElse$$' ./cmd/heartbeat-sender
	go run -C $(TREE) ./tools/readme_linter $(README)
	go mod tidy -diff
	@if command -v shellcheck >/dev/null; then \
		echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else \
		echo "shellcheck is not installed: scripts not checked"; test "$(CI)" != true; \
	fi

.PHONY: lint
lint: tree ## lint Go, Markdown, JavaScript and Ansible roles: Telegraf's own rules for the plugin, then ours for everything
	$(GOLANGCI_LINT) run --path-mode abs -c $(TREE)/.golangci.yml ./plugins/...
	$(GOLANGCI_LINT) run ./...
	@if command -v npx >/dev/null; then \
		echo '$(MARKDOWNLINT)'; $(MARKDOWNLINT) '**/*.md' '#build' '#dist' '#docs/includes' && \
		echo '$(PRETTIER)' && $(PRETTIER) --check internal/charts/grafana/*.js*; \
	else \
		echo "npm is not installed: Markdown and JavaScript not checked"; test "$(CI)" != true; \
	fi
	@if command -v ansible-lint >/dev/null; then \
		echo ansible-lint; cd deploy/ansible && ansible-lint --offline -q site.yml; \
	else \
		echo "ansible-lint is not installed: roles not checked"; test "$(CI)" != true; \
	fi

# A Telegraf with the plugin, the plugins that it is compared with, and an input that only emits.
bin/telegraf-bench: tree
	mkdir -p $(TREE)/plugins/inputs/heartbeat_pipeline
	cp internal/bench/testdata/pipeline.go $(TREE)/plugins/inputs/heartbeat_pipeline
	sed 's,.*go:build.*,//go:build inputs.heartbeat_pipeline,; s,heartbeat",heartbeat_pipeline",' \
		$(TREE)/plugins/inputs/all/heartbeat.go >$(TREE)/plugins/inputs/all/heartbeat_pipeline.go
	scripts/telegraf-build $(TREE) $@ inputs.heartbeat inputs.heartbeat_pipeline inputs.socket_listener outputs.discard parsers.json

bin/telegraf-shim: tree
	mkdir -p $(TREE)/cmd/heartbeat-shim
	cp internal/bench/testdata/shim.go $(TREE)/cmd/heartbeat-shim/main.go
	CGO_ENABLED=0 go build -C $(TREE) -trimpath -ldflags="-s -w" -o $(CURDIR)/$@ ./cmd/heartbeat-shim

.PHONY: bench
bench: build bin/telegraf-bench bin/telegraf-shim bin/telegraf-stock ## measure everything that has a budget, and write the results to BENCHMARKS.md and docs/measurements.md (takes 90 minutes; ONLY="cost" for a part)
	scripts/bench "$(ONLY)"

.PHONY: profile
profile: bin/telegraf-bench ## write profiles of time and memory of a Telegraf with the plugin under load to build/profiles
	@mkdir -p build/profiles
	go run ./internal/bench cost -turns 1 -server inputs.heartbeat -profiles build/profiles
	@for file in build/profiles/*.cpu; do echo; echo $$file; go tool pprof -top -cum -nodecount 25 $$file 2>/dev/null | tail -n +6; done
	go test -run '^$$' -bench . -benchmem $(BENCHMARKED)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

.PHONY: bin/telegraf-heartbeat-ahead
bin/telegraf-heartbeat-ahead:
	scripts/clock-ahead $@

.PHONY: faults
faults: build telegraf bin/telegraf-heartbeat-ahead ## inject every fault that this machine supports, and print what was reported (needs root)
	@mkdir -p build && rm -f build/faults.md
	go test -count=1 -timeout 30m ./internal/faults -long -table $(CURDIR)/build/faults.md; \
		status=$$?; cat build/faults.md; exit $$status

.PHONY: soak
soak: build ## run honest and hostile senders with a collector that restarts, for SOAK (2m)
	go test -v -count=1 -timeout 24h -run '^TestSoak$$' ./internal/e2e -soak $(SOAK)

.PHONY: servers
servers: ## unpack databases, reverse proxies and message brokers for tests from Debian's packages into build/servers
	scripts/servers build/servers
	go build -C internal/kafka -o $(CURDIR)/build/servers/usr/bin/kafka

.PHONY: grafana
grafana: ## install Grafana's own packages, with which the tests draw the charts, into build/grafana (needs npm)
	scripts/grafana build/grafana

.PHONY: sender-module
sender-module: ## write package sender as a module without requirements to build/sender-module, for its release
	rm -rf build/sender-module
	scripts/sender-module build/sender-module

.PHONY: dist
dist: ## build packages, archives, checksums and bills of materials for all platforms in dist/; with KEY=... (a gpg key or a file), also repositories for apt and dnf
	go run ./internal/dist -key "$(KEY)"

.PHONY: release
release: ## build dist/ for publication: the commit needs a tag vX.Y.Z and a section in CHANGELOG.md; KEY=... signs checksums and repositories
	go run ./internal/dist -release -key "$(KEY)"

.PHONY: dist-test
dist-test: build bin/telegraf-stock ## run make dist twice from clones, compare the results, install from packages and repositories, and upgrade under load (needs root and the packages that .ci/run installs)
	go test -count=1 -timeout 60m ./internal/dist -all
	go test -count=1 -timeout 20m -run '^TestPackagesAreUpgradedUnderLoad$$' ./internal/systemd -packages

.PHONY: picture
picture: build bin/telegraf-stock servers grafana ## draw the dashboard of the test data with Grafana's code into docs/pictures (needs chromium)
	rm -rf build/pictures && mkdir -p build/pictures
	go test -count=1 -run '^TestChartsTellTheStory$$' ./internal/e2e -pictures $(CURDIR)/build/pictures
	install -m 644 build/pictures/dashboard-dark.png build/pictures/dashboard-light.png docs/pictures

.PHONY: recording
recording: build ## run and record the session of the front page as docs/pictures/session.svg
	go test -count=1 -run '^TestFrontPage$$' ./internal/e2e -record $(CURDIR)/docs/pictures/session.svg

.PHONY: docs
docs: tree ## write sample.conf and Telegraf's includes into the plugin's README, and the charts into deploy
	go test ./internal/charts -update
	go run -C $(IN_TREE) $(INCLUDER)
	cp $(IN_TREE)/README.md $(README)

.PHONY: upstream
upstream: tree ## check that the plugin passes Telegraf's own checks when copied into its source
	go vet -C $(TREE) ./plugins/inputs/heartbeat/...
	go test -C $(TREE) ./plugins/inputs/heartbeat/...
	@# -run also succeeds if no test matches, so check that the test ran.
	go test -C $(TREE) -v -run Test_AllPlugins/inputs/all/heartbeat.go ./plugins | \
		grep -e '--- PASS: Test_AllPlugins/inputs/all/heartbeat.go'
	cd $(TREE) && bash scripts/check-plugin-doc-embedding.sh plugins/inputs/heartbeat
	go run -C $(TREE) ./tools/readme_linter $(README)
	go run -C $(IN_TREE) $(INCLUDER)
	diff $(README) $(IN_TREE)/README.md || { echo "run make docs"; exit 1; }
	for include in docs/includes/*.md; do diff $$include $(TREE)/$$include || exit 1; done

.PHONY: clean
clean: ## remove bin, build and dist
	rm -rf bin build dist
