import assert from "node:assert/strict";
import {
  dynamicMap,
  nestScales,
  unnestScales,
} from "../../../src/quant/double.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";

Deno.test("dynamicMap() has 256 ascending values around 0", () => {
  const map = dynamicMap();
  assert.equal(map.length, 256);
  assert.ok(map.every((x, i) => i === 0 || x > map[i - 1]));
  assert.deepEqual([map[0], map[127], map[255]], [-0.992968738079071, 0, 1]);
});

Deno.test("nestScales() loses about a per cent of a scale's spread", () => {
  const scales = new Random(5).normals(5000).map((x) => 0.05 + 0.01 * x);
  const nested = nestScales(scales);
  assert.equal(nested.codes.length, 5000);
  assert.equal(nested.absmax.length, 20);
  // Neighbours at the top of the map are 0.014 apart, and -1 is 0.007 outside of it.
  assertAllClose(unnestScales(nested), scales, {
    atol: (i) => nested.absmax[i >> 8] * 0.0072,
  });
});

Deno.test("nestScales() takes no scales, one, and equal ones", () => {
  assert.equal(unnestScales(nestScales(new Float32Array(0))).length, 0);
  for (const n of [1, 256, 257]) {
    const scales = new Float32Array(n).fill(0.125);
    assert.deepEqual(unnestScales(nestScales(scales)), scales);
  }
});
