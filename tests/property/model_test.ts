import assert from "node:assert/strict";
import { KeyValueCache, type Llama } from "../../src/models/decoder/model.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
} from "../../src/nn/adapter.ts";
import type { Random } from "../../src/tensor/random.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { forSeeds, integer, pick } from "../helpers/inputs.ts";
import {
  allParameters,
  assertNear,
  gradientsOf,
  logitsOf,
  paddedBatch,
  smallConfig,
  smallModel,
  smallWeights,
  someFactors,
  someRows,
  trainedAdapter,
} from "../helpers/llama.ts";
import { networkTest } from "../helpers/network.ts";

/** Both ways compute in f32, in another order. */
const NEAR = { atol: 2e-5 };

const CPU = { gpu: false };

const FAMILIES = [
  {},
  { model_type: "mistral", sliding_window: 3 },
  {
    model_type: "qwen2",
    tie_word_embeddings: true,
    use_sliding_window: true,
    sliding_window: 2,
    max_window_layers: 1,
  },
  { model_type: "qwen3", head_dim: 6, attention_bias: true },
  { model_type: "smollm3", no_rope_layer_interval: 2 },
];

/** Sequences of different lengths, the first of them the longest. */
function unevenRows(random: Random, count: number): number[][] {
  const [longest] = someRows(random, { count: 1, time: integer(random, 4, 9) });
  return [
    longest,
    ...Array.from(
      { length: count - 1 },
      () =>
        someRows(random, {
          count: 1,
          time: integer(random, 1, longest.length),
        })[0],
    ),
  ];
}

networkTest(
  (device) => `a cache, filled in pieces: the full pass on ${device}`,
  async (device) => {
    await forSeeds(9, async (random) => {
      using model = await smallModel(device, pick(random, FAMILIES));
      const words = model.config.vocabSize;
      const rows = unevenRows(random, integer(random, 1, 3));
      const { ids, batch, time, bounds } = paddedBatch(rows, "left");
      const whole = await logitsOf(model, { ids, batch, time, bounds });
      const capacity = time + integer(random, 0, 3);
      using cache = new KeyValueCache(device, model.config, {
        batch,
        capacity,
      });
      for (let from = 0; from < time;) {
        const to = from + integer(random, 1, time - from);
        const piece = await logitsOf(model, {
          ids: rows.flatMap((_, b) =>
            Array.from(ids).slice(b * time + from, b * time + to)
          ),
          batch,
          time: to - from,
          bounds,
        }, { cache });
        for (const [b, [first]] of bounds.entries()) {
          for (let t = Math.max(from, first); t < to; t++) {
            const at = b * (to - from) + t - from;
            assertAllClose(
              piece.subarray(at * words, (at + 1) * words),
              whole.subarray(
                (b * time + t) * words,
                (b * time + t + 1) * words,
              ),
              { ...NEAR, what: `sequence ${b}, token ${t}` },
            );
          }
        }
        from = to;
        assert.equal(cache.length, from);
      }
    });
  },
  CPU,
);

networkTest(
  (device) =>
    `a sequence among others, padded on either side: as alone, on ${device}`,
  async (device) => {
    await forSeeds(6, async (random) => {
      using model = await smallModel(device, pick(random, FAMILIES));
      const words = model.config.vocabSize;
      const rows = unevenRows(random, 3);
      for (const side of ["left", "right"] as const) {
        const batch = paddedBatch(rows, side);
        const together = await logitsOf(model, batch);
        for (const [b, ids] of rows.entries()) {
          const [from, to] = batch.bounds[b];
          const alone = await logitsOf(model, {
            ids,
            batch: 1,
            time: ids.length,
          });
          assertAllClose(
            together.subarray(
              (b * batch.time + from) * words,
              (b * batch.time + to) * words,
            ),
            alone,
            { ...NEAR, what: `${side}, sequence ${b}` },
          );
        }
      }
    });
  },
  CPU,
);

networkTest(
  (device) =>
    `blocks computed again going backwards: the same gradients on ${device}`,
  async (device) => {
    await forSeeds(4, async (random) => {
      const changes = pick(random, FAMILIES);
      const batches = [paddedBatch(unevenRows(random, 3), "right")];
      const compare = async (
        model: Llama,
        parameters: Parameters<typeof gradientsOf>[1],
      ) => {
        const [plain, again] = [
          await gradientsOf(model, parameters, { batches }),
          await gradientsOf(model, parameters, {
            batches,
            checkpointing: true,
          }),
        ];
        assertAllClose([again.loss], [plain.loss], { rtol: 1e-6 });
        for (const [name, gradient] of plain.gradients) {
          assertNear(again.gradients.get(name)!, gradient, {
            tolerance: 1e-5,
            what: name,
          });
        }
      };
      {
        using trained = allParameters(device, smallConfig(changes));
        using model = await smallModel(device, changes, { trained });
        await compare(model, trained);
      }
      using model = await smallModel(device, changes);
      using adapter = trainedAdapter(model, someFactors(model));
      await compare(model, adapter.parameters);
    });
  },
  CPU,
);

