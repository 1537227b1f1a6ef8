"use strict";
/**
 * Named checks against a broker, run one after the other by a plain program.
 *
 * A check is an asynchronous function that takes a `Broker` and throws when something is wrong. Every check uses topics
 * of its own, so one that fails does not disturb the next, and the program reports all failures of one run.
 */

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");

const DEADLINE_MS = 30_000;

/** What a check is given: where the broker is, and names that nothing else uses. */
class Broker {
  constructor(bootstrap) {
    this.bootstrap = bootstrap;
  }

  fresh(purpose) {
    return `${purpose}-${randomUUID().slice(0, 13)}`;
  }
}

/** Asks `probe` until it gives something truthy, which is returned. */
async function eventually(what, probe, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const result = await probe();
    if (result) {
      return result;
    }
    assert(Date.now() < end, `not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function same(got, expected, what) {
  assert.deepStrictEqual(got, expected, `${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
}

/** The error that `call` fails with; it must be of this `type`, as the protocol names it. */
async function refused(type, call) {
  try {
    await call();
  } catch (error) {
    const cause = error.errors?.[0] ?? error;
    same(cause.type ?? cause.message, type, "the refusal");
    return;
  }
  assert.fail(`expected ${type}, and nothing was thrown`);
}

/** Runs the checks named on the command line, or all; exits with 1 if any failed. `client` is its name and version. */
async function run(checks, client) {
  const [bootstrap, ...wanted] = process.argv.slice(2);
  assert(bootstrap, "usage: PROGRAM BOOTSTRAP [CHECK]...");
  console.log(`client ${client}`);
  const broker = new Broker(bootstrap);
  const failed = [];
  for (const check of checks) {
    if (wanted.length && !wanted.includes(check.name)) {
      continue;
    }
    const start = Date.now();
    let verdict = "ok      ";
    try {
      await check(broker);
    } catch (error) {
      verdict = "FAILED  ";
      failed.push(check.name);
      console.log(error);
    }
    console.log(`${verdict}${check.name} (${((Date.now() - start) / 1000).toFixed(2)} s)`);
  }
  if (failed.length) {
    console.log(`${failed.length} failed: ${failed.join(", ")}`);
  }
  // Not left to the event loop: what a client forgot to close must not keep the program.
  process.exit(failed.length ? 1 : 0);
}

module.exports = { DEADLINE_MS, eventually, refused, run, same };
