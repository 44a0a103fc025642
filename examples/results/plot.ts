/**
 * Curves as an SVG picture.
 *
 * @module
 */

/** The round number nearest below `most`: 1, 2 or 5 times a power of ten, or 25, 250 …, as steps are counted. */
function roundStep(most: number): number {
  const ten = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [5, 2.5, 2, 1].map((x) => x * ten)
    .find((x) => x <= most && Number.isInteger(x)) ?? 1;
}

/** A curve: a value a step. */
export interface Curve {
  readonly name: string;
  readonly values: readonly number[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 64;
const TOP = 36;
const BOTTOM = 40;
const RIGHT = 230;
const COLOURS = [
  "#1b6ca8",
  "#d1495b",
  "#2e8b57",
  "#e08e0b",
  "#6a4c93",
  "#3a9ea5",
  "#8c564b",
  "#7f7f7f",
];

/** Where lines are drawn on the logarithmic axis. */
const TICKS = [0.01, 0.1, 1, 10].flatMap((ten) =>
  [1, 1.5, 2, 3, 5, 7].map((x) => Number((x * ten).toPrecision(2)))
);

/**
 * Draws positive curves over their steps, each smoothed by a running mean over `smooth` of them, on a logarithmic axis that
 * `label` names.
 */
export function plot(
  curves: readonly Curve[],
  { title, label = "training loss", smooth = 1 }: {
    title: string;
    label?: string;
    smooth?: number;
  },
): string {
  const lines = curves.map(({ name, values }) => ({
    name,
    values: values.map((_, i) => {
      const part = values.slice(Math.max(0, i - smooth + 1), i + 1);
      return part.reduce((a, b) => a + b, 0) / part.length;
    }),
  }));
  const all = lines.flatMap(({ values }) => values).filter(Number.isFinite);
  const low = Math.min(...all) * 0.97;
  const high = Math.max(...all) * 1.03;
  const steps = Math.max(...lines.map(({ values }) => values.length));
  const x = (i: number) =>
    LEFT + (i / Math.max(1, steps - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (v: number) =>
    HEIGHT - BOTTOM -
    Math.log(v / low) / Math.log(high / low) * (HEIGHT - TOP - BOTTOM);
  const text = (
    at: readonly [number, number],
    content: string,
    anchor = "start",
  ) =>
    `<text x="${at[0].toFixed(1)}" y="${
      at[1].toFixed(1)
    }" text-anchor="${anchor}">${content}</text>`;
  const parts: string[] = [];
  for (const v of TICKS.filter((v) => v > low && v < high)) {
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(v).toFixed(1)}" y2="${
        y(v).toFixed(1)
      }" stroke="#ddd"/>`,
      text([LEFT - 6, y(v) + 4], `${v}`, "end"),
    );
  }
  const every = roundStep(steps / 4);
  for (let step = every; step <= steps; step += every) {
    const at = x(step - 1);
    parts.push(text([at, HEIGHT - BOTTOM + 16], `${step}`, "middle"));
  }
  const scale = `${label}, logarithmic scale${
    smooth > 1 ? `, mean of ${smooth} steps` : ""
  }`;
  const middle = (HEIGHT + TOP - BOTTOM) / 2;
  parts.push(
    text([(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8], "step", "middle"),
    `<text transform="translate(14 ${middle}) rotate(-90)" text-anchor="middle">${scale}</text>`,
  );
  lines.forEach(({ name, values }, n) => {
    const colour = COLOURS[n % COLOURS.length];
    const dash = n >= COLOURS.length ? ` stroke-dasharray="5 3"` : "";
    const points = values.flatMap((v, i) =>
      Number.isFinite(v) ? [`${x(i).toFixed(1)},${y(v).toFixed(1)}`] : []
    );
    const row = TOP + 8 + n * 18;
    parts.push(
      `<polyline fill="none" stroke="${colour}" stroke-width="1.6"${dash} points="${
        points.join(" ")
      }"/>`,
      `<line x1="${WIDTH - RIGHT + 14}" x2="${
        WIDTH - RIGHT + 38
      }" y1="${row}" y2="${row}" stroke="${colour}" stroke-width="2"${dash}/>`,
      text([WIDTH - RIGHT + 44, row + 4], name),
    );
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
<text x="${LEFT}" y="20" font-size="15">${title}</text>
${parts.join("\n")}
</svg>
`;
}
