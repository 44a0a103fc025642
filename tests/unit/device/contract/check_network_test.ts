import {
  checkAdamw,
  checkClipScale,
} from "../../../../src/device/contract/optimizer.ts";
import {
  checkAddRow,
  checkColumnSums,
  checkCombine,
  checkDropout,
  checkGatherRows,
  checkPoolColumns,
  checkScatterRows,
  checkSpreadColumns,
} from "../../../../src/device/contract/rows.ts";
import {
  checkAttention,
  checkAttentionBackward,
  checkRope,
} from "../../../../src/device/contract/attention.ts";
import { checkCrossEntropy } from "../../../../src/device/contract/loss.ts";
import {
  checkRmsNorm,
  checkRmsNormBackward,
} from "../../../../src/device/contract/norm.ts";
import {
  checkSwiglu,
  checkSwigluBackward,
} from "../../../../src/device/contract/activation.ts";
import { m, refuses, words } from "../../../helpers/checks.ts";

Deno.test("network checks: rows", () => {
  const x = m(3, 4);
  refuses(checkCombine, { x, y: x, out: x, beta: 2 }, [
    [{ out: m(3, 5) }, "TypeError", /^Cannot run combine: out must be 3 x 4/],
    [{ y: m(4, 3) }, "TypeError", /combine: y .* got 4 x 3/],
    [{ y: undefined }, "TypeError", /beta needs y/],
  ]);
  refuses(checkAddRow, { x, row: words(4), out: x }, [
    [{ out: m(2, 4) }, "TypeError", /addRow: out/],
    [{ row: words(3) }, "TypeError", /row must hold 16 bytes, got 12/],
  ]);
  refuses(checkColumnSums, { x, out: words(4) }, [
    [{ out: words(3) }, "TypeError", /columnSums: out/],
  ]);
  refuses(checkPoolColumns, { x, group: 3, out: m(3, 2) }, [
    [{ out: m(3, 1) }, "TypeError", /poolColumns: out must be 3 x 2/],
    [{ out: m(2, 2) }, "TypeError", /poolColumns: out/],
    [{ group: 0 }, "RangeError", /group must be a whole number >= 1, got 0/],
    [{ group: 1.5 }, "RangeError", /poolColumns: group/],
  ]);
  refuses(checkSpreadColumns, { x: m(3, 2), group: 3, out: x, add: x }, [
    [{ x: m(3, 1) }, "TypeError", /spreadColumns: x must be 3 x 2/],
    [{ add: m(3, 2) }, "TypeError", /spreadColumns: add must be 3 x 4/],
    [{ group: -1 }, "RangeError", /spreadColumns: group/],
  ]);
  refuses(checkGatherRows, { table: m(9, 4), ids: words(3), out: x }, [
    [{ table: m(9, 5) }, "TypeError", /gatherRows: out must be 3 x 5/],
    [{ ids: words(2) }, "TypeError", /gatherRows: ids/],
  ]);
  refuses(checkScatterRows, { table: m(9, 4), ids: words(3), x }, [
    [{ table: m(9, 5) }, "TypeError", /scatterRows: table must be 9 x 4/],
    [{ ids: words(2) }, "TypeError", /scatterRows: ids/],
  ]);
  refuses(checkDropout, { x, out: x, rate: 0.5, seed: 0 }, [
    [{ out: m(3, 5) }, "TypeError", /dropout: out/],
    [{ rate: 1 }, "RangeError", /rate .* got 1/],
    [{ rate: -0.1 }, "RangeError", /rate/],
    [{ rate: NaN }, "RangeError", /rate/],
    [{ seed: -1 }, "RangeError", /seed .* from 0 to 4294967295, got -1/],
    [{ seed: 2 ** 32 }, "RangeError", /seed/],
    [{ seed: 0.5 }, "RangeError", /seed/],
  ]);
});

