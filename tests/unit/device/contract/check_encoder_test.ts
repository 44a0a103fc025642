import {
  type Activation,
  checkActivate,
  checkActivateBackward,
} from "../../../../src/device/contract/activation.ts";
import {
  checkLayerNorm,
  checkLayerNormBackward,
} from "../../../../src/device/contract/norm.ts";
import {
  checkMaskedSoftmax,
  checkMaskedSoftmaxBackward,
  checkRelativeScores,
  checkRelativeScoresBackward,
} from "../../../../src/device/contract/attention.ts";
import { m, refuses, words } from "../../../helpers/checks.ts";

Deno.test("encoder checks: layer norms", () => {
  const x = m(3, 4);
  const statistics = { mean: words(3), inverse: words(3) };
  const norm = { x, weight: words(4), bias: words(4), epsilon: 0, out: x };
  refuses(checkLayerNorm, { ...norm, ...statistics }, [
    [{ out: m(3, 5) }, "TypeError", /^Cannot run layerNorm: out must be 3 x 4/],
    [{ weight: words(3) }, "TypeError", /layerNorm: weight/],
    [{ bias: words(3) }, "TypeError", /bias must hold 16 bytes, got 12/],
    [{ mean: words(2) }, "TypeError", /layerNorm: mean/],
    [{ inverse: words(2) }, "TypeError", /layerNorm: inverse/],
    [{ epsilon: -1 }, "RangeError", /epsilon must be >= 0, got -1/],
    [{ epsilon: NaN }, "RangeError", /epsilon/],
  ]);
  const vectors = { weight: words(4), dweight: words(4), dbias: words(4) };
  refuses(
    checkLayerNormBackward,
    { dy: x, x, dx: x, add: x, ...vectors, ...statistics },
    [
      [{ dy: m(2, 4) }, "TypeError", /layerNormBackward: dy/],
      [{ dx: m(2, 4) }, "TypeError", /layerNormBackward: dx/],
      [{ add: m(2, 4) }, "TypeError", /layerNormBackward: add/],
      [{ weight: words(3) }, "TypeError", /layerNormBackward: weight/],
      [{ mean: words(2) }, "TypeError", /layerNormBackward: mean/],
      [{ inverse: words(2) }, "TypeError", /layerNormBackward: inverse/],
      [{ dweight: words(3) }, "TypeError", /layerNormBackward: dweight/],
      [{ dbias: words(3) }, "TypeError", /layerNormBackward: dbias/],
    ],
  );
});

Deno.test("encoder checks: activations", () => {
  const x = m(3, 4);
  const kind = "gelu" as Activation;
  const unknown = "swish" as Activation;
  refuses(checkActivate, { x, out: x, kind }, [
    [{ out: m(4, 3) }, "TypeError", /activate: out/],
    [
      { kind: unknown },
      "RangeError",
      /kind must be one of gelu, gelu_tanh, relu, tanh, got swish/,
    ],
  ]);
  refuses(checkActivateBackward, { dy: x, x, dx: x, kind }, [
    [{ dy: m(4, 3) }, "TypeError", /activateBackward: dy/],
    [{ dx: m(4, 3) }, "TypeError", /activateBackward: dx/],
    [{ kind: unknown }, "RangeError", /activateBackward: kind .* got swish/],
  ]);
});

Deno.test("encoder checks: relative scores", () => {
  const shape = { time: 3, index: words(5), alpha: 1 };
  const changed = (change: Partial<typeof shape>) => ({
    shape: { ...shape, ...change },
  });
  const [scores, term] = [m(6, 3), m(6, 4)];
  refuses(checkRelativeScores, { scores, c2p: term, p2c: term, shape }, [
    [{ scores: m(6, 4) }, "TypeError", /relativeScores: scores must be 6 x 3/],
    [{ scores: m(5, 3) }, "TypeError", /a multiple of 3 rows, got 5/],
    [{ c2p: m(5, 4) }, "TypeError", /relativeScores: c2p must be 6 x 4/],
    [{ p2c: m(6, 5) }, "TypeError", /p2c must be 6 x 4, got 6 x 5/],
    [changed({ time: 0 }), "RangeError", /time .* >= 1, got 0/],
    [changed({ index: words(4) }), "TypeError", /index must hold 20 bytes/],
  ]);
  refuses(
    checkRelativeScoresBackward,
    { dscores: scores, dc2p: term, dp2c: term, shape },
    [
      [{ dscores: m(6, 2) }, "TypeError", /relativeScoresBackward: scores/],
      [{ dc2p: m(5, 4) }, "TypeError", /relativeScoresBackward: dc2p/],
      [{ dp2c: m(6, 5) }, "TypeError", /relativeScoresBackward: dp2c/],
      [changed({ index: words(4) }), "TypeError", /Backward: index/],
    ],
  );
});

Deno.test("encoder checks: softmax", () => {
  const x = m(6, 4);
  refuses(checkMaskedSoftmax, { x, out: x, rows: 3, bounds: words(4) }, [
    [{ out: m(6, 3) }, "TypeError", /maskedSoftmax: out/],
    [{ rows: 4 }, "TypeError", /x must have a multiple of 4 rows, got 6/],
    [{ rows: 0 }, "RangeError", /rows .* >= 1, got 0/],
    [{ rows: 1.5 }, "RangeError", /rows must be a whole number/],
    [{ bounds: words(3) }, "TypeError", /bounds must hold 16 bytes, got 12/],
  ]);
  refuses(checkMaskedSoftmaxBackward, { dy: x, y: x, dx: x }, [
    [{ dy: m(6, 3) }, "TypeError", /maskedSoftmaxBackward: dy/],
    [{ dx: m(5, 4) }, "TypeError", /maskedSoftmaxBackward: dx/],
  ]);
});
