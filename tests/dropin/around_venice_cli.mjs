// What the `venice` command finds around itself; loaded before it, for what it has no setting for.

// It waits 120 s for any answer, and then gives up without asking again.
const CALL_MS_MAX = 120_000;
const { JOB_PATIENCE_SECONDS } = process.env;
const { fetch, setTimeout } = globalThis;
if (JOB_PATIENCE_SECONDS !== undefined) {
  globalThis.setTimeout = (run, ms, ...given) =>
    setTimeout(run, ms === CALL_MS_MAX ? JOB_PATIENCE_SECONDS * 1000 : ms, ...given);
}

// After a broken connection it asks whether Venice itself can be reached, and where it cannot, it
// does not send again. A test asks nothing of Venice, and wants to see it send again.
globalThis.fetch = async (to, how) =>
  new URL(to).hostname === "api.venice.ai" ? new Response() : fetch(to, how);
