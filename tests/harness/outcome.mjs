// How a run can end, other than well, and the exit status that each way has.

/** The project gave a wrong result. */
export const WRONG = 1;
/** The command line makes no sense. */
export const USAGE = 2;
/** Something that the run needs is not on this machine. */
export const MISSING = 3;

/** Ends the run with status 2; the message is one line. */
export class Usage extends Error {
  status = USAGE;
}

/** Ends the run with status 3; the message is one line and says what to install or do. */
export class Missing extends Error {
  status = MISSING;
}

/** An error's text, without the stack, on one line. */
export function oneLine(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .join('; ');
}
