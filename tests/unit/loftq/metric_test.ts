import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq } from "../../../src/api/loftq.ts";
import {
  channelWeights,
  type Metric,
  prepareMetric,
} from "../../../src/loftq/metric.ts";
import { quantize } from "../../../src/api/matrices.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

const device = await openDevice("wasm");
const COLS = 24;
const weight = normalMatrix(new Random(1), 32, COLS);
const spread = Float32Array.from({ length: COLS }, (_, j) => 2 ** (j % 7));

function diagonal(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length ** 2);
  values.forEach((x, i) => out[i * (values.length + 1)] = x);
  return out;
}

function run(metric: Metric, more = {}) {
  return loftq(weight, {
    format: "nf2",
    rank: 4,
    iterations: 1,
    svd: "exact",
    metric,
    device,
    name: "q_proj",
    ...more,
  });
}

Deno.test("equal moments are the identity, whatever their size", async () => {
  const plain = await run({ kind: "identity" });
  for (const size of [1, 1e-6, 1e6]) {
    const moments = new Float32Array(COLS).fill(size);
    for (
      const metric of [
        { kind: "diag", moments },
        { kind: "full", moments: diagonal(moments) },
      ] as const
    ) {
      const r = await run(metric);
      assertAllClose([r.error, r.outputError!], [plain.error, plain.error], {
        rtol: 1e-4,
      });
      assertAllClose([r.plainOutputError!], [plain.plainError], { rtol: 1e-4 });
    }
  }
});

Deno.test("a full metric with a diagonal is the diagonal one", async () => {
  const one = await run({ kind: "diag", moments: spread });
  const two = await run({ kind: "full", moments: diagonal(spread) });
  assertAllClose([two.outputError!, two.error], [one.outputError!, one.error], {
    rtol: 1e-4,
  });
});

Deno.test("iterating in a metric lowers its error and keeps the best", async () => {
  const metric = { kind: "diag", moments: spread } as const;
  const one = await run(metric, { format: "nf4" });
  const more = await run(metric, { format: "nf4", iterations: 6 });
  assert.ok(more.outputError! < one.outputError!);
  assert.equal(more.outputError, Math.min(...more.history));
});

Deno.test("mse scales weigh by the metric's moments", async () => {
  const moments = new Float32Array(COLS).fill(1e-3);
  moments[3] = 100;
  for (
    const metric of [
      { kind: "diag", moments },
      { kind: "full", moments: diagonal(moments) },
    ] as const
  ) {
    const r = await run(metric, { format: "int2", scale: "mse" });
    const wanted = await quantize(weight, {
      format: "int2",
      scale: "mse",
      weights: moments,
      device,
    });
    assert.deepEqual(r.backbone, wanted);
  }
  const plain = await quantize(weight, {
    format: "int2",
    scale: "mse",
    device,
  });
  const weighted = await run({ kind: "diag", moments }, {
    format: "int2",
    scale: "mse",
  });
  assert.notDeepEqual(weighted.backbone.scales, plain.scales);
});

Deno.test("moments of one sample serve, with the damping", async () => {
  const x = normalMatrix(new Random(2), 1, COLS).data;
  const moments = Float32Array.from(
    { length: COLS * COLS },
    (_, i) => x[Math.floor(i / COLS)] * x[i % COLS],
  );
  const r = await run({ kind: "full", moments });
  assert.ok(r.outputError! < 0.2 * r.plainOutputError!);
  assert.ok(r.a.data.every(Number.isFinite) && r.b.data.every(Number.isFinite));
  await assert.rejects(run({ kind: "full", moments, damping: 0 }), {
    name: "RangeError",
    message:
      "Cannot use the full metric for q_proj: its moments are not positive definite with damping 0",
  });
});

Deno.test("channelWeights() is the diagonal", () => {
  assert.equal(channelWeights({ kind: "identity" }, COLS), undefined);
  assert.deepEqual(
    channelWeights({ kind: "full", moments: diagonal(spread) }, COLS),
    spread,
  );
});

Deno.test("moments that cannot serve are refused by name", async () => {
  const with0 = spread.slice();
  with0[5] = 0;
  const negative = spread.slice();
  negative[1] = -1;
  const infinite = spread.slice();
  infinite[0] = Infinity;
  const skew = diagonal(spread);
  skew[1] = NaN;
  skew[COLS] = NaN;
  const indefinite = diagonal(spread);
  indefinite[1] = indefinite[COLS] = 100;
  const zero = new Float32Array(COLS);
  const cases: [Metric, string, string][] = [
    [
      { kind: "diag", moments: new Float32Array(5) },
      "TypeError",
      "wanted 24 moments for 24 inputs, got 5",
    ],
    [
      { kind: "full", moments: spread },
      "TypeError",
      "wanted 576 moments for 24 inputs, got 24",
    ],
    [{ kind: "diag", moments: negative }, "RangeError", "got -1"],
    [{ kind: "diag", moments: infinite }, "RangeError", "got Infinity"],
    [{ kind: "diag", moments: zero }, "RangeError", "every moment is 0"],
    [{ kind: "full", moments: skew }, "RangeError", "not positive definite"],
    [
      { kind: "full", moments: indefinite },
      "RangeError",
      "not positive definite",
    ],
    [
      { kind: "diag", moments: with0, damping: 0 },
      "RangeError",
      "the moment of input 5 is 0, which needs damping > 0",
    ],
    [
      { kind: "diag", moments: spread, damping: -1 },
      "RangeError",
      "damping must be >= 0, got -1",
    ],
  ];
  const before = device.memory.bytes;
  for (const [metric, name, part] of cases) {
    await assert.rejects(
      prepareMetric(device, metric, { cols: COLS, name: "q_proj" }),
      (error: Error) => {
        assert.equal(error.name, name);
        const start = `Cannot use the ${metric.kind} metric for q_proj: `;
        assert.ok(error.message.startsWith(start), error.message);
        assert.ok(error.message.includes(part), error.message);
        return true;
      },
    );
  }
  assert.equal(device.memory.bytes, before);
});
