/**
 * A verb of the command line: its arguments, its options, its page, and its work.
 *
 * @module
 */

import { type Args, askedFor, parse, type Taken } from "./args.ts";
import { optionHelp, type Options } from "./options.ts";

/** A verb: the export `verb` of its file. */
export interface Verb extends Taken {
  /** Paragraphs of its page, after the line that says how it is called. */
  readonly about: string;
  /** Command lines that show it. */
  readonly examples: readonly string[];
  /** Runs it on the arguments after its name and resolves to the exit code. */
  run(argv: readonly string[]): Promise<number>;
}

/** Facts of a verb, and its work on arguments that are parsed. */
interface Definition<O extends Options> extends Taken<O> {
  readonly about?: string;
  readonly examples: readonly string[];
  run(args: Args<O>): Promise<number>;
}

/** Makes a verb whose `run` is given what its table of options says. */
export function defineVerb<O extends Options>(
  definition: Definition<O>,
): Verb {
  return {
    about: "",
    ...definition,
    run: async (argv) => await definition.run(parse(argv, definition)),
  };
}

/** Call of a verb: its name, bare argument and the options that it needs. */
export function usage({ name, takes, options }: Taken): string {
  const needed = Object.entries(options).flatMap(([option, row]) =>
    row.needed ? [askedFor(option, row)] : []
  );
  return ["loqa", name, ...takes ? [takes] : [], ...needed].join(" ");
}

/** The page of `loqa VERB --help`. */
export function verbPage(verb: Verb, summary: string): string {
  const parts = [
    `${usage(verb)}: ${summary}`,
    verb.about.trim(),
    verb.examples.map((line) => `  ${line}`).join("\n"),
    `Options:\n${optionHelp(verb.options)}`,
  ];
  return parts.filter((part) => part !== "").join("\n\n") + "\n";
}
