import assert from "node:assert/strict";
import { Random } from "../../../src/tensor/random.ts";

Deno.test("Random repeats for a seed and a label, and differs for others", () => {
  const first = (...args: ConstructorParameters<typeof Random>) =>
    [...new Random(...args).normals(4)].join();
  assert.equal(first(1), first(1));
  assert.equal(first(1, "a"), first(1, "a"));
  const all = [
    first(1),
    first(2),
    first(-1),
    first(0.5),
    first(0),
    first(1, "a"),
    first(1, "b"),
  ];
  assert.equal(new Set(all).size, all.length);
});

Deno.test("Random.uniform() fills [0, 1) evenly", () => {
  const random = new Random(3);
  const bins = new Array(16).fill(0);
  for (let i = 0; i < 16000; i++) bins[Math.floor(random.uniform() * 16)]++;
  // Chi-square with 15 degrees of freedom: 44 is exceeded once in 10^4 seeds.
  const chi = bins.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
  assert.ok(chi < 44, `${chi}`);
});

Deno.test("Random.normal() has the moments of N(0, 1)", () => {
  const x = new Random(4).normals(100_000);
  const moment = (k: number) => x.reduce((sum, v) => sum + v ** k, 0) / 1e5;
  // Five standard errors of each.
  assert.ok(Math.abs(moment(1)) < 0.016);
  assert.ok(Math.abs(moment(2) - 1) < 0.023);
  assert.ok(Math.abs(moment(3)) < 0.062);
  assert.ok(Math.abs(moment(4) - 3) < 0.16);
});
