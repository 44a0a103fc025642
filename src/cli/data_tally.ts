/**
 * Counts of `loqa data`.
 *
 * @module
 */

import { type DataRecord, placeOf } from "../data/records/record.ts";
import { IGNORED, lossCount } from "../data/example.ts";
import type { Overflow } from "../data/list.ts";
import type { LabelledExample } from "../data/tasks/sft.ts";

/** Limit of different reasons. */
const MOST_REASONS = 50;

/** Counts: the document of `--json`. */
export interface DataReport {
  /** Tokens of an example at the most. */
  readonly block: number;
  /** Records of the files, those that cannot be read included. */
  readonly records: number;
  /** Records that are refused: a training ends at the first. */
  readonly refused: number;
  /** Records that are too long to be used. */
  readonly unusable: number;
  /** Training examples. */
  readonly examples: number;
  /** Its tokens. */
  readonly tokens: number;
  /** Those of them that are learnt. */
  readonly learnt: number;
  /** Tokens of the examples as they are, long ones included. */
  readonly lengths?: {
    readonly shortest: number;
    readonly median: number;
    readonly mean: number;
    readonly longest: number;
  };
  /** Numbers of examples by their tokens. */
  readonly histogram: readonly {
    readonly from: number;
    readonly to: number;
    readonly count: number;
  }[];
  /** Examples of more tokens than {@linkcode block}. */
  readonly longer?: {
    readonly overflow: Overflow;
    readonly count: number;
    /** Those that are left out though they could be cut: nothing of the answer would be left. */
    readonly lost: number;
    readonly first: string;
  };
  /** Why records are refused, the most frequent reason first. */
  readonly reasons: readonly {
    readonly reason: string;
    readonly count: number;
    /** File and line of the first. */
    readonly first: string;
  }[];
  /** Refused for reasons beyond that limit. */
  readonly otherReasons?: { readonly count: number; readonly first: string };
  /** Further notes. */
  readonly notes: readonly string[];
}

/** Counts records and their examples. */
export class DataTally {
  /** Records so far. */
  records = 0;
  readonly #block: number;
  readonly #overflow: Overflow;
  readonly #lengths: number[] = [];
  readonly #reasons = new Map<
    string,
    { reason: string; count: number; first: string }
  >();
  #others?: { count: number; first: string };
  #refused = 0;
  #unusable = 0;
  #examples = 0;
  #tokens = 0;
  #learnt = 0;
  #longer = 0;
  #lost = 0;
  #firstLonger?: string;

  /** Begins with a training's treatment of long examples. */
  constructor({ block, overflow }: { block: number; overflow: Overflow }) {
    this.#block = block;
    this.#overflow = overflow;
  }

  /** Counts a record by its examples. */
  add(record: DataRecord, examples: readonly LabelledExample[]): void {
    this.records++;
    let used = 0;
    for (const { tokens, labels } of examples) {
      const { length } = tokens;
      this.#lengths.push(length);
      if (length > this.#block) {
        this.#longer++;
        this.#firstLonger ??= placeOf(record);
        if (this.#overflow !== "truncate") continue;
        if (lossCount(labels.subarray(0, this.#block)) === 0) {
          this.#lost++;
          continue;
        }
      }
      used++;
      const kept = labels.subarray(0, this.#block);
      this.#tokens += kept.length;
      for (const label of kept) if (label !== IGNORED) this.#learnt++;
    }
    this.#examples += used;
    if (used === 0) this.#unusable++;
  }

  /** Counts a record that cannot be used, by the error's message. */
  refuse(message: string): void {
    this.records++;
    this.#refused++;
    const [, first = "", reason = message] =
      /^Cannot (?:use|read) (".*?", (?:line|row) \d+): (.*)$/s.exec(message) ??
        [];
    // The parser's message differs for each line.
    const key = /^it is not JSON/.exec(reason)?.[0] ??
      reason.replace(/\d+/g, "N").slice(0, 200);
    const known = this.#reasons.get(key);
    if (known) known.count++;
    else if (this.#reasons.size < MOST_REASONS) {
      this.#reasons.set(key, { reason, count: 1, first });
    } else {
      this.#others ??= { count: 0, first };
      this.#others.count++;
    }
  }

  /** The counts. */
  report(notes: readonly string[]): DataReport {
    const lengths = Int32Array.from(this.#lengths).sort();
    const { length } = lengths;
    return {
      block: this.#block,
      records: this.records,
      refused: this.#refused,
      unusable: this.#unusable,
      examples: this.#examples,
      tokens: this.#tokens,
      learnt: this.#learnt,
      ...(length > 0 && {
        lengths: {
          shortest: lengths[0],
          median: (lengths[(length - 1) >> 1] + lengths[length >> 1]) / 2,
          mean: lengths.reduce((a, b) => a + b, 0) / length,
          longest: lengths[length - 1],
        },
      }),
      histogram: histogramOf(lengths),
      ...(this.#longer > 0 && {
        longer: {
          overflow: this.#overflow,
          count: this.#longer,
          lost: this.#lost,
          first: this.#firstLonger!,
        },
      }),
      reasons: [...this.#reasons.values()].sort((a, b) => b.count - a.count),
      ...(this.#others && { otherReasons: this.#others }),
      notes,
    };
  }
}

/** Rows of a histogram at the most. */
const ROWS = 12;

/** Sorted lengths in ranges of one width: a 1, a 2 or a 5 with zeros. */
function histogramOf(lengths: Int32Array): DataReport["histogram"] {
  if (lengths.length === 0) return [];
  const low = lengths[0];
  const high = lengths[lengths.length - 1];
  let width = 1;
  for (let i = 0; Math.floor(high / width) - Math.floor(low / width) >= ROWS;) {
    width = [1, 2, 5][++i % 3] * 10 ** Math.floor(i / 3);
  }
  const first = Math.floor(low / width);
  const counts = new Array(Math.floor(high / width) - first + 1).fill(0);
  for (const length of lengths) counts[Math.floor(length / width) - first]++;
  return counts.map((count, i) => ({
    from: (first + i) * width,
    to: (first + i + 1) * width - 1,
    count,
  }));
}
