# `make run` serves the example, `make rendezvous` with several models on stage; `make test` runs
# every check that CI runs. Each sets itself up.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run rendezvous test check kafka lint protos soak cluster-faults bench clean

run: $(READY)
	$(BIN)/python -m examples.wine.run

rendezvous: $(READY)
	$(BIN)/python -m examples.wine.rendezvous

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadscope

# Apache Kafka for the tests, fetched once by Maven; the tests do without it unless CI is set.
kafka: $(READY)
	$(BIN)/python -m tests.apache_kafka.jars

check: $(READY) lint protos-check test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Generated modules are committed; CI checks that generating them again changes nothing.
protos: $(READY)
	$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src src/repertory/protos/*.proto
	$(BIN)/python -m grpc_tools.protoc -I src --pyi_out=src --include_imports \
		--descriptor_set_out=src/repertory/protos/private/descriptors.binpb src/repertory/protos/private/*.proto

.PHONY: protos-check
protos-check: protos
	git diff --exit-code -- protos

# Long runs, by hand: what CI does twice, twenty times; two hundred swaps; a million records.
soak: $(READY)
	$(BIN)/pytest -p no:xdist tests/system -s --timeout 3600 \
		--kills 20 --swaps 200 --records 1000000 --rounds 5

# What CI does to a cluster for seconds, as long as it is promised to bear it, at 5,000 records/s.
# Ten data types with two replicas, and two without.
# It needs root, for network namespaces. `KAFKA=apache`: with Apache Kafka.
cluster-faults: $(READY)
	$(BIN)/pytest -p no:xdist tests/cluster -s --timeout 3600 --fault-kafka $(or $(KAFKA),embedded) \
		--fault-seconds 60 --fault-rate 5000 --fault-requests 120 --fault-types 10 \
		--fault-publish 10 --strict-times

bench: $(READY)
	$(BIN)/python -m benchmarks.door

# Some 23 minutes, beside the peers' environments, which it makes once.
.PHONY: bench-http
bench-http: $(READY)
	$(BIN)/python -m benchmarks.http_peers

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed, not " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev -e ".[all]"
	touch $(READY)

clean:
	rm -rf $(VENV) .cache build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
