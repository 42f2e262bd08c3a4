# ruff: noqa: E501
"""One change for each check that reads a component: what the check must catch."""

from tests.contracts.broken import Break

_INIT = "        self.dim, self.budget, self.processor = size, 1024, Processor()\n"
_TOKENS = '        tokens_BTD = self.linear(self.table(batch["ids_BT"])) * mask_BT[..., None]\n'
_POOLED = "        pooled_BD = tokens_BTD.sum(1) / mask_BT.sum(1, keepdim=True).clamp(min=1)\n"
_GIVE = "        return Features(pooled_BD.float(), tokens_BTD.float(), mask_BT)\n"
_BUILD = "def build(*, size):\n    return Encoder(size)\n"
_HEAD_BUILD = "    return Head(dim, target)\n"
_LAYERS = "class Encoder(HashText):\n    pass\n"

CONFIG = [
    Break("target_resolves", "encoder", "MODULE:build", "MODULE:biuld", "biuld"),
    Break("options_are_typed", "encoder", "size: int = 8", "size: complex = 8j", "Config is nothing that Hydra can type"),
    Break("options_are_documented", "encoder", '\n    """How large it is."""', "", "says nothing about size"),
    Break("options_match_factory", "encoder", "def build(*, size)", "def build(*, width, size=8)", "needs width"),
    Break("options_round_trip", "encoder", "size: int = 8", "size: __import__('pathlib').Path = __import__('pathlib').Path('x')", "cannot be written as plain data", ("builds",)),
    Break("composes", "encoder", "size: int = 8", "size: int = '${nowhere}'", "does not compose", ("options_round_trip", "builds", "options_are_typed")),
    Break("tasks_are_declared", "head", "PRODUCES", "'classifying'", "classifying"),
]  # fmt: skip

BUILD = [
    Break("works_offline", "encoder", _BUILD, "def build(*, size):\n    socket.create_connection(('models.example', 443))\n    return Encoder(size)\n", "models.example"),
    Break("builds", "encoder", _BUILD, "def build(*, size):\n    raise ValueError('no licence')\n", "ValueError: no licence"),
    Break("unknown_options_are_refused", "encoder", _BUILD, "def build(*, size=8, **rest):\n    return Encoder(size)\n", "no_such_option=1"),
    Break("no_side_effects", "encoder", _INIT, _INIT + "        torch.manual_seed(0); torch.set_default_dtype(torch.float64); torch.set_default_dtype(torch.float32)\n", "seeds the global random numbers of torch"),
    Break("no_side_effects", "encoder", _INIT, _INIT + "        os.environ['ACME_HOME'] = str(id(self))\n", "the environment: ACME_HOME"),
    Break("no_side_effects", "encoder", "class Processor:", "os.environ['ACME_IMPORTED'] = '1'\n\nclass Processor:", "the environment: ACME_IMPORTED"),
    Break("no_side_effects", "encoder", _INIT, _INIT + "        os.chdir('/')\n", "the working folder"),
]  # fmt: skip

