import assert from "node:assert/strict";
import {
  clearBar,
  clock,
  Progress,
} from "../../../../src/cli/text/progress.ts";

/** Progress with a clock of its own; `at` moves it to a second. */
function tracked(options: { terminal: boolean; quiet?: boolean }) {
  let time = 0;
  const out: string[] = [];
  const progress = new Progress({
    ...options,
    now: () => time,
    write: (text) => out.push(text),
  });
  return {
    out,
    progress,
    at(second: number, done: number, text = "x"): void {
      time = second * 1000;
      progress.update(done, text);
    },
  };
}

Deno.test("clock() reads as people do", () => {
  assert.equal(clock(0), "0:00");
  assert.equal(clock(59.6), "1:00");
  assert.equal(clock(95), "1:35");
  assert.equal(clock(3700), "1:01:40");
  assert.equal(clock(-5), "0:00");
});

Deno.test("no terminal: a line every five seconds, and the last one", () => {
  const { out, at } = tracked({ terminal: false });
  at(0, 0, "first");
  at(1, 0.1);
  at(4.9, 0.49);
  at(5, 0.5, "half");
  at(9, 1, "end");
  assert.deepEqual(out, [
    "  0 %  0:00  first\n",
    " 50 %  0:05, 0:05 left  half\n",
    "100 %  0:09  end\n",
  ]);
});

Deno.test("a terminal: one line, redrawn, cleared at the end", () => {
  const { out, at, progress } = tracked({ terminal: true });
  at(0, 0, "long text at first");
  at(0.01, 0.2);
  at(1, 0.5, "short");
  assert.equal(out.length, 2);
  assert.ok(out.every((line) => line.startsWith("\r") && !line.includes("\n")));
  assert.match(out[1], /^\r━{12}─{12} {2}50 % {2}0:01, 0:01 left {2}short *$/);
  assert.ok(out[1].length >= out[0].length, "what was longer is wiped");
  progress.note("a note");
  assert.match(out[2], /^\r +\r$/);
  assert.equal(out[3], "a note\n");
  progress[Symbol.dispose]();
  assert.equal(out.length, 4);
});

Deno.test("the time left does not count what a resumed run found done", () => {
  const { out, at } = tracked({ terminal: false });
  at(0, 0.8);
  at(10, 0.9);
  assert.match(out[1], /^ 90 % {2}0:10, 0:10 left/);
});

Deno.test("quiet: nothing but warnings", () => {
  const { out, at, progress } = tracked({ terminal: true, quiet: true });
  at(0, 0);
  progress.note("x");
  progress.warn("broken");
  at(9, 1);
  progress[Symbol.dispose]();
  assert.deepEqual(out, ["broken\n"]);
});

Deno.test("a narrow terminal: the bar gives way to the text, which is whole", () => {
  for (const [columns, bar] of [[60, 10], [50, 0]] as const) {
    const out: string[] = [];
    let time = 0;
    const progress = new Progress({
      terminal: true,
      columns: () => columns,
      now: () => time,
      write: (text) => out.push(text),
    });
    progress.update(0, "begun");
    time = 1000;
    progress.update(0.5, "step 3 of 6  loss 3.5512");
    assert.match(out[1], /loss 3\.5512 *$/);
    assert.equal([...out[1]].filter((c) => "━─".includes(c)).length, bar);
    assert.ok(out[1].length <= columns, out[1]);
  }
});

Deno.test("clearBar() removes the bar that is shown", () => {
  const out: string[] = [];
  const progress = new Progress({
    terminal: true,
    write: (text) => out.push(text),
  });
  progress.update(0, "begun");
  clearBar();
  assert.match(out[1], /^\r +\r$/);
  progress[Symbol.dispose]();
  assert.equal(out.length, 2);
});
