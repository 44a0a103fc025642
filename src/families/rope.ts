/**
 * Rotary position embeddings, as a config scales them.
 *
 * @module
 */

/** RoPE scaling: how positions turn into angles. */
export type RopeScaling =
  | { readonly type: "default" }
  /** Positions divided by `factor` (position interpolation, 2306.15595). */
  | { readonly type: "linear"; readonly factor: number }
  /** Long wavelengths divided by `factor`, short ones kept, a ramp between (Llama 3.1). */
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalLength: number;
  };
