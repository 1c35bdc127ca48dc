# make demo: install, train a network with early exits on the embedded set, time it beside its static twin.
# make test: install what the tests need, pass them (test-slow: those that take long, too).
# Both make their own environment in $(VENV); nothing else of the machine is touched.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TRAIN = $(BIN)/gatebench train
# One short schedule for every CIFAR-10 row made on a CPU; it gets ResNet-20 further in 15 epochs than the paper's own from 160.
SHORT = --epochs 15 --set training.schedule=one-cycle --set training.learning_rate=0.2 --threads 1
PRINTED = aggressive balanced conservative sign-corrected
EXITS = deepest exit-wise joint annealed hard soft soft-printed
# Gates of others, and what any gate has to beat, on the same network and schedule
PEERS = skipnet convnet-aig slat random-skip stochastic-depth
ONE_CYCLE = training.schedule=one-cycle, training.learning_rate=0.2
OF_SHORT = --set parents.network.epochs=15 --set 'parents.network.changes=[$(ONE_CYCLE)]'
DEPTHS = 8 26 32 44 56
DECIDERS = skipnet convnet-aig slat when-unsure
PINES = indian-pines indian-pines-hard indian-pines-soft-printed indian-pines-joint
RULES = neighbours entropy complexity cascade cascade-entropy cascade-margin
LAMBDAS = 0.5,0.6,0.7,0.8,0.9,0.95,1.0
RESULTS = cifar10-resnet20 cifar10-resnet14 cifar10-predictive cifar10-predictive-entropy cifar10-when-unsure $(PRINTED:%=cifar10-%) cifar10-released mnist-resnet20 mnist-cosinegate \
	$(PEERS:%=cifar10-%) cifar10-skipnet-feed-forward cifar10-skipnet-hrl cifar10-blockdrop cifar10-fixed cifar10-fixed-depth $(DECIDERS:%=cifar10-fixed-%) cifar10-fixed-skipnet-hrl $(DEPTHS:%=cifar10-resnet%) $(PINES) $(PINES:%=%-by-pixels) \
	$(EXITS:%=fashion-mnist-%) cifar100-exits intel-routers $(RULES:%=intel-%) cifar100-channels cifar10-channels
# LAG's networks, at a quarter of the width
QUARTER = --set model.width=0.25
OF_QUARTER = --set 'parents.network.changes=[model.width=0.25]'
LAG = released input input-hard
LAG_VGG = cifar100-vgg11 $(LAG:%=cifar100-lag-%) cifar100-lag-fbs
LAG_RESNET = cifar10-resnet18 $(LAG:%=cifar10-lag-%)
NARROWER = $(addprefix cifar100-vgg11-,0.2 0.15 0.1)
PRUNED = $(addprefix cifar100-pruned-,decisions retrained magnitude)
CHANNELS = cifar100-lag-weights cifar100-lag-off cifar100-pruned-off shapes-lag $(LAG_VGG) $(LAG_RESNET) $(NARROWER) $(PRUNED)

.PHONY: demo test test-slow fuzz lint results clean full-width device $(RESULTS) $(CHANNELS)

# 3: the times are too noisy to tell, which the command says itself
demo: $(VENV)/installed
	$(BIN)/gatebench train cgt --config demo --out demo-results
	$(BIN)/gatebench profile-latency demo-results --threads 1 --max-seconds 12 || test $$? = 3

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: $(VENV)/installed-slow lint
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -m ""

# 2,000 recipes, --set values and run folders that chance has spoilt, always the same ones
fuzz: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_fuzz.py -m ""

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

$(VENV)/installed-slow: $(VENV)/installed-test  # with Ray, for the tests of clusters, and what drives a browser, for those of the page
	$(BIN)/pip install --quiet --editable '.[ray,test-browser]'
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

# Tried so that its decisions differ between images
cifar10-predictive-entropy: $(VENV)/installed
	$(TRAIN) cosinegate --config predictive $(SHORT) --set losses.decision_entropy.weight=0.3

cifar10-when-unsure: $(VENV)/installed
	$(TRAIN) when-unsure --seed 0,1,2 $(SHORT)

