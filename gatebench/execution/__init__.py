"""How hard decisions are carried out: `masked` computes everything and multiplies, `sparse` leaves out what is off.

blocks.py   residual blocks; order.py keeps the inputs that run one side by side
exits.py    segments up to an exit
fold.py     a copy for inference, for the network and its twin alike: norms folded, `merged()` of parts that have it
graphs.py   the same as CUDA graphs, one input at a time
"""
