# `make` lists what there is. Go, git and make are enough for all of it, but
# for the race detector, which needs a C compiler.

# What brings beats from other Telegrafs, directly or over an engine.
BUS_TAGS = $(foreach engine,amqp kafka mqtt nats,inputs.$(engine)_consumer outputs.$(engine)) \
	inputs.influxdb_listener inputs.system outputs.socket_writer parsers.value serializers.template

# Plugins of bin/telegraf beside ours, as Telegraf's build tags.
TAGS ?= inputs.cpu inputs.disk inputs.execd inputs.internal inputs.mem \
	inputs.system outputs.discard outputs.file outputs.heartbeat \
	outputs.influxdb outputs.influxdb_v2 outputs.prometheus_client \
	parsers.influx serializers.influx $(BUS_TAGS)

# What the demo and the tests need of a Telegraf that does not know our plugin.
STOCK_TAGS = inputs.execd outputs.discard outputs.file outputs.influxdb \
	outputs.prometheus_client parsers.influx serializers.influx $(BUS_TAGS)

# Run by version rather than as tools in go.mod: there they would raise the
# versions of modules that Telegraf and our programs are built from.
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.11.4
MARKDOWNLINT = npx --yes markdownlint-cli2@0.17.2
PRETTIER = npx --yes prettier@3.6.2
GOTESTSUM = go run gotest.tools/gotestsum@v1.13.0 --format pkgname --format-hide-empty-pkg

# On amd64 the functions of the sender begin at multiples of 16 bytes instead of 32: 57 kB less. The
# handshake of TLS without inlined functions is another 110 kB less; ciphers are other packages.
SMALL = $(if $(filter amd64,$(shell go env GOARCH)),-funcalign=16)
SMALL_TLS = -gcflags=crypto/tls=-l

BENCHMARKED = ./internal/execd ./plugins/inputs/heartbeat/wire ./plugins/inputs/heartbeat/judge

FUZZTIME ?= 10s
SOAK ?= 2m
HOSTS ?= 3

# Telegraf's source with our plugin in it. Its two README tools are run there:
# so they need no place in our go.mod, and they are the ones that upstream runs.
TREE = build/telegraf
IN_TREE = $(TREE)/plugins/inputs/heartbeat
README = plugins/inputs/heartbeat/README.md
INCLUDER = github.com/influxdata/telegraf/tools/readme_config_includer

# The race detector needs cgo, which Go turns off where there is no C compiler.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# What was skipped is named at the end. With CI=true nobody reads that, so a skip
# is a failure. (Packages without tests are skipped too, but name no test.)
define run-tests
	@mkdir -p build
	$(GOTESTSUM) --jsonfile build/tests.json --raw-command -- $(2) go test -json -timeout 20m -shuffle=on $(1)
	@test "$(CI)" != true || ! grep -q '"Action":"skip".*"Test":' build/tests.json || \
		{ echo "tests were skipped, and CI=true"; exit 1; }
endef

