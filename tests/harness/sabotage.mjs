// How the harness is tested: LITTORAL_SABOTAGE=answer|check|browser breaks one thing where it comes
// in from outside, so that all that judges it runs as it always does. `selftest.mjs` sets it.

const what = process.env.LITTORAL_SABOTAGE;

/** Makes the first answer of the browser differ from all others. */
export function answersOfBrowser(answers) {
  if (what !== 'answer' || answers.length === 0) return answers;
  const [first, ...rest] = answers;
  return [{ ...first, digest: `${first.digest}-sabotaged` }, ...rest];
}

let failed = false;

/** Makes the first check that passed fail. */
export function rowOfCheck(row) {
  if (what !== 'check' || failed || row.outcome !== 'passed') return row;
  failed = true;
  return { ...row, outcome: 'failed', reason: 'sabotaged by the test of the harness' };
}

/** Kills the browser once it has begun to work. */
export function afterSignOfLife(session) {
  if (what === 'browser') session.kill();
}
