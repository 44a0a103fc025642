import assert from "node:assert/strict";
import { judge } from "../../../src/eval/tasks/choice.ts";
import {
  type CommonsenseName,
  commonsenseQuestion,
  commonsenseTask,
} from "../../../src/eval/tasks/commonsense.ts";
import { loftqAnswer, strictAnswer } from "../../../src/eval/tasks/gsm8k.ts";
import { mmluQuestions, mmluTask } from "../../../src/eval/tasks/mmlu.ts";
import { MMLU_SUBJECTS } from "../../../src/eval/tasks/mmlu_subjects.ts";
import {
  perplexityTask,
  windowsOver,
} from "../../../src/eval/tasks/perplexity.ts";
import {
  macroMean,
  meanOf,
  proportionOf,
  ratioOf,
} from "../../../src/eval/tasks/statistics.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { readCsv } from "../../../src/data/records/csv.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";
import { toyCodec } from "../../unit/data/codec.ts";

type Pair = [context: number[], continuation: number[]];

interface Eval {
  gsm8k: { text: string; loftq: number | null; strict: string | null }[];
  mmlu: {
    contextLength: number;
    subjects: string[];
    files: Record<string, { plain: string; header: string }>;
    prompts: { prompt: string; shots: number; scores: number[] }[];
    accuracy: number;
    macro: number;
    groups: Record<string, Record<string, number>>;
    places: Record<string, [field: string, category: string]>;
  };
  commonsense: {
    name: CommonsenseName;
    record: Record<string, string>;
    gold: number;
    rows: Pair[];
    scores: number[];
    picks: [plain: number, byCharacter: number, byByte: number];
  }[];
  windows: {
    count: number;
    block: number;
    stride: number;
    windows: number[][];
  }[];
  statistics:
    & Record<"values" | "hits" | "sums" | "counts", number[]>
    & Record<"unevenSums" | "unevenCounts", number[]>
    & { parts: number[][] }
    & Record<
      | "mean"
      | "error"
      | "proportion"
      | "proportionError"
      | "macro"
      | "macroError"
      | "perplexity"
      | "perplexityError"
      | "ratio"
      | "jackknife",
      number
    >;
}

const data = golden<Eval>(import.meta, "eval.json");
const encoder = toyCodec();

Deno.test("GSM8K's answers by LoftQ's rule and the data's", () => {
  for (const { text, loftq, strict } of data.gsm8k) {
    assert.equal(loftqAnswer(text), loftq ?? undefined, JSON.stringify(text));
    assert.equal(strictAnswer(text), strict ?? undefined, JSON.stringify(text));
  }
});

/** The items of lists of these lengths, which stand one after the other, in rounds of one of each list. */
function inRounds<T>(items: readonly T[], lengths: readonly number[]): T[] {
  const begins = lengths.map((_, i) =>
    lengths.slice(0, i).reduce((a, b) => a + b, 0)
  );
  const rounds = Array.from({ length: Math.max(...lengths) }, (_, n) => n);
  return rounds.flatMap((n) =>
    lengths.flatMap((length, i) => n < length ? [items[begins[i] + n]] : [])
  );
}