$(PRINTED:%=cifar10-%): cifar10-%: $(VENV)/installed
	$(TRAIN) cosinegate --config $* $(SHORT)

$(PEERS:%=cifar10-%): cifar10-%: $(VENV)/installed
	$(TRAIN) $* $(SHORT)

$(DEPTHS:%=cifar10-resnet%): cifar10-%: $(VENV)/installed
	$(TRAIN) $* $(SHORT)

cifar10-skipnet-feed-forward: $(VENV)/installed
	$(TRAIN) skipnet --config feed-forward $(SHORT)

cifar10-skipnet-hrl: cifar10-skipnet  # whose weights it starts from
	$(TRAIN) skipnet --config hrl --epochs 3 --threads 1 --set parents.weights.epochs=15 --set 'parents.weights.changes=[$(ONE_CYCLE)]'

cifar10-blockdrop: cifar10-resnet20
	$(TRAIN) blockdrop --epochs 5 --threads 1 --set parents.weights.epochs=10 \
		--set 'parents.weights.changes=["parents.weights.epochs=15", "parents.weights.changes=[$(ONE_CYCLE)]"]'

# What results/edge.md times and no other page shows; it goes to a folder of its own, since lengths and machine differ
device: $(VENV)/installed
	$(TRAIN) cosinegate --config predictive --epochs 10 --set model.depth=56 --set model.gate.hidden=1 --set losses.budget.target=0.5 \
		--set training.schedule=one-cycle --set training.learning_rate=0.2 --threads 1 --out device-results
	$(TRAIN) router --threads 1 --out device-results
	$(TRAIN) lag-compact --set parents.gated.config=hard --set 'parents.gated.changes=[model.width=0.25, losses.sparsity.weight=0.004]' \
		--threads 1 --out device-results
	$(TRAIN) vgg11 --set model.width=0.25 --threads 1 --out device-results  # its twin
	$(TRAIN) lag-compact --set parents.gated.config=hard --set parents.gated.epochs=7 \
		--set 'parents.gated.changes=[losses.sparsity.weight=0.002, model.gate.start=0.15]' --threads 1 --out device-results
	$(TRAIN) vgg11 --epochs 4 --threads 1 --out device-results  # its twin
	for exits in joint deepest; do $(TRAIN) cgt --config $$exits --epochs 2 --set 'model.backbone.widths=[48, 96, 192]' \
		--set training.schedule=one-cycle --threads 1 --out device-results || exit; done

cifar10-fixed: cifar10-resnet20 cifar10-predictive  # whose blocks they take
	$(TRAIN) fixed-blocks --threads 1 $(OF_SHORT)
	$(TRAIN) fixed-blocks --config retrained $(SHORT) $(OF_SHORT)
	$(TRAIN) fixed-blocks --config decided $(SHORT) $(OF_SHORT)

cifar10-fixed-depth: cifar10-stochastic-depth
	$(TRAIN) fixed-blocks --config stochastic-depth --threads 1 $(OF_SHORT)

$(DECIDERS:%=cifar10-fixed-%): cifar10-fixed-%: cifar10-%
	$(TRAIN) fixed-blocks --config decided $(SHORT) $(OF_SHORT) --set parents.network.model=$* --set parents.network.config=default

cifar10-fixed-skipnet-hrl: cifar10-skipnet-hrl
	$(TRAIN) fixed-blocks --config decided $(SHORT) --set parents.network.model=skipnet --set parents.network.config=hrl --set parents.network.epochs=3 \
		--set 'parents.network.changes=[parents.weights.epochs=15, "parents.weights.changes=[$(ONE_CYCLE)]"]'

$(PINES): $(VENV)/installed
	$(TRAIN) cgt --config $@ --seed 0,1,2 --threads 1

$(PINES:%=%-by-pixels): %-by-pixels: $(VENV)/installed
	$(TRAIN) cgt --config $* --dataset indian-pines-random --seed 0,1,2 --threads 1

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

# A VGG-11 takes about 45 minutes a seed, a ResNet-18 some hours
cifar100-channels: $(LAG_VGG) cifar100-lag-weights cifar100-lag-off cifar100-pruned-off shapes-lag $(NARROWER) $(PRUNED)

