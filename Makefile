# make demo: install, train CosineGate on the embedded set, print the table.   make test: install what the tests need, pass them (test-slow: those that take long, too).
# Both make their own environment in $(VENV); nothing else of the machine is touched.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TRAIN = $(BIN)/gatebench train
# One short schedule for every CIFAR-10 row made on a CPU; it gets ResNet-20 further in 15 epochs than the paper's own from 160.
SHORT = --epochs 15 --set training.schedule=one-cycle --set training.learning_rate=0.2 --threads 1
PRINTED = aggressive balanced conservative sign-corrected
EXITS = deepest exit-wise joint annealed hard soft soft-printed
RULES = neighbours entropy complexity cascade cascade-entropy cascade-margin
LAMBDAS = 0.5,0.6,0.7,0.8,0.9,0.95,1.0
RESULTS = cifar10-resnet20 cifar10-resnet14 cifar10-predictive $(PRINTED:%=cifar10-%) cifar10-released mnist-resnet20 mnist-cosinegate \
	$(EXITS:%=fashion-mnist-%) cifar100-exits intel-routers $(RULES:%=intel-%)

.PHONY: demo test test-slow lint results clean $(RESULTS)

demo: $(VENV)/installed
	$(BIN)/gatebench train cosinegate --config predictive --dataset shapes --epochs 7 --out demo-results

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile

test-slow: $(VENV)/installed-slow lint
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile -m ""

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache > $(VENV)/imports.txt || (cat $(VENV)/imports.txt; exit 1)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/installed-slow: $(VENV)/installed-test  # with Ray, for the tests of clusters
	$(BIN)/pip install --quiet --editable '.[ray]'
	touch $@

# The rows of results/ on a CPU, some hours; two at a time with `make -j2 results`. Stopped, it goes on where it was.
results: $(RESULTS)

cifar10-resnet20: $(VENV)/installed
	$(TRAIN) resnet20 --seed 0,1,2 $(SHORT)

# What a static network reaches with about the MACs that the gated ones leave
cifar10-resnet14: $(VENV)/installed
	$(TRAIN) resnet14 $(SHORT)

cifar10-predictive: $(VENV)/installed
	$(TRAIN) cosinegate --config predictive --seed 0,1,2 $(SHORT)

$(PRINTED:%=cifar10-%): cifar10-%: $(VENV)/installed
	$(TRAIN) cosinegate --config $* $(SHORT)

cifar10-released: $(VENV)/installed
	$(TRAIN) cosinegate --config released --epochs 5 --threads 1

mnist-resnet20: $(VENV)/installed
	$(TRAIN) resnet20 --config mnist --threads 1

mnist-cosinegate: $(VENV)/installed
	$(TRAIN) cosinegate --config mnist --threads 1
	$(TRAIN) cosinegate --config mnist-scaled --threads 1

fashion-mnist-exit-wise: fashion-mnist-deepest  # whose trunk it takes

$(EXITS:%=fashion-mnist-%): fashion-mnist-%: $(VENV)/installed
	$(TRAIN) cgt --config $* --seed 0,1,2 --threads 1

# A few epochs of 300, for the network's times
cifar100-exits: $(VENV)/installed
	$(TRAIN) cgt --config cifar100 --epochs 3 --set training.schedule=one-cycle --set training.batch_size=125 --threads 1

# Intel scenes and the pretrained experts/*.safetensors must lie below the data root
intel-routers: $(VENV)/installed
	$(BIN)/gatebench sweep-lambda router --values $(LAMBDAS) --seed 0,1,2 --threads 1
	$(BIN)/gatebench sweep-lambda router --config expected --values $(LAMBDAS) --threads 1

$(RULES:%=intel-%): intel-%: intel-routers  # whose pool they take
	$(TRAIN) router --config $* --threads 1

clean:
	rm -rf $(VENV) demo-results