for (const layout of ["plain", "header"] as const) {
  Deno.test(`MMLU's prompts, shots and averages, ${layout} CSV`, async () => {
    const { subjects, files, contextLength } = data.mmlu;
    const read = (name: string) =>
      mmluQuestions(
        readCsv(
          bytesSource(new TextEncoder().encode(files[name][layout]), name),
          { header: false },
        ),
      );
    const sets = await Promise.all(subjects.map(async (name) => ({
      name,
      dev: await read(`${name}_dev`),
      test: await read(`${name}_test`),
    })));
    const task = mmluTask(sets, { encoder, contextLength });
    // The harness goes subject by subject, the task in rounds of one question of each.
    const prompts = inRounds(data.mmlu.prompts, sets.map((s) => s.test.length));
    assert.equal(task.count, prompts.length);
    for (const [i, { prompt }] of prompts.entries()) {
      const { rows } = task.request(i);
      assert.equal(rows.length, 4);
      for (const [j, { context, continuation }] of rows.entries()) {
        assert.equal(encoder.decode(context.slice(1)), prompt);
        assert.equal(encoder.decode(continuation), ` ${"ABCD"[j]}`);
        assert.equal(context, rows[0].context);
      }
    }
    assert.equal(
      task.shortened,
      prompts.filter(({ shots }) => shots < 5).length,
    );
    const { metrics, groups, count } = task.score(
      prompts.map(({ scores }) => scores),
    );
    assert.equal(count, prompts.length);
    assertAllClose(
      [metrics.accuracy, metrics.macroAccuracy],
      [data.mmlu.accuracy, data.mmlu.macro],
      { rtol: 1e-12 },
    );
    for (const [group, wanted] of Object.entries(data.mmlu.groups)) {
      assert.deepEqual(
        Object.keys(groups![group]).sort(),
        Object.keys(wanted).sort(),
      );
      for (const [key, accuracy] of Object.entries(wanted)) {
        assertAllClose([groups![group][key].accuracy], [accuracy], {
          rtol: 1e-12,
        });
      }
    }
  });
}

Deno.test("MMLU's subjects, fields and categories", () => {
  assert.deepEqual(
    Array.from(MMLU_SUBJECTS, ([name, p]) => [name, p.field, p.category]),
    Object.entries(data.mmlu.places).map(([name, p]) => [name, ...p]),
  );
  assert.equal(MMLU_SUBJECTS.size, 57);
});

Deno.test("commonsense prompts, tokens and picks as lm-evaluation-harness has them", async () => {
  for (const [i, item] of data.commonsense.entries()) {
    const { name, gold, rows, scores, picks } = item;
    const record = { fields: item.record, file: `${name}.json`, row: i + 1 };
    const question = commonsenseQuestion(name, record);
    assert.equal(question.gold, gold, name);
    const task = await commonsenseTask(name, { records: [record], encoder });
    assert.deepEqual(
      task.request(0).rows.map(({ context, continuation }) => [
        [...context],
        [...continuation],
      ]),
      rows,
      name,
    );
    const hits = judge(question, scores);
    assert.deepEqual(
      [hits.plain, hits.byCharacter, hits.byByte],
      picks.map((pick) => pick === gold),
      `${name}: ${scores}`,
    );
    const { metrics } = task.score([scores]);
    assert.equal(metrics.accuracy, Number(picks[0] === gold));
    assert.equal(
      metrics.normalizedAccuracy,
      name === "winogrande" ? undefined : Number(picks[1] === gold),
    );
  }
});

Deno.test("windows with a stride as in transformers' guide to perplexity", () => {
  for (const { count, block, stride, windows } of data.windows) {
    assert.deepEqual(
      windowsOver(count, { block, stride }).map((
        w,
      ) => [w.start, w.from, w.end]),
      windows,
      `${count} tokens, ${block} by ${stride}`,
    );
  }
});

Deno.test("means, errors and perplexity", () => {
  const s = data.statistics;
  const close = (found: unknown[], wanted: number[], rtol = 1e-12) =>
    assertAllClose(found as number[], wanted, { rtol });
  const mean = meanOf(s.values);
  close([mean.value, mean.stdErr], [s.mean, s.error]);
  const hits = s.hits.filter((hit) => hit === 1).length;
  const share = proportionOf(hits, s.hits.length);
  close([share.value, share.stdErr], [s.proportion, s.proportionError]);
  const macro = macroMean(s.parts.map(meanOf));
  close([macro.value, macro.stdErr], [s.macro, s.macroError]);
  const even = ratioOf(s.sums, s.counts);
  close([even.value, even.stdErr], [s.mean, s.error]);
  const uneven = ratioOf(s.unevenSums, s.unevenCounts);
  close([uneven.value], [s.ratio]);
  close([uneven.stdErr], [s.jackknife], 1e-2);
  const task = perplexityTask(new Int32Array(40 * 512), { block: 512 });
  const { metrics, count } = task.score(s.sums.map((sum) => [-sum]));
  assert.equal(count, 40 * 511);
  close(
    [metrics.perplexity, metrics.perplexityStdErr],
    [s.perplexity, s.perplexityError],
  );
});
