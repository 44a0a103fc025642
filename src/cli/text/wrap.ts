/**
 * Text in the width of a terminal.
 *
 * @module
 */

/** Columns that a help text keeps for the names of options at the least of the width, before explanations go below. */
const LEFT_SHARE = 0.5;

/** Columns of the terminal behind `stream`; undefined where a person does not look on. */
export function terminalWidth(
  stream: { isTerminal(): boolean },
): number | undefined {
  try {
    return stream.isTerminal() ? Deno.consoleSize().columns : undefined;
  } catch {
    return undefined;
  }
}

/** One line cut at spaces; lines after the first begin with `indent` more spaces, and lines end with `end` but for the last. */
function cut(
  line: string,
  { width, indent, end = "" }: { width: number; indent: number; end?: string },
): string[] {
  const lines: string[] = [];
  let rest = line;
  const room = Math.max(10, width - end.length);
  while (rest.length > room) {
    const from = lines.length > 0 ? indent : /^ */.exec(rest)![0].length;
    let at = rest.lastIndexOf(" ", room);
    // A word that is wider than the line stands as it is.
    if (at <= from) at = rest.indexOf(" ", from + 1);
    if (at < 0) break;
    lines.push(rest.slice(0, at).trimEnd() + end);
    rest = " ".repeat(indent) + rest.slice(at + 1).trimStart();
  }
  lines.push(rest);
  return lines;
}

/** `text` in lines of at most `width` characters: each line for itself, cut at spaces, goes on two columns further in. */
export function fitted(text: string, width: number | undefined): string {
  if (width === undefined) return text;
  return text.split("\n").flatMap((line) =>
    line.length <= width
      ? [line]
      : cut(line, { width, indent: /^ */.exec(line)![0].length + 2 })
  ).join("\n");
}

/** Lines of one kind that follow each other: the text of a paragraph, or a line that stands for itself. */
function paragraphs(text: string): string[] {
  const out: string[] = [];
  let open = false;
  for (const line of text.split("\n")) {
    const prose = /^\S/.test(line);
    if (prose && open) out.push(`${out.pop()} ${line}`);
    else out.push(line);
    open = prose;
  }
  return out;
}

/**
 * `text` in lines of at most `width` characters, cut at spaces. Lines that begin with a letter are a paragraph and flow
 * together; others stand for themselves: a name and its explanation keep their columns where there is room, commands go
 * on behind a backslash. Without a width, or where all fits, the text is as it was.
 */
export function wrapped(text: string, width: number | undefined): string {
  if (width === undefined) return text;
  if (text.split("\n").every((line) => line.length <= width)) return text;
  return paragraphs(text).flatMap((line) => {
    if (line.length <= width) return [line];
    if (/^ {2}loqa /.test(line)) {
      return cut(line, { width, indent: 4, end: " \\" });
    }
    const columns = /^( *(?:-\w, )?\S+(?: \S+)* {2,})(\S.*)$/.exec(line);
    if (!columns) return cut(line, { width, indent: 0 });
    const [, left, right] = columns;
    if (left.length <= width * LEFT_SHARE) {
      return cut(line, { width, indent: left.length });
    }
    const below = `${" ".repeat(8)}${right}`;
    return [left.trimEnd(), ...cut(below, { width, indent: 8 })];
  }).join("\n");
}
