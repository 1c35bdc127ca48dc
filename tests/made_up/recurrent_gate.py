"""Block gates with a memory: one LSTM cell looks at every block's input before the block is computed."""

from torch import nn

from gatebench.measure.macs import count_macs
from gatebench.models.blocks.network import BlockGatedResNet

SIZE = 6


class RecurrentGate(BlockGatedResNet):
    when = "before"

    def __init__(self, num_classes, input_shape, depth: int = 14):
        super().__init__(num_classes, input_shape, depth, (8, 16, 32))
        self.embeds = nn.ModuleList(nn.Linear(shape[1], SIZE) for shape in self.map_shapes()[:-1])
        self.cell, self.answer = nn.LSTMCell(SIZE, SIZE), nn.Linear(SIZE, 1)
        self.macs_gate = sum(count_macs(embed, (1, embed.in_features)) for embed in self.embeds)
        self.macs_gate += len(self.blocks) * (8 * SIZE * SIZE + SIZE)  # four gates from input and memory, then the answer

    def start(self, x):
        return x.new_zeros(len(x), SIZE), x.new_zeros(len(x), SIZE)

    def logits(self, index, x, state, paths):
        hidden, memory = self.cell(self.embeds[index](x.mean((2, 3))), tuple(each.to(x.dtype) for each in state))
        return 4 * self.answer(hidden).squeeze(1), (hidden, memory)
