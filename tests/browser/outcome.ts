/**
 * The page's report to the test.
 *
 * @module
 */

/** Outcome of the page. */
export interface Outcome {
  /** Vendor and architecture, or null where the browser has no adapter. */
  readonly adapter: string | null;
  /** The conformance table on each device that was opened. */
  readonly tables: { device: string; rows: number; failures: string[] }[];
  /** Another error. */
  readonly error?: string;
}