MODULE = [
    Break("answers", "encoder", _POOLED, _POOLED + "        pooled_BD = pooled_BD / 0\n", "pooled features hold NaN"),
    Break("answers", "encoder", "class Encoder(nn.Module)", "class Encoder", "no torch.nn.Module"),
    Break("deterministic_in_eval", "encoder", _POOLED, _POOLED + "        pooled_BD = nn.functional.dropout(pooled_BD, 0.3)\n", "when asked twice"),
    Break("inputs_unchanged", "encoder", _GIVE, "        batch['ids_BT'].add_(1)\n" + _GIVE, "ids_BT"),
    Break("gradients_reach_parameters", "encoder", "self.table(batch[\"ids_BT\"])", "self.table(batch[\"ids_BT\"]).detach()", "table.weight"),
    Break("gradients_reach_parameters", "encoder", "self.linear(self.table(batch[\"ids_BT\"]))", "(self.linear(self.table(batch[\"ids_BT\"])).detach() + 0 * self.linear(self.table(batch[\"ids_BT\"])))", "the gradient of table.weight is zero everywhere"),
    Break("pickles_and_copies", "encoder", _INIT, _INIT + "        self.activation = lambda x: x\n", "activation"),
    Break("seeded_build_repeats", "encoder", "self.linear.weight.normal_(generator=seeded)", "self.linear.weight.normal_()", "linear.weight", ("state_round_trip",)),
    Break("builds_on_meta", "encoder", _INIT, _INIT + "        self.width = int(torch.ones(size).sum().item())\n", "cannot be built there"),
    Break("runs_in_bfloat16", "encoder", "self.linear(self.table(batch[\"ids_BT\"]))", "self.linear(self.table(batch[\"ids_BT\"]).float())", "dtype"),
    Break("assets_are_data", "encoder", "    def forward", "    def save_assets(self, folder):\n        (folder / 'model.py').write_text('x = 1')\n\n    def forward", "model.py"),
    Break("state_round_trip", "encoder", "    def forward", "    def state_dict(self, *args, **options):\n        found = super().state_dict(*args, **options)\n        found.pop('linear.bias', None)\n        return found\n\n    def forward", "linear.bias"),
    Break("safetensors_round_trip", "encoder", "    def forward", "    def get_extra_state(self):\n        return {'a': 1}\n\n    def set_extra_state(self, state):\n        pass\n\n    def forward", "_extra_state", ("seeded_build_repeats",)),
]  # fmt: skip

ENCODER = [
    Break("encoder_protocol", "encoder", 'modality = "text"', 'modality = "txet"', "txet", ("answers",)),
    Break("declared_shapes", "encoder", _INIT, _INIT + "        self.dim = size + 1\n", "(8, 8), declared is (8, 9)"),
    Break("rows_differ", "encoder", _POOLED, "        pooled_BD = tokens_BTD.sum(1) * 0 + 1\n", "differ by 0"),
    Break("processor_reads_rows_alone", "encoder", "        return [self.ids(value, row) for row, value in enumerate(values)]", "        found = [self.ids(value, row) for row, value in enumerate(values)]\n        return [item + [0] * (max(map(len, found)) - len(item)) for item in found]", "among others"),
    Break("encodes_in_order", "encoder", "        return {\"ids_BT\"", "        self.calls = getattr(self, 'calls', 0) + 1\n        items = items if len(items) < 9 else items[::-1]\n        return {\"ids_BT\"", "comes back"),
    Break("refuses_foreign_values", "encoder", "raise DataError(\"text is a string or a list of words\", row=row)", "raise DataError('no text')", "row=None"),
    Break("odd_values", "encoder", _POOLED, _POOLED + "        pooled_BD = pooled_BD / (tokens_BTD.shape[1] < 60)\n", "two hundred thousand words: its features hold NaN"),
    Break("words_are_tokens", "encoder", "words = list(value)[:64]", "words = ' '.join(value).split()[:1]", "tokens"),
    Break("independent_of_batch", "encoder", _POOLED, _POOLED + "        pooled_BD = pooled_BD - pooled_BD.mean(0)\n", "of its size"),
    Break("independent_of_padding", "encoder", _POOLED, "        pooled_BD = tokens_BTD.mean(1)\n", "padded from size"),
    Break("halves_are_the_whole", "layered", _LAYERS, "class Encoder(HashText):\n    def split(self, n):\n        prefix, suffix = super().split(n)\n        return prefix, copy.deepcopy(suffix)\n", "in neither part"),
    Break("hidden_states_bear_new_padding", "layered", _LAYERS, "class Encoder(HashText):\n    def split(self, n):\n        prefix, suffix = super().split(n)\n        run, rest = prefix.forward, suffix.forward\n        def first(batch):\n            self.masks = batch['mask_BT']\n            return run(batch)\n        def last(hidden):\n            assert hidden.mask_BT.shape == self.masks.shape, 'other lengths'\n            return rest(hidden)\n        prefix.forward, suffix.forward = first, last\n        return prefix, suffix\n", "other lengths", ("last_layers_learn_for_the_whole",)),
    Break("last_layers_learn_for_the_whole", "layered", _LAYERS, "class Encoder(HashText):\n    def forward(self, batch):\n        if not hasattr(self, 'kept'):\n            object.__setattr__(self, 'kept', copy.deepcopy(self.blocks))\n        live = self._modules['blocks']\n        if len(live) == 2:\n            self._modules['blocks'] = self.kept\n        try:\n            return super().forward(batch)\n        finally:\n            self._modules['blocks'] = live\n", "answers as before", ("gradients_reach_parameters", "runs_in_bfloat16")),
]  # fmt: skip

