PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: protos check
protos: 
	$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src src/repertory/protos/*.proto