cifar10-channels: $(LAG_RESNET)

# The same networks as LAG has them, which `results` leaves out: days on a CPU, minutes a row on a GPU
full-width: QUARTER =
full-width: $(LAG_VGG) $(LAG_RESNET)
	$(TRAIN) resnet18 --dataset cifar100 --threads 1
	$(TRAIN) lag-resnet18 --dataset cifar100 --threads 1
	$(BIN)/gatebench sweep-lambda lag-vgg11 --values 1e-4,1e-2,3e-2 --threads 1
	$(TRAIN) lag-compact --set 'parents.gated.changes=[losses.sparsity.weight=0.01]' --threads 1

cifar100-vgg11 cifar10-resnet18: $(VENV)/installed
	$(TRAIN) $(lastword $(subst -, ,$@)) $(QUARTER) --seed 0,1,2 --threads 1

$(LAG:%=cifar100-lag-%): cifar100-lag-%: $(VENV)/installed
	$(TRAIN) lag-vgg11 --config $* $(QUARTER) --seed 0,1,2 --threads 1

$(LAG:%=cifar10-lag-%): cifar10-lag-%: $(VENV)/installed
	$(TRAIN) lag-resnet18 --config $* $(QUARTER) --seed 0,1,2 --threads 1

cifar100-lag-fbs: $(VENV)/installed
	$(TRAIN) lag-vgg11 --config fbs $(QUARTER) --threads 1

cifar100-lag-weights: cifar100-lag-released  # one of which is its own
	$(BIN)/gatebench sweep-lambda lag-vgg11 $(QUARTER) --values 0,1e-5,1e-4,1e-3,1e-2,3e-2 --threads 1
	$(BIN)/gatebench sweep-lambda lag-vgg11 --config input $(QUARTER) --values 1e-4,1e-2 --threads 1

# Where gates that are on or off in training turn channels off, and the network that is left of one
cifar100-lag-off: $(VENV)/installed
	$(BIN)/gatebench sweep-lambda lag-vgg11 --config input-hard $(QUARTER) --values 3e-4,1e-3,2e-3 --threads 1
	$(BIN)/gatebench sweep-lambda lag-vgg11 --config hard $(QUARTER) --values 4e-3 --threads 1
	$(TRAIN) lag-compact --set parents.gated.config=hard --set 'parents.gated.changes=[model.width=0.25, losses.sparsity.weight=0.004]' --threads 1

cifar100-pruned-off: cifar100-lag-off  # whose channels they keep
	$(TRAIN) pruned --config decisions --set 'parents.network.changes=[model.width=0.25, losses.sparsity.weight=0.001]' --threads 1
	$(TRAIN) pruned --config decisions --set 'parents.network.changes=[model.width=0.25, losses.sparsity.weight=0.002]' --threads 1
	$(TRAIN) pruned --config retrained --set 'parents.network.changes=[model.width=0.25, losses.sparsity.weight=0.001]' --threads 1

shapes-lag: $(VENV)/installed
	$(TRAIN) lag-vgg11 --config input-hard --dataset shapes $(QUARTER) --set losses.sparsity.weight=0.001 --threads 1
	$(TRAIN) vgg11 --dataset shapes $(QUARTER) --threads 1

# What LAG's networks have to beat: narrower static ones, and theirs with the same channels for every image
$(NARROWER): cifar100-vgg11-%: $(VENV)/installed
	$(TRAIN) vgg11 --set model.width=$* --threads 1

$(PRUNED): cifar100-pruned-%: cifar100-vgg11 cifar100-lag-input-hard  # whose channels they keep
	$(TRAIN) pruned --config $* $(OF_QUARTER) --threads 1

# Intel scenes and the pretrained experts/*.safetensors must lie below the data root
intel-routers: $(VENV)/installed
	$(BIN)/gatebench sweep-lambda router --values $(LAMBDAS) --seed 0,1,2 --threads 1
	$(BIN)/gatebench sweep-lambda router --config expected --values $(LAMBDAS) --threads 1

$(RULES:%=intel-%): intel-%: intel-routers  # whose pool they take
	$(TRAIN) router --config $* --threads 1

clean:
	rm -rf $(VENV) demo-results