networkTest(
  (device) =>
    `batches of a step one by one: the gradients of all at once, on ${device}`,
  async (device) => {
    await forSeeds(4, async (random) => {
      const changes = pick(random, FAMILIES);
      using trained = allParameters(device, smallConfig(changes));
      using model = await smallModel(device, changes, { trained });
      const rows = someRows(random, { count: 5, time: 6 });
      // Of these tokens a share is learnt, another one in each batch.
      const labelled = (of: number[][]) => {
        const batch = paddedBatch(of, "right");
        return {
          ...batch,
          labels: of.flatMap((row) =>
            row.map((id, t) => (id + t) % 3 === 0 ? -100 : id)
          ),
        };
      };
      const all = await gradientsOf(model, trained, {
        batches: [labelled(rows)],
      });
      const parts = await gradientsOf(model, trained, {
        batches: [labelled(rows.slice(0, 1)), labelled(rows.slice(1))],
      });
      assertAllClose([parts.loss], [all.loss], { rtol: 1e-6 });
      for (const [name, gradient] of all.gradients) {
        assertNear(parts.gradients.get(name)!, gradient, {
          tolerance: 1e-5,
          what: name,
        });
      }
    });
  },
  CPU,
);

/** A model's weights with `scaling * B * A` of adapters added. */
function merged(
  config: Record<string, unknown>,
  adapters: readonly (readonly AdapterModuleFactors[])[],
) {
  const tensors = smallWeights(config);
  for (const { module, rank, scaling, a, b } of adapters.flat()) {
    const { shape, values } = tensors[`${module}.weight`];
    const [rows, cols] = shape;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < cols; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += b[i * rank + k] * a[k * cols + j];
        values![i * cols + j] += scaling * sum;
      }
    }
  }
  return tensors;
}

networkTest(
  (device) => `adapters enabled by name: their products add up, on ${device}`,
  async (device) => {
    await forSeeds(3, async (random) => {
      const changes = pick(random, FAMILIES);
      using model = await smallModel(device, changes);
      const first = someFactors(model, { rank: 2, seed: 1 });
      // The second one knows half of the layers only.
      const second = someFactors(model, { rank: 3, scaling: 0.5, seed: 2 })
        .filter((_, i) => i % 2 === 0);
      const { linears } = model;
      using _a = attachAdapter(device, linears, {
        name: "a",
        factors: first,
      });
      using _b = attachAdapter(device, linears, {
        name: "b",
        factors: second,
      });
      const [row] = someRows(random, { count: 1, time: 7 });
      const batch = { ids: row, batch: 1, time: 7 };
      for (
        const [names, adapters] of [
          [[], []],
          [["a"], [first]],
          [["b"], [second]],
          [["b", "a"], [first, second]],
        ] as const
      ) {
        for (const layer of linears.values()) layer.enable(names);
        using plain = await smallModel(device, changes, {
          tensors: merged(smallConfig(changes), adapters),
        });
        assertAllClose(
          await logitsOf(model, batch),
          await logitsOf(plain, batch),
          { atol: 5e-5, what: names.join() },
        );
      }
    });
  },
  CPU,
);

networkTest(
  (device) =>
    `dropout: its seed decides it, and gradients are slopes of its loss, on ${device}`,
  async (device) => {
    await forSeeds(3, async (random) => {
      using model = await smallModel(device, pick(random, FAMILIES));
      const factors = someFactors(model);
      using adapter = trainedAdapter(model, factors, { dropout: 0.3 });
      const { parameters } = adapter;
      const batches = [paddedBatch(unevenRows(random, 2), "right")];
      for (const checkpointing of [false, true]) {
        const options = { batches, checkpointing, seed: 5 };
        const one = await gradientsOf(model, parameters, options);
        const two = await gradientsOf(model, parameters, options);
        assert.deepEqual(two, one);
        const other = await gradientsOf(model, parameters, {
          ...options,
          seed: 6,
        });
        assert.notEqual(other.loss, one.loss);

        const direction = new Map(
          [...parameters.parameters.keys()].map((name) => [
            name,
            random.normals(one.gradients.get(name)!.length),
          ]),
        );
        let wanted = 0;
        let size = 0;
        for (const [name, along] of direction) {
          const gradient = one.gradients.get(name)!;
          along.forEach((x, i) => {
            wanted += x * gradient[i];
            size += gradient[i] ** 2;
          });
        }
        const lossAt = async (step: number) => {
          for (const { module, a, b } of factors) {
            for (const [factor, start] of [["A", a], ["B", b]] as const) {
              const along = direction.get(`${module}.lora_${factor}`)!;
              parameters.set(
                `${module}.lora_${factor}`,
                start.map((x, i) => x + step * along[i]),
              );
            }
          }
          return (await gradientsOf(model, parameters, options)).loss;
        };
        const slope = async (step: number) =>
          (await lossAt(step) - await lossAt(-step)) / (2 * step);
        const found = (4 * await slope(0.005) - await slope(0.01)) / 3;
        await lossAt(0);
        assert.ok(
          Math.abs(found - wanted) <= 2e-3 * Math.sqrt(size),
          `checkpointing ${checkpointing}: ${found} by differences, ${wanted} by the gradient, of length ${
            Math.sqrt(size)
          }`,
        );
      }
    });
  },
  CPU,
);