Deno.test("network checks: norms, rotations and gates", () => {
  const x = m(3, 4);
  const norm = { x, weight: words(4), epsilon: 0, out: x, inverse: words(3) };
  refuses(checkRmsNorm, norm, [
    [{ out: m(3, 5) }, "TypeError", /rmsNorm: out/],
    [{ weight: words(3) }, "TypeError", /rmsNorm: weight/],
    [{ inverse: words(2) }, "TypeError", /rmsNorm: inverse/],
    [{ epsilon: -1 }, "RangeError", /epsilon/],
    [{ epsilon: NaN }, "RangeError", /epsilon/],
  ]);
  refuses(checkRmsNormBackward, {
    dy: x,
    x,
    weight: words(4),
    inverse: words(3),
    dx: x,
    add: x,
    dweight: words(4),
  }, [
    [{ dy: m(2, 4) }, "TypeError", /rmsNormBackward: dy/],
    [{ dx: m(2, 4) }, "TypeError", /rmsNormBackward: dx/],
    [{ add: m(2, 4) }, "TypeError", /rmsNormBackward: add/],
    [{ weight: words(3) }, "TypeError", /rmsNormBackward: weight/],
    [{ inverse: words(2) }, "TypeError", /rmsNormBackward: inverse/],
    [{ dweight: words(3) }, "TypeError", /rmsNormBackward: dweight/],
  ]);
  refuses(checkRope, {
    x: m(3, 8),
    out: m(3, 8),
    positions: words(3),
    cos: m(5, 2),
    sin: m(5, 2),
    headDim: 4,
  }, [
    [{ out: m(3, 4) }, "TypeError", /rope: out/],
    [{ positions: words(2) }, "TypeError", /rope: positions/],
    [{ headDim: 3 }, "TypeError", /headDim must be even/],
    [{ headDim: 6 }, "TypeError", /divide the 8 columns, got 6/],
    [{ headDim: 0 }, "TypeError", /headDim/],
    [{ cos: m(5, 4) }, "TypeError", /rope: cos/],
    [{ sin: m(4, 2) }, "TypeError", /rope: sin must be 5 x 2/],
  ]);
  refuses(checkSwiglu, { gate: x, up: x, out: x }, [
    [{ up: m(4, 3) }, "TypeError", /swiglu: up/],
    [{ out: m(4, 3) }, "TypeError", /swiglu: out/],
  ]);
  refuses(checkSwigluBackward, { dy: x, gate: x, up: x, dgate: x, dup: x }, [
    [{ dy: m(4, 3) }, "TypeError", /swigluBackward: dy/],
    [{ up: m(4, 3) }, "TypeError", /swigluBackward: up/],
    [{ dgate: m(4, 3) }, "TypeError", /swigluBackward: dgate/],
    [{ dup: m(4, 3) }, "TypeError", /swigluBackward: dup/],
  ]);
});

Deno.test("network checks: attention", () => {
  const shape = {
    batch: 2,
    time: 3,
    keys: 4,
    capacity: 5,
    heads: 4,
    kvHeads: 2,
    headDim: 6,
    scale: 1,
    causal: true,
    past: 1,
    window: 0,
    bounds: words(4),
  };
  const [q, k] = [m(6, 24), m(10, 12)];
  const good = { q, k, v: k, out: q, shape, logSumExp: words(24) };
  const changed = (change: Partial<typeof shape>) => ({
    shape: { ...shape, ...change },
  });
  refuses(checkAttention, good, [
    [{ q: m(5, 24) }, "TypeError", /attention: q must be 6 x 24/],
    [{ k: m(8, 12) }, "TypeError", /attention: k must be 10 x 12/],
    [{ v: m(10, 24) }, "TypeError", /attention: v/],
    [{ out: m(6, 12) }, "TypeError", /attention: out/],
    [{ logSumExp: words(23) }, "TypeError", /attention: logSumExp/],
    [changed({ bounds: words(3) }), "TypeError", /attention: bounds/],
    [changed({ kvHeads: 3 }), "TypeError", /kvHeads must divide the 4 heads/],
    [changed({ keys: 6 }), "TypeError", /at most the capacity 5, got 6/],
    [changed({ time: 1.5 }), "RangeError", /time must be a whole number/],
    [changed({ kvHeads: 0 }), "RangeError", /kvHeads .* >= 1, got 0/],
    [changed({ past: -1 }), "RangeError", /past/],
    [changed({ window: -1 }), "RangeError", /window/],
  ]);
  refuses(checkAttentionBackward, {
    ...good,
    shape: { ...shape, past: 0 },
    dy: q,
    dq: q,
    dk: k,
    dv: k,
  }, [
    [{ dy: m(5, 24) }, "TypeError", /attentionBackward: dy/],
    [{ dq: m(5, 24) }, "TypeError", /attentionBackward: dq/],
    [{ dk: m(5, 24) }, "TypeError", /attentionBackward: dk/],
    [{ dv: m(5, 24) }, "TypeError", /attentionBackward: dv/],
    [{ logSumExp: words(1) }, "TypeError", /attentionBackward: logSumExp/],
    [changed({ past: 1 }), "RangeError", /past must be 0, got 1/],
  ]);
});

Deno.test("network checks: the loss and the optimiser", () => {
  const x = m(3, 4);
  refuses(
    checkCrossEntropy,
    { logits: x, labels: words(3), losses: words(3) },
    [
      [{ labels: words(2) }, "TypeError", /crossEntropy: labels/],
      [{ losses: words(2) }, "TypeError", /crossEntropy: losses/],
    ],
  );
  refuses(
    checkClipScale,
    { squares: words(5), count: 5, most: 1, out: words(2) },
    [
      [{ count: 6 }, "TypeError", /clipScale: squares/],
      [{ count: 0.5 }, "RangeError", /clipScale: count/],
      [{ out: words(1) }, "TypeError", /clipScale: out/],
      [{ most: 0 }, "RangeError", /most must be above 0/],
    ],
  );
  const step = {
    learningRate: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    bias1: 1,
    bias2: 1,
  };
  refuses(
    checkAdamw,
    { param: x, grad: x, mean: x, square: x, scale: words(1), step },
    [
      [{ grad: m(4, 3) }, "TypeError", /adamw: grad/],
      [{ mean: m(4, 3) }, "TypeError", /adamw: mean/],
      [{ square: m(4, 3) }, "TypeError", /adamw: square/],
      [{ scale: words(0) }, "TypeError", /adamw: scale/],
    ],
  );
});
