/**
 * Beam search as transformers' `generate` defines it: running and finished sequences, and the end of the search.
 *
 * Knows no model: it takes the log-probabilities of the next token and returns which sequence each row continues.
 *
 * @module
 */

/** Beam search settings; the names and meanings are those of transformers' generation config. */
export interface BeamOptions {
  /** Beam width (`num_beams`): sequences followed for each source. */
  readonly beams: number;
  /** Length penalty: exponent of the length by which a finished sequence's score is divided. */
  readonly lengthPenalty: number;
  /**
   * Early stopping: true stops at `beams` finished sequences; else when no better one is likely (false), or possible
   * (`never`).
   */
  readonly earlyStopping: boolean | "never";
  /** Maximum length of a sequence in tokens, the first one included. */
  readonly maxLength: number;
  /** EOS token ids: each ends a sequence. */
  readonly eos: readonly number[];
}

/** Score of a masked candidate: transformers' own. */
const NONE = -1e9;

interface Sequence {
  readonly tokens: readonly number[];
  readonly score: number;
}

interface Finished extends Sequence {
  readonly done: boolean;
}

/** A way to go on. */
interface Candidate extends Sequence {
  /** Row of the sequence that it continues. */
  readonly from: number;
  /** True if it ends the sequence. */
  readonly ends: boolean;
}

/** Sequences of one source. */
interface Item {
  running: (Sequence & { readonly from: number })[];
  finished: Finished[];
  /** True if a running sequence may still become better than a finished one. */
  open: boolean;
}

// Scores are f32 throughout, as transformers has them: which of two near ones is greater depends on it.
const { fround } = Math;

/** Divisor of a score, by the length penalty. */
function divisor(length: number, penalty: number): number {
  return fround(length ** penalty);
}

/** The search over the sequences of some sources together. */
export class BeamSearch {
  readonly #options: BeamOptions;
  readonly #items: Item[];
  #length = 1;
  #ended = false;

  /** Begins with one token, the same for all `count` sources. */
  constructor(start: number, count: number, options: BeamOptions) {
    this.#options = options;
    const { beams } = options;
    const tokens = [start];
    this.#items = Array.from({ length: count }, () => ({
      // Only the first beam counts at first, so that they become different.
      running: Array.from(
        { length: beams },
        (_, k) => ({ tokens, score: k === 0 ? 0 : NONE, from: k }),
      ),
      finished: Array.from(
        { length: beams },
        () => ({ tokens, score: NONE, done: false }),
      ),
      open: true,
    }));
  }

  /** True if the search is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The sequences that run, beams of the first source first. */
  get sequences(): (readonly number[])[] {
    return this.#items.flatMap(({ running }) => running.map((r) => r.tokens));
  }

  /**
   * One step: takes the log-probabilities of the next token of each running sequence.
   *
   * @returns For each running sequence, the row that it continues.
   */
  advance(rows: readonly Float32Array[]): number[] {
    const { beams, earlyStopping } = this.#options;
    const all = this.#items.map((item, i) =>
      this.#candidates(item, rows.slice(i * beams, (i + 1) * beams))
    );
    for (const [i, item] of this.#items.entries()) this.#update(item, all[i]);
    this.#length++;
    for (const item of this.#items) {
      item.open = item.open && this.#mayImprove(item);
    }
    const full = this.#items.every(({ finished }) =>
      finished.every(({ done }) => done)
    );
    this.#ended = !this.#items.some(({ open }) => open) ||
      full && earlyStopping === true ||
      all.every((candidates) => candidates.every(({ ends }) => ends));
    return this.#items.flatMap(({ running }, i) =>
      running.map(({ from }) => i * beams + from)
    );
  }

  /** The best sequence of each source, without its first token. */
  results(): number[][] {
    return this.#items.map(({ finished }) => finished[0].tokens.slice(1));
  }

  /** The best ways to go on, the best first: so many that some are left to go on if all beams end. */
  #candidates(
    { running }: Item,
    rows: readonly Float32Array[],
  ): Candidate[] {
    const { beams, eos, maxLength } = this.#options;
    const count = Math.max(2, 1 + eos.length) * beams;
    const best: { score: number; from: number; token: number }[] = [];
    for (const [from, row] of rows.entries()) {
      for (let token = 0; token < row.length; token++) {
        const score = fround(row[token] + running[from].score);
        if (best.length === count && !(score > best[count - 1].score)) continue;
        let at = best.length;
        while (at > 0 && best[at - 1].score < score) at--;
        best.splice(at, 0, { score, from, token });
        if (best.length > count) best.pop();
      }
    }
    return best.map(({ score, from, token }) => ({
      score,
      from,
      tokens: [...running[from].tokens, token],
      ends: eos.includes(token) || this.#length + 1 >= maxLength,
    }));
  }

  #update(item: Item, candidates: readonly Candidate[]): void {
    const { beams, lengthPenalty, earlyStopping } = this.#options;
    const goesOn = (c: Candidate) => fround(c.score + (c.ends ? NONE : 0));
    const full = item.finished.every(({ done }) => done) &&
      earlyStopping === true;
    const length = this.#length;
    const ended = candidates.map((c, i): Finished => {
      const done = c.ends && i < beams;
      let score = fround(c.score / divisor(length, lengthPenalty));
      for (const out of [full, !item.open, !done]) {
        if (out) score = fround(score + NONE);
      }
      return { tokens: c.tokens, score, done };
    });
    item.running = best(candidates, beams, goesOn)
      .map((c) => ({ tokens: c.tokens, score: goesOn(c), from: c.from }));
    item.finished = best(
      [...item.finished, ...ended],
      beams,
      ({ score }) => score,
    );
  }

  #mayImprove({ running, finished }: Item): boolean {
    const { earlyStopping, lengthPenalty, maxLength } = this.#options;
    const length = earlyStopping === "never" && lengthPenalty > 0
      ? maxLength - 1
      : this.#length - 1;
    const hope = fround(running[0].score / divisor(length, lengthPenalty));
    const worst = finished.reduce((a, f) => Math.min(a, f.score), Infinity);
    return finished.some(({ done }) => hope > (done ? worst : NONE));
  }
}

/** The `count` best, the best first; of equals the earlier one. */
function best<T>(
  all: readonly T[],
  count: number,
  score: (x: T) => number,
): T[] {
  return all.map((x) => ({ x, score: score(x) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ x }) => x);
}
