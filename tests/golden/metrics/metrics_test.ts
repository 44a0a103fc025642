import assert from "node:assert/strict";
import {
  normalizeAnswer,
  scoreAnswer,
} from "../../../src/eval/metrics/answers.ts";
import {
  accuracyOf,
  confusionOf,
  f1Of,
  matthewsOf,
} from "../../../src/eval/metrics/classes.ts";
import { openCorrelations } from "../../../src/eval/metrics/correlation.ts";
import { editDistance } from "../../../src/eval/metrics/edits.ts";
import { openRouge, type RougeScore } from "../../../src/eval/metrics/rouge.ts";
import { porterStem } from "../../../src/eval/metrics/stem.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";

interface Metrics {
  classes: {
    labels: number[];
    found: number[];
    classes: number;
    accuracy: number;
    matthews: number;
    matthewsError: number | null;
    f1: number | null;
    f1Error: number | null;
  }[];
  numbers: {
    x: number[];
    y: number[];
    pearson: number;
    pearsonError: number | null;
    spearman: number;
    spearmanError: number | null;
  }[];
  squad: {
    found: string;
    answers: string[];
    normalized: string;
    exact: number;
    f1: number;
  }[];
  stems: [word: string, stem: string][];
  summaries: {
    target: string;
    found: string;
    scores: Record<keyof RougeScore, [p: number, r: number, f: number]>[];
  }[];
  edits: [from: string, to: string, distance: number][];
}

const data = golden<Metrics>(import.meta, "metrics.json");

Deno.test("accuracy, F1 and Matthews correlation as scikit-learn has them", () => {
  for (const [i, item] of data.classes.entries()) {
    const confusion = confusionOf(item.labels, item.found, item.classes);
    const matthews = matthewsOf(confusion);
    const f1 = item.classes === 2 ? f1Of(confusion) : undefined;
    const error = (value: number | null) => value ?? NaN;
    assertAllClose(
      [
        accuracyOf(confusion).value,
        matthews.value,
        // An error of 0 is not told: it would say that nothing is in doubt.
        matthews.stdErr ?? 0,
        f1?.value ?? NaN,
        f1 ? f1.stdErr ?? 0 : NaN,
      ],
      [
        item.accuracy,
        item.matthews,
        item.matthewsError ?? 0,
        error(item.f1),
        item.f1 === null ? NaN : item.f1Error ?? 0,
      ],
      { rtol: 1e-9, atol: 1e-12, what: `case ${i}` },
    );
  }
});

Deno.test("Pearson and Spearman correlation as scipy has them", async () => {
  const { pearson, spearman } = await openCorrelations();
  for (const [i, item] of data.numbers.entries()) {
    const found = [pearson(item.x, item.y), spearman(item.x, item.y)];
    assertAllClose(
      found.map(({ value }) => value),
      [item.pearson, item.spearman],
      { rtol: 1e-9, atol: 1e-12, what: `case ${i}` },
    );
    // Shifted cases lose digits in the sums of all that each pair is taken from.
    assertAllClose(
      found.map(({ stdErr }) => stdErr ?? NaN),
      [item.pearsonError ?? NaN, item.spearmanError ?? NaN],
      { rtol: 1e-6, atol: 1e-9, what: `errors of case ${i}` },
    );
  }
});

Deno.test("answers by the rules of SQuAD's script", () => {
  for (const { found, answers, normalized, exact, f1 } of data.squad) {
    assert.equal(normalizeAnswer(found), normalized, JSON.stringify(found));
    const score = scoreAnswer(found, answers);
    assert.equal(score.exact, exact, JSON.stringify([found, answers]));
    assertAllClose([score.f1], [f1], { rtol: 1e-12 });
  }
});

Deno.test("stems as NLTK's stemmer makes them", () => {
  for (const [word, stem] of data.stems) {
    assert.equal(porterStem(word), stem, word);
  }
});

for (const [i, stemmer] of [false, true].entries()) {
  Deno.test(`ROUGE as rouge-score has it, ${stemmer ? "stems" : "words"}`, async () => {
    const score = await openRouge({ stemmer });
    for (const { target, found, scores } of data.summaries) {
      const names = Object.keys(scores[i]) as (keyof RougeScore)[];
      const made = score(found, target);
      assertAllClose(
        names.map((name) => made[name]),
        names.map((name) => scores[i][name][2]),
        { rtol: 1e-12, what: JSON.stringify([found, target]) },
      );
    }
  });
}

Deno.test("edit distances as NLTK has them", () => {
  for (const [from, to, distance] of data.edits) {
    assert.equal(editDistance([...from], [...to]), distance, `${from} ${to}`);
  }
});
