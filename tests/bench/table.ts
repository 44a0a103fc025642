/**
 * Rows of the benchmark: taking medians of interleaved runs, and printing them.
 *
 * @module
 */

/** One figure beside its peer and its limit. */
export interface Row {
  /** Name of the figure. */
  readonly figure: string;
  /** Unit of the values; seconds and MB are better when small, the others when large. */
  readonly unit: "GFLOP/s" | "GOP/s" | "GB/s" | "tokens/s" | "s" | "MB";
  /** Our median. */
  readonly ours: number;
  /** All our runs. */
  readonly runs: readonly number[];
  /** Name of the peer. */
  readonly peer?: string;
  /** The peer's median in the same run. */
  readonly theirs?: number;
  /** All the peer's runs. */
  readonly theirRuns?: readonly number[];
  /** Our speed over the peer's. */
  readonly ratio?: number;
  /** The physical limit, in the row's unit. */
  readonly limit?: number;
  /** Name of the limit. */
  readonly limitIs?: string;
  /** Part of the limit that is reached, 0 to 1. */
  readonly ofLimit?: number;
  /** Note on the figure. */
  readonly note?: string;
}

/** A measurement to be taken several times: its value in the row's unit. */
export type Take = () => Promise<number>;

/** Plan of a row. */
export interface RowPlan {
  readonly figure: string;
  readonly unit: Row["unit"];
  readonly ours: Take;
  readonly peer?: { readonly name: string; readonly take: Take };
  readonly limit?: { readonly is: string; readonly value: number };
  /** Runs that do not count, before those that do. */
  readonly warmUps?: number;
  readonly rounds: number;
  readonly note?: () => string;
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[half]
    : (sorted[half - 1] + sorted[half]) / 2;
}

/** Takes a row: ours and the peer's turn about, so that what disturbs one disturbs both. */
export async function takeRow(plan: RowPlan): Promise<Row> {
  const { figure, unit, peer, limit, rounds, warmUps = 1 } = plan;
  for (let i = 0; i < warmUps; i++) {
    await plan.ours();
    await peer?.take();
  }
  const runs: number[] = [];
  const theirRuns: number[] = [];
  for (let i = 0; i < rounds; i++) {
    runs.push(await plan.ours());
    if (peer) theirRuns.push(await peer.take());
  }
  const ours = median(runs);
  const faster = (a: number, b: number) =>
    unit === "s" || unit === "MB" ? b / a : a / b;
  const theirs = peer && median(theirRuns);
  return {
    figure,
    unit,
    ours,
    runs,
    ...(theirs !== undefined && {
      peer: peer!.name,
      theirs,
      theirRuns,
      ratio: faster(ours, theirs),
    }),
    ...(limit && {
      limit: limit.value,
      limitIs: limit.is,
      ofLimit: faster(ours, limit.value),
    }),
    ...(plan.note && { note: plan.note() }),
  };
}

function digits(value: number | undefined): string {
  if (value === undefined) return "-";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** The rows as aligned text. */
export function formatTable(rows: readonly Row[]): string {
  const head = ["figure", "ours", "peer", "ratio", "limit", "of limit"];
  const cells = rows.map((row) => [
    row.figure,
    `${digits(row.ours)} ${row.unit}`,
    row.theirs === undefined ? "-" : `${digits(row.theirs)} (${row.peer})`,
    row.ratio === undefined ? "-" : `${digits(row.ratio)}x`,
    row.limit === undefined ? "-" : `${digits(row.limit)} (${row.limitIs})`,
    row.ofLimit === undefined ? "-" : `${(100 * row.ofLimit).toFixed(0)} %`,
    row.note ?? "",
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...cells.map((line) => line[i].length))
  );
  const line = (texts: readonly string[]) =>
    texts.map((text, i) => text.padEnd(widths[i] ?? 0)).join("  ").trimEnd();
  return [
    line(head),
    widths.map((w) => "-".repeat(w)).join("  "),
    ...cells.map(line),
  ].join("\n");
}