SCRIPTS = .ci/run $(wildcard scripts/* deploy/completions/*) $(wildcard deploy/packages/*install deploy/packages/*remove) \
	$(wildcard deploy/openrc/* deploy/runit/*/run deploy/runit/*/log/run deploy/rc.d/*)

# A clone that belongs to somebody else has no version that git would tell.
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
demo: build bin/telegraf-stock ## see it work, with a real Telegraf, in under a minute after building
	go test -count=1 -v -timeout 3m -run '^TestDemo$$' ./internal/e2e -demo

.PHONY: test
test: build telegraf bin/telegraf-stock bin/telegraf-heartbeat-race ## every test; names those that were skipped (CI=true: a skip is a failure)
	@$(if $(RACE),true,echo "no C compiler: testing without -race"; test "$(CI)" != true)
	$(call run-tests,$(RACE) ./...)

.PHONY: bin/telegraf-heartbeat-race
bin/telegraf-heartbeat-race:
	$(if $(RACE),go build $(RACE) -o $@ ./cmd/telegraf-heartbeat)

.PHONY: test-386
test-386: export GOARCH = 386
test-386: ## the plugin and the sender where an int has 32 bits (needs an x86-64 processor)
	$(call run-tests,./plugins/inputs/heartbeat/... ./sender)

# What another processor may change is how bytes, numbers and system calls are laid out. Left out
# are tests that take minutes there because they do one thing thousands of times, and those of what
# qemu-user has not: that a program starts itself again, the ioctl PIDFD_GET_INFO, and on s390x the
# nanoseconds of fstat.
REPEATED = CarriedBeats CarriedInBatches CrashAtAnyByteCostsTheTailAlone CrashMakesNoSilenceLonger CrisesGoInParts \
	DamageCostsOneLine DecoderReadsEachBeatLikeANewOne DisturbancesKillNobody Ephemeral ExecutedByCalendar \
	ExpectationOfManyChangesInParts ExpectingManyIsQuick ForgottenStaysForgotten ForgottenWhileAway \
	InvariantsHoldWhateverHappens JobsAreKnownToAll JobsByCalendar JournalDoesNotGrowWithoutEnd JournalMissesNoChange \
	LateRecordsKeepTheInvariants LivingOnIsNoOtherBeat ManyReconnectsLeaveNothing MatesKeepOneSchedule \
	NoChangeIsDropped NoDeathBeforeItsPromise NoProcessSpeaksForAnother OfficeHoursOfAYear PlainLinesAreJSON \
	ReplayInPieces RoundsMendWhatWasLost Scenarios SilenceOutsideOfHours SlowIntervalsDieOnlyWhenTheyStop \
	TotalsAreSavedAhead TrackerAgreesWithNaiveModel Version1CutOffAnywhereIsSetAside WayToTheCollector
STARTED_AGAIN = EndOfTheFirstThreadIsNoEnd FilesOfRootBelongToTheService FullAndReadOnlyDisks KilledSavingLeavesAWholeFile \
	SavingInPartLeavesTheOldFile SecondProcessIsRefused StateWithoutPermission
PIDFD = EndOfAProcessIsDeathWithItsExit ExitIsAwaitedUntilTheProcessIsReaped PIDFileWhoseProcessDoesNotComeBackIsDead
NANOSECONDS = OnlyFilesThatChangeAreReadAgain
space = $(subst ,, )
NOT_EMULATED = ^Test($(subst $(space),|,$(strip $(REPEATED) $(STARTED_AGAIN) $(PIDFD) $(NANOSECONDS))))$$
BYTES = $(addprefix ./plugins/inputs/heartbeat/,wire statefile serve) ./sender ./internal/proc/...

define emulate
	$(call run-tests,-exec qemu-$(1:arm64=aarch64) -skip '$(NOT_EMULATED)' $(2),env GOARCH=$(1) CGO_ENABLED=0)
endef

.PHONY: test-processors
test-processors: ## on a big-endian processor, s390x, and on arm, arm64 and riscv64, as qemu-user emulates them
	$(call emulate,s390x,$(BYTES) $(addprefix ./plugins/inputs/heartbeat/,liveness judge regular) ./internal/watch)
	$(call emulate,s390x,-run HandOver ./internal/execd)
	$(call emulate,arm,$(BYTES))
	$(call emulate,arm64,$(BYTES))
	$(call emulate,riscv64,$(BYTES))

.PHONY: windows
windows: build ## build/windows: both programs for Windows, and tests of them by Wine (needs wine, wine64, gcc-mingw-w64-x86-64)
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -buildid=" -o build/windows/ ./cmd/heartbeat-sender ./cmd/telegraf-heartbeat
	$(call run-tests,-count=1 -run '^TestWindows$$' ./internal/e2e -windows)

.PHONY: rollout
rollout: build bin/telegraf-stock ## the roles for Ansible set up a collector and HOSTS (3) machines (needs root, systemd, ansible-core, python3-apt, curl)
	$(call run-tests,-count=1 -run '^TestRollout$$' ./internal/systemd -hosts $(HOSTS))

.PHONY: test-goroutines
test-goroutines: ## the plugin as on systems without epoll, where each connection has a goroutine
	$(call run-tests,-tags goroutines ./plugins/inputs/heartbeat ./plugins/inputs/heartbeat/serve)

.PHONY: check
check: tree ## format, vet, staticcheck, import rules, README, go.mod, shell scripts
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
lint: tree ## Go, Markdown, JavaScript and roles: Telegraf's own rules for the plugin, then ours for everything
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

# A Telegraf with the plugin, its rivals, and an input that only emits.
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
bench: build bin/telegraf-bench bin/telegraf-shim bin/telegraf-stock ## measure what has a budget, and write it into BENCHMARKS.md and docs/measurements.md (an hour and a half; ONLY="cost" for a part)
	scripts/bench "$(ONLY)"

.PHONY: profile
profile: bin/telegraf-bench ## build/profiles: where a Telegraf with the plugin spends its time and memory under load
	@mkdir -p build/profiles
	go run ./internal/bench cost -turns 1 -server inputs.heartbeat -profiles build/profiles
	@for file in build/profiles/*.cpu; do echo; echo $$file; go tool pprof -top -cum -nodecount 25 $$file 2>/dev/null | tail -n +6; done
	go test -run '^$$' -bench . -benchmem $(BENCHMARKED)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	scripts/fuzz $(FUZZTIME)

.PHONY: bin/telegraf-heartbeat-ahead
bin/telegraf-heartbeat-ahead:
	scripts/clock-ahead $@

.PHONY: faults
faults: build telegraf bin/telegraf-heartbeat-ahead ## make every fault that this machine can, and print what was told of it (needs root)
	@mkdir -p build && rm -f build/faults.md
	go test -count=1 -timeout 30m ./internal/faults -long -table $(CURDIR)/build/faults.md; \
		status=$$?; cat build/faults.md; exit $$status

.PHONY: soak
soak: build ## honest and hostile senders, a collector that is restarted, for SOAK (2m)
	go test -v -count=1 -timeout 24h -run '^TestSoak$$' ./internal/e2e -soak $(SOAK)

.PHONY: servers
servers: ## build/servers: databases, reverse proxies and engines for tests, from Debian's packages
	scripts/servers build/servers
	go build -C internal/kafka -o $(CURDIR)/build/servers/usr/bin/kafka

.PHONY: grafana
grafana: ## build/grafana: Grafana's own packages, with which the tests of the charts draw (needs npm)
	scripts/grafana build/grafana

.PHONY: sender-module
sender-module: ## build/sender-module: package sender as a module that requires nothing, for its release
	rm -rf build/sender-module
	scripts/sender-module build/sender-module

.PHONY: dist
dist: ## dist/: packages, archives, checksums and bills for all platforms; KEY=... (of gpg, or a file): repositories for apt and dnf, too
	go run ./internal/dist -key "$(KEY)"

.PHONY: release
release: ## dist/ as it is published: the commit has a tag vX.Y.Z and a section in CHANGELOG.md, KEY=... signs checksums and repositories
	go run ./internal/dist -release -key "$(KEY)"

.PHONY: dist-test
dist-test: build bin/telegraf-stock ## make dist twice from clones, compare, install from packages and repositories, upgrade under load (needs root and what .ci/run installs)
	go test -count=1 -timeout 60m ./internal/dist -all
	go test -count=1 -timeout 20m -run '^TestPackagesAreUpgradedUnderLoad$$' ./internal/systemd -packages

.PHONY: picture
picture: build bin/telegraf-stock servers grafana ## docs/pictures: the dashboard, drawn by Grafana's code, of the story that tests tell (needs chromium)
	rm -rf build/pictures && mkdir -p build/pictures
	go test -count=1 -run '^TestChartsTellTheStory$$' ./internal/e2e -pictures $(CURDIR)/build/pictures
	install -m 644 build/pictures/dashboard-dark.png build/pictures/dashboard-light.png docs/pictures

.PHONY: recording
recording: build ## docs/pictures/session.svg: the session of the front page, as it really went
	go test -count=1 -run '^TestFrontPage$$' ./internal/e2e -record $(CURDIR)/docs/pictures/session.svg

.PHONY: docs
docs: tree ## write sample.conf and Telegraf's includes into the plugin's README, and charts into deploy
	go test ./internal/charts -update
	go run -C $(IN_TREE) $(INCLUDER)
	cp $(IN_TREE)/README.md $(README)

.PHONY: upstream
upstream: tree ## does the plugin pass Telegraf's own checks when copied into its tree?
	go vet -C $(TREE) ./plugins/inputs/heartbeat/...
	go test -C $(TREE) ./plugins/inputs/heartbeat/...
	@# -run succeeds where it finds nothing to run, so look for what ran.
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