FUSION = [
    Break("fused_shape", "fusion", "self.names, self.dim = list(dims), size", "self.names, self.dim = list(dims), 99", "dim is 99"),
    Break("every_input_counts", "fusion", "features[name].pooled_BD for name", "features[name].pooled_BD * (name == 'one') for name", "'two' has no part"),
    Break("independent_of_order", "fusion", "[features[name].pooled_BD for name in self.names]", "[one.pooled_BD for one in features.values()]", "another order"),
    Break("rows_are_fused_alone", "fusion", "return Features(self.linear(joined))", "return Features(self.linear(joined - joined.mean(0)))", "third row"),
]  # fmt: skip
_CONFIDENT = "outputs.softmax(-1).amax(-1).tolist()"
HEAD = [
    Break("head_protocol", "head", '"accuracy", True', '"accuracy", 1', "higher_is_better is 1"),
    Break("output_shape", "head", "target.num_outputs)", "target.num_outputs + 1)", "(24, 4)"),
    Break("loss_is_finite", "head", "ignore_index=-100)", "ignore_index=-100, reduction='none')", "must be a scalar", ("gradients_reach_parameters",)),
    Break("padding_does_not_count", "tags", "targets.flatten(), ignore_index=-100)", "targets.flatten().clamp(min=0))", "change the loss"),
    Break("one_prediction_a_row", "head", _CONFIDENT, "(2 + outputs.amax(-1).abs()).tolist()", "its score is"),
    Break("metrics_are_numbers", "head", '{"accuracy":', '{"accuracies":', "its metric is 'accuracy'", ("learns_a_toy",)),
    Break("metrics_match_reference", "head", "[real].float().mean())", "[real].float().mean() / 2 + 0.5)", "scikit-learn says"),
    Break("learns_a_toy", "head", "return cross_entropy(", "return -cross_entropy(", "accuracy goes from"),
    Break("decode_inverts_targets", "head", "[Prediction(self.classes[i], s, dict(zip(self.classes, p)))", "[Prediction(self.classes[i - 1], s, dict(zip(self.classes[-1:] + self.classes[:-1], p[-1:] + p[:-1])) and {})", "was learned as"),
]  # fmt: skip

