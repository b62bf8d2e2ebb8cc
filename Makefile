# `make demo` and then `make test`: each does all of its own set-up on a fresh Debian-like machine.
SHELL := /bin/sh
RUN = . .deps/env.sh &&
SOURCES = $(wildcard relay tests ops bench)

.PHONY: help setup demo bench faults fuzz failover store quality search linking dial test lint format lock clean distclean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup:  ## programs, Python libraries and native code: installed, unpacked or built beneath the project
	@ops/setup.sh

demo: setup  ## a real call between two softphones, over Tor and a reflector; what an observer saw of it in demo-out/
	@$(RUN) bayonne demo $(DEMO)

bench: setup  ## the data plane beside the kernel alone, coturn and rtpengine, about ten minutes; BENCH=--quick: two
	@$(RUN) python -m bench $(BENCH)

faults: setup  ## floods of eight kinds against a reflector with 2,000 full lines, two minutes; figures in faults-out/
	@$(RUN) python -m bench.faults $(FAULTS)

fuzz: setup  ## every codec, and the native data plane under AddressSanitizer, FUZZ seconds (240) in all; fuzz-out/
	@ops/fuzzer.sh
	@$(RUN) python -m tests.fuzz.run --seconds $(or $(FUZZ),240) $(FUZZ_OPTIONS)

failover: setup  ## a reflector full of lines is killed: when and where they go on, about a minute; in failover-out/
	@$(RUN) python -m bench.failover $(FAILOVER)

store: setup  ## a contact point's store with STORE="--records 1000000", about ten minutes and 5 GiB; in store-out/
	@$(RUN) python -m bench.store $(STORE)

quality: setup  ## speech through codecs, cells and losses, judged by ViSQOL; costs; ZRTP; seven minutes; in quality-out/
	@ops/quality.sh
	@$(RUN) BAYONNE_WIDEBAND_SOUNDS=.deps/wideband/usr/share/asterisk/sounds python -m bench.quality $(QUALITY)

search: setup  ## 100,000 listings, searched in ten ways, two minutes; SEARCH=--postgresql: five; in search-out/
	@$(RUN) python -m bench.search $(SEARCH)

linking: setup  ## which tokens have one owner, as a contact point could tell, in simulation, five minutes; in linking-out/
	@$(RUN) python -m bench.token_linking $(LINKING)

dial: setup  ## from dialling to the first byte of a ring, agent warm; in dial-out/
	@$(RUN) python -m bench.dial $(DIAL)

test: lint  ## lint, then every test, the demo call included
	@$(RUN) ops/tests.sh $(TESTS)

lint: setup  ## ruff, import rules, mypy --strict
	@$(RUN) ruff check $(SOURCES)
	@$(RUN) ruff format --check $(SOURCES)
	@$(RUN) python -m ops.import_rules
	@$(RUN) mypy

format: setup  ## lay the sources out as `make lint` wants them
	@$(RUN) ruff format $(SOURCES)

lock: setup  ## write requirements.lock anew, with the newest versions that pyproject.toml allows
	@ops/lock.sh

clean:  ## remove what runs and tests wrote
	rm -rf *-out .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove also .venv, .deps and what was built
	rm -rf .venv .deps
	find $(SOURCES) -name built -type d -prune -exec rm -rf {} +
