/**
 * What is wrong with a training that has come to its end without an error.
 *
 * @module
 */

import type { StepReport } from "./trainer.ts";

/** Share of the loss of guessing from which a model knows nothing. */
const GUESSING = 0.99;

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

  /** What there is to say of them. */
  get warnings(): string[] {
    return [
      ...this.#zero > 0
        ? [
          `the norm of the gradients was 0 in ${this.#zero} of ${this.#steps} steps: they changed nothing`,
        ]
        : [],
      ...this.#bad !== undefined
        ? [
          `the norm of the gradients was no number from step ${this.#bad} on: a smaller --lr may help`,
        ]
        : [],
    ];
  }
}

/** What there is to say of a loss over a vocabulary; nothing for one that is better than guessing. */
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
