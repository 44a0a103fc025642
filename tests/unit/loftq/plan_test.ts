import assert from "node:assert/strict";
import {
  layerPosition,
  matchPattern,
  planLayers,
  type PlanOptions,
} from "../../../src/loftq/plan.ts";

const BASE: PlanOptions = { format: "nf4", rank: 16, alpha: 16 };

function llama(layers: number): string[] {
  return Array.from(
    { length: layers },
    (
      _,
      i,
    ) => [
      `model.layers.${i}.self_attn.q_proj`,
      `model.layers.${i}.mlp.up_proj`,
    ],
  ).flat();
}

function formats(modules: string[], options: Partial<PlanOptions>): string[] {
  return [...planLayers(modules, { ...BASE, ...options }).values()]
    .map((plan) => plan.format);
}

Deno.test("layerPosition() of the names that models use", () => {
  const cases: Record<string, [string, number] | undefined> = {
    "model.layers.12.self_attn.q_proj": ["model.layers", 12],
    "layers.3.q": ["layers", 3],
    "bert.encoder.layer.0.attention.self.query": ["bert.encoder.layer", 0],
    "encoder.layer.5.output.dense": ["encoder.layer", 5],
    "transformer.h.7.attn.c_attn": ["transformer.h", 7],
    "model.decoder.layers.1.fc1": ["model.decoder.layers", 1],
    "transformer.blocks.2.ffn.up_proj": ["transformer.blocks", 2],
    // The parts of a T5 block are numbered too; the block counts.
    "encoder.block.4.layer.1.DenseReluDense.wi": ["encoder.block", 4],
    "model.layers.9.block_sparse_moe.experts.3.w1": ["model.layers", 9],
    "lm_head": undefined,
    "pooler.dense": undefined,
    "model.players.3.x": undefined,
    "model.layers.3": undefined,
  };
  for (const [module, wanted] of Object.entries(cases)) {
    const found = layerPosition(module);
    assert.deepEqual(found && [found.stack, found.index], wanted, module);
  }
});

Deno.test("LoftQ's fractional bits: the first layers at 4 bits, the others at 2", () => {
  const count = (layers: number, bits: number) =>
    formats(llama(layers), { mixed: `bits=${bits}` })
      .filter((f) => f === "nf4").length / 2;
  // int(layers * (bits - 2) // 2) of LoftQ's utils.py.
  assert.equal(count(32, 3), 16);
  assert.equal(count(32, 2.5), 8);
  assert.equal(count(32, 2.25), 4);
  assert.equal(count(40, 2.25), 5);
  assert.equal(count(30, 2.2), 3);
  assert.equal(count(5, 2.5), 1);
  assert.equal(count(7, 2.5), 1);
  assert.equal(count(7, 4), 7);
  assert.equal(count(7, 2), 0);
  const kinds = formats(llama(32), { mixed: "bits=3" });
  assert.ok(kinds.slice(0, 32).every((f) => f === "nf4"));
  assert.ok(kinds.slice(32).every((f) => f === "nf2"));
});

Deno.test("fractional bits keep to the family of the format", () => {
  for (const family of ["int", "uniform", "clip"] as const) {
    const found = formats(llama(4), {
      format: `${family}4`,
      mixed: "bits=3",
    });
    assert.deepEqual(new Set(found), new Set([`${family}4`, `${family}2`]));
  }
});

Deno.test("first=K:FORMAT,rest=FORMAT", () => {
  const found = formats([...llama(3), "lm_head"], {
    format: "int4",
    mixed: "first=1:nf3, rest=nf2",
  });
  assert.deepEqual(found, ["nf3", "nf3", "nf2", "nf2", "nf2", "nf2", "int4"]);
  assert.deepEqual(
    formats(llama(2), { mixed: "rest=int3,first=0:nf4" }),
    Array(4).fill("int3"),
  );
});

Deno.test("each stack of an encoder-decoder has its own first layers", () => {
  const bart = ["encoder", "decoder"].flatMap((side) =>
    [0, 1, 2, 3].map((i) => `model.${side}.layers.${i}.fc1`)
  );
  const half = ["nf4", "nf4", "nf2", "nf2"];
  assert.deepEqual(formats(bart, { mixed: "bits=3" }), [...half, ...half]);
  const t5 = [0, 1].flatMap((block) =>
    [0, 1, 2].map((part) => `decoder.block.${block}.layer.${part}.q`)
  );
  assert.deepEqual(formats(t5, { mixed: "first=1:nf4,rest=nf2" }), [
    ...Array(3).fill("nf4"),
    ...Array(3).fill("nf2"),
  ]);
});

