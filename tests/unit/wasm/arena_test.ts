import assert from "node:assert/strict";
import { Random } from "../../../src/tensor/random.ts";
import { ALIGNMENT, Arena } from "../../../wasm/runtime/arena.ts";

Deno.test("arena: addresses are aligned and do not overlap", () => {
  const arena = new Arena(64, 64 + 1024);
  const a = arena.alloc(1)!;
  const b = arena.alloc(65)!;
  const c = arena.alloc(0)!;
  for (const address of [a, b, c]) assert.equal(address % ALIGNMENT, 0);
  assert.equal(b, a + 64);
  assert.equal(c, b + 128);
  assert.equal(arena.bytes, 256);
});

Deno.test("arena: neighbours join when freed, in any order", () => {
  for (const order of [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2]]) {
    const arena = new Arena(0, 192);
    const all = [arena.alloc(64)!, arena.alloc(64)!, arena.alloc(64)!];
    assert.equal(arena.alloc(1), undefined);
    for (const i of order) arena.free(all[i]);
    assert.equal(arena.alloc(192), 0);
  }
});

Deno.test("arena: a gap in the middle is used again", () => {
  const arena = new Arena(0, 320);
  arena.alloc(64);
  const gap = arena.alloc(128)!;
  arena.alloc(64);
  arena.free(gap);
  assert.equal(arena.alloc(100), gap);
  assert.equal(arena.alloc(64), 256);
});

Deno.test("arena: freeing twice, or what was never handed out, throws", () => {
  const arena = new Arena(0, 256);
  const a = arena.alloc(64)!;
  arena.free(a);
  assert.throws(() => arena.free(a), RangeError);
  assert.throws(() => arena.free(64), /Cannot free address 64/);
});

Deno.test("arena: growing joins the free end", () => {
  const arena = new Arena(0, 128);
  arena.alloc(64);
  assert.equal(arena.alloc(128), undefined);
  assert.equal(arena.wanted(128), 192);
  arena.grow(192);
  assert.equal(arena.alloc(128), 64);
  assert.equal(arena.wanted(1), 256);
});

Deno.test("arena: random use never overlaps and ends empty", () => {
  const random = new Random(7, "arena");
  const arena = new Arena(128, 128 + 64 * 200);
  const live: { start: number; end: number }[] = [];
  let failures = 0;
  for (let step = 0; step < 3000; step++) {
    if (random.uniform() < 0.55) {
      const bytes = Math.floor(random.uniform() ** 3 * 2000);
      const start = arena.alloc(bytes);
      if (start === undefined) {
        failures++;
        continue;
      }
      const end = start + Math.max(bytes, 1);
      assert.ok(start >= 128 && end <= arena.end);
      assert.ok(live.every((x) => end <= x.start || start >= x.end));
      live.push({ start, end });
    } else if (live.length > 0) {
      const [freed] = live.splice(
        Math.floor(random.uniform() * live.length),
        1,
      );
      arena.free(freed.start);
    }
  }
  assert.ok(failures > 0, "the arena was never full");
  for (const { start } of live) arena.free(start);
  assert.equal(arena.bytes, 0);
  assert.equal(arena.alloc(64 * 200), 128);
});