GENERATOR = [
    Break("one_answer_a_prompt", "generator", "for prompt in prompts]", "for prompt in sorted(prompts)]", "another order"),
    Break("prompts_are_answered_alone", "generator", "return [self.answer(prompt, max_new_tokens", "return [self.answer(prompt + '!' * (len(prompts) > 1), max_new_tokens", "alone a prompt"),
    Break("honours_the_limit", "generator", "while len(new) < limit:", "while len(new) <= limit:", "max_new_tokens=1 an answer has 2"),
    Break("stops_where_told", "generator", "text[: min(ends)]", "text", "stopped at"),
    Break("sampling_repeats", "generator", "generator=sampler", "generator=None", "draws from the global random numbers"),
    Break("sampling_repeats", "generator", "temperature, seed) for prompt in prompts]", "temperature, seed + i) for i, prompt in enumerate(prompts)]", "for a prompt alone"),
    Break("streams_its_answer", "generator", "yield text[3:]", "yield text[2:]", "its pieces are"),
    Break("streams_its_answer", "generator", "yield text[:3]", "torch.set_grad_enabled(False)\n        yield text[:3]", "leaves gradients switched off"),
    Break("temperature_counts", "generator", "if temperature:", "if False:", "at temperature=10 5 seeds have the same answers"),
    Break("temperature_counts", "generator", "choice = int(scores.argmax())", "choice = (int(scores.argmax()) + sampler.initial_seed()) % len(WORDS)", "at temperature=0 5 seeds have"),
    Break("learns_from_answers", "writer", "torch.stack(losses)", "torch.stack(losses).mean()", "not one finite number for each"),
    Break("learns_from_answers", "writer", "losses.append(", "losses.append(len(prompts)", "alone the loss of a row differs"),
    Break("learns_from_answers", "writer", "def loss(", "def lose(", "it has no loss"),
    Break("learns_from_answers", "writer", "return [len(answer.split()) for", "return [max(len(a.split()) for a in answers) for", "alone num_tokens of a row is"),
    Break("learns_from_answers", "writer", "return [len(answer.split()) for", "return [len(answer.split()) - 1 for", "not one whole number above 0"),
    Break("reads_a_prefix", "writer", "zip(prompts, self.pushes(prompts, prefix_BPW))\n        return", "zip(prompts, self.pushes(prompts, prefix_BPW)[::-1])\n        return", "behind a prefix"),
    Break("reads_a_prefix", "writer", "list(prefix_BPW.mean(1)", "list(prefix_BPW.detach().mean(1)", "has no gradient"),
    Break("reads_a_prefix", "writer", "width, spread = 4, 1.0", "width = 4", "no width and spread"),
    Break("odd_prompts", "generator", "len(words) > room)", "False)", "not said to be truncated"),
]  # fmt: skip
SOURCE = [
    Break("source_protocol", "source", "    def fingerprint(self):", "    def fingreprint(self):", "no fingerprint"),
    Break("stable_order", "source", "list(range(self.size))", "random.sample(range(self.size), self.size)", "column 'number'", ("streaming_equals_loading",)),
    Break("stable_fingerprint", "source", 'f"numbers {self.size}"', 'f"numbers {hash(str(self.size))}"', "in another process"),
    Break("streaming_equals_loading", "source", "range(0, table.num_rows, batch_size)", "range(0, table.num_rows - batch_size + 1, batch_size)", "read() gives 8"),
    Break("columns_keep_their_word", "source", "return pa.table({\"number\": list(range(self.size)),", "return pa.table({SPLIT_COLUMN: ['dev'] * self.size, \"number\": list(range(self.size)),", "dev"),
]  # fmt: skip

TRANSFORM = [
    Break("tables_to_tables", "transform", "return table.set_column", "return table.slice(0, 0) if True else table.set_column", "drops all rows"),
    Break("tables_to_tables", "transform", "return table.set_column", "table = table.drop_columns(['number'])\n        return table.set_column", "drops the column number"),
    Break("keeps_every_row", "transform", "column = pc", "table = table.slice(0, max(1, table.num_rows - 1))\n        column = pc", "it makes 19 rows of 20"),
    Break("keeps_every_row", "transform", "return table.set_column", "if table.num_rows == 1 and 'label' not in table.column_names:\n            return table.slice(1)\n        return table.set_column", "it makes 0 rows of row 1 alone"),
    Break("same_rows_every_time", "transform", "column = pc.utf8_lower(table[\"text\"])", "column = pa.array([f'{one} {random.random()}' for one in table['text'].to_pylist()])", "other rows"),
    Break("needs_no_target", "transform", "column = pc", "table['label']\n        column = pc", "without the column 'label'"),
    Break("needs_no_target", "transform", "return table.set_column", "if 'label' not in table.column_names:\n            table = table.drop_columns(['number'])\n        return table.set_column", "drops the column number"),
    Break("answers_each_row_alone", "transform", "column = pc.utf8_lower(table[\"text\"])", "column = pa.array([f'{one} of {table.num_rows}' for one in table['text'].to_pylist()])", "alone has other values"),
]  # fmt: skip

CALLBACK = [
    Break("callback_methods_are_known", "callback", "on_cell_end", "on_cell_ends", "Did you mean 'on_cell_end'"),
    Break("survives_a_run", "callback", 'record.get("metrics")', 'record["metrics"]["label"]', "on_cell_end raises KeyError"),
]  # fmt: skip

BREAKS = [*CONFIG, *BUILD, *MODULE, *ENCODER, *FUSION, *HEAD, *GENERATOR, *SOURCE, *TRANSFORM, *CALLBACK]
