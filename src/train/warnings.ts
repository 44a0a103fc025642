/**
 * Warnings about a training that gives no error.
 *
 * @module
 */

import type { StepReport } from "./step/trainer.ts";

/** Part of the loss of uniform guessing from which a model knows nothing. */
const GUESSING = 0.99;

/** Part of the loss of uniform guessing below which a model knows something. */
const KNOWING = 0.9;

/** Consecutive steps that learn nothing before a training is stopped; batches of which a ruined model knows nothing. */
export const PATIENCE = 5;

/** Factor of the highest loss of all steps above which a model is ruined. */
const BEYOND = 10;

/** Detects divergence: steps from which a training learns nothing any more. */
export class DivergenceWatch {
  readonly #guess: number;
  #best = Infinity;
  #highest = 0;
  #bad: { since: number; count: number; what: string } | undefined;

  /** @param vocabulary Size of the vocabulary; undefined for a model without generation. */
  constructor(vocabulary: number | undefined) {
    this.#guess = vocabulary === undefined ? Infinity : Math.log(vocabulary);
  }

  /** First step of the divergence; undefined while there is none. */
  get since(): number | undefined {
    return this.#bad?.since;
  }

  /** Fault since then, in an error's words, where that has lasted long enough to give up. */
  get failure(): string | undefined {
    return this.#bad && this.#bad.count >= PATIENCE
      ? `from step ${this.#bad.since} on ${this.#bad.what}`
      : undefined;
  }

  /** Takes the losses before a resumed training. */
  begin(losses: readonly number[]): void {
    for (const loss of losses) this.#note(loss);
  }

  /** Takes the reports of further steps. Returns warnings. */
  add(reports: readonly StepReport[]): string[] {
    const warnings: string[] = [];
    for (const report of reports) {
      const what = this.#wrong(report);
      if (what === undefined) this.#bad = undefined;
      else if (this.#bad) this.#bad.count++;
      else {
        this.#bad = { since: report.step, count: 1, what };
        warnings.push(
          `step ${report.step}: ${what}: the training may have diverged; a smaller --lr may help`,
        );
      }
      this.#note(report.loss);
    }
    return warnings;
  }

  /**
   * Fault of a model after its last update, in an error's words, by its mean losses on batches that it has just
   * learnt from; undefined if it may do for one of them.
   */
  ruin(losses: readonly number[]): string | undefined {
    const told = losses.map((loss) =>
      !Number.isFinite(loss)
        ? `the loss is ${loss}`
        : this.#knowsNothing(loss)
        ? `the loss, ${loss.toFixed(4)}, is that of guessing`
        : this.#highest > 0 && loss > BEYOND * this.#highest
        ? `the loss, ${
          loss.toPrecision(5)
        }, is more than ${BEYOND} times the highest before, ${
          this.#highest.toFixed(4)
        }`
        : undefined
    );
    return told.includes(undefined) ? undefined : told[0];
  }

  #note(loss: number): void {
    this.#best = Math.min(this.#best, loss);
    this.#highest = Math.max(this.#highest, loss);
  }

  #knowsNothing(loss: number): boolean {
    return loss >= GUESSING * this.#guess && this.#best < KNOWING * this.#guess;
  }

  #wrong({ loss, gradientNorm: norm }: StepReport): string | undefined {
    if (norm !== undefined && !Number.isFinite(norm)) {
      return "the gradient norm is not a number";
    }
    // Where all is learnt there is nothing left to learn.
    if (norm === 0 && loss > 0) return "the gradient norm is 0";
    return this.#knowsNothing(loss)
      ? `the loss, ${loss.toFixed(4)}, is that of guessing`
      : undefined;
  }
}

/** Counts steps whose gradients are nothing, or no numbers. */
export class GradientWatch {
  #steps = 0;
  #zero = 0;
  #bad: number | undefined;

  /** Takes the reports of further steps. */
  add(reports: readonly StepReport[]): void {
    for (const { step, gradientNorm: norm } of reports) {
      if (norm === undefined) continue;
      this.#steps++;
      if (norm === 0) this.#zero++;
      if (!Number.isFinite(norm)) this.#bad ??= step;
    }
  }

  /** Warnings about them. */
  get warnings(): string[] {
    return [
      ...this.#zero > 0
        ? [
          `the gradient norm was 0 in ${this.#zero} of ${this.#steps} steps: they changed nothing`,
        ]
        : [],
      ...this.#bad !== undefined
        ? [
          `the gradient norm was not a number from step ${this.#bad} on: a smaller --lr may help`,
        ]
        : [],
    ];
  }
}

/** Warnings about a loss over a vocabulary; none for one better than guessing. */
export function guessing(loss: number, vocabulary: number): string[] {
  if (loss < GUESSING * Math.log(vocabulary)) return [];
  return [
    `the loss, ${
      loss.toFixed(4)
    }, is that of guessing among ${vocabulary} tokens (${
      Math.log(vocabulary).toFixed(4)
    }): the model knows nothing of the data; a smaller --lr, or another --from, may help`,
  ];
}