Deno.test("a mixed plan for each side counts the layers of that side", () => {
  const bart = [
    ...[0, 1].map((i) => `model.encoder.layers.${i}.fc1`),
    ...[0, 1, 2, 3].map((i) => `model.decoder.layers.${i}.fc1`),
  ];
  assert.deepEqual(
    formats(bart, {
      mixed: "encoder.first=1:nf4, encoder.rest=uniform2, decoder.bits=2.5",
    }),
    ["nf4", "uniform2", "nf4", "nf2", "nf2", "nf2"],
  );
  const cases: [string, RegExp][] = [
    ["encoder.bits=3", /nothing of the layers model\.decoder\.layers$/],
    ["encoder.bits=3,bits=2", /of all layers and of those of a side; wanted/],
    ["encoder.bits=3,encoder.bits=2", /says encoder\.bits twice; wanted/],
    ["encoder.bits=3,decoder.first=1:nf4", /it has first; wanted/],
  ];
  for (const [mixed, message] of cases) {
    assert.throws(() => formats(bart, { mixed }), {
      name: "RangeError",
      message,
    });
  }
  assert.throws(
    () => formats(bart.slice(0, 2), { mixed: "encoder.bits=3,decoder.bits=3" }),
    /the model has no decoder$/,
  );
  assert.throws(
    () => formats(llama(2), { mixed: "encoder.bits=3,decoder.bits=3" }),
    /nothing of the layers model\.layers$/,
  );
});

Deno.test("plans that cannot be read are refused with what is wanted", () => {
  for (
    const mixed of [
      "bits=5",
      "bits=1.9",
      "bits=x",
      "",
      "nf2",
      "first=4:nf4",
      "rest=nf2",
      "first=4,rest=nf2",
      "first=-1:nf4,rest=nf2",
      "first=4:nf4,rest=nf2,last=nf4",
    ]
  ) {
    assert.throws(() => planLayers(llama(2), { ...BASE, mixed }), {
      name: "RangeError",
      message: /^Cannot use the mixed plan .* wanted "first=K:FORMAT/,
    }, mixed);
  }
  assert.throws(
    () => planLayers(llama(2), { ...BASE, mixed: "first=1:fp4,rest=nf2" }),
    {
      name: "RangeError",
      message:
        /"first=1:fp4,rest=nf2": first has the format "fp4", wanted one of nf4/,
    },
  );
});

Deno.test("rank and alpha by PEFT's patterns, the first that matches", () => {
  const modules = [...llama(11), "model.q_projector", "q_proj"];
  const plans = planLayers(modules, {
    ...BASE,
    rankPattern: { "layers\\.1\\..*": 4, q_proj: 8, "self_attn.q_proj": 2 },
    alphaPattern: { "mlp.up_proj": 64 },
  });
  const rank = (module: string) => plans.get(module)!.rank;
  assert.equal(rank("model.layers.0.self_attn.q_proj"), 8);
  assert.equal(rank("model.layers.1.self_attn.q_proj"), 4);
  assert.equal(rank("model.layers.1.mlp.up_proj"), 4);
  assert.equal(rank("model.layers.10.mlp.up_proj"), 16);
  assert.equal(rank("q_proj"), 8);
  assert.equal(rank("model.q_projector"), 16);
  assert.equal(plans.get("model.layers.2.mlp.up_proj")!.alpha, 64);
  assert.equal(plans.get("q_proj")!.alpha, 16);
});

Deno.test("a rank or alpha for layers that are not there is refused, with the names there are", () => {
  for (
    const [options, what] of [
      [
        { rankPattern: { q_proj: 2, down_porj: 2 } },
        'rank pattern "down_porj"',
      ],
      // PEFT looks for it behind a dot or at the beginning: it is the path of a layer called q_proj, no end of one.
      [{ alphaPattern: { "^q_proj": 32 } }, 'alpha pattern "^q_proj"'],
    ] as const
  ) {
    assert.throws(() => planLayers(llama(2), { ...BASE, ...options }), {
      name: "RangeError",
      message:
        `Cannot use the ${what}: no layer matches; they are called q_proj, up_proj, and a pattern is a name or a regular expression of a whole end of their paths`,
    });
  }
});

Deno.test("matchPattern() matches whole ends of paths", () => {
  const on = (module: string, key: string) =>
    matchPattern(module, { [key]: true }, false);
  assert.ok(on("a.b.dense", "dense"));
  assert.ok(on("dense", "dense"));
  assert.ok(on("a.output.dense", "output.dense"));
  assert.ok(on("a.1.fc", "\\d.fc|none"));
  assert.ok(!on("a.undense", "dense"));
  assert.ok(!on("a.dense.b", "dense"));
  assert.ok(!on("a.1.fc1", "none|\\d.fc"));
  // Time linear in both, whatever the pattern.
  assert.ok(!on(`${"a".repeat(200)}c`, "(a|a)*b"));
  assert.throws(() => on("a", "("), {
    name: "RangeError",
    message:
      /^Cannot use pattern "\(": it is no regular expression that is read here: /,
  });
});

Deno.test("ranks and alphas out of range are refused by module", () => {
  for (
    const [options, part] of [
      [{ rank: 0 }, "rank must be a whole number >= 1, got 0"],
      [{ rankPattern: { q_proj: 1.5 } }, "rank must be a whole number >= 1"],
      [{ alpha: 0 }, "alpha must be > 0, got 0"],
      [{ alphaPattern: { q_proj: NaN } }, "alpha must be > 0, got NaN"],
    ] as const
  ) {
    assert.throws(() => planLayers(llama(1), { ...BASE, ...options }), {
      name: "RangeError",
      message: new RegExp(
        `^Cannot plan model.layers.0.self_attn.q_proj: ${part}`,
      ),
    });
  }
});
