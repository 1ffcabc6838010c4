// One job with venice-video-harness. It sends `audio` with every order, so models that refuse the
// field refuse it: there, and where a test wants to act before the first poll, the order goes out by
// its client alone and the job is taken up by its own way of re-attaching to interrupted work.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isPausing, pause } from "./pausing.mjs";

const { VENICE_URL, VENICE_API_KEY, JOB_MODEL, JOB_OUTPUT, JOB_PACKAGES, HOME } = process.env;
const { JOB_PATIENCE_SECONDS } = process.env;
process.env.VENICE_VIDEO_CONFIG_DIR = join(HOME, "venice-video");
console.warn = console.info = () => {};
const print = console.log;
console.log = () => {};

const entry = join(JOB_PACKAGES, "venice-video-harness", "dist", "index.js");
const { VeniceClient, VeniceRequestError, generateVideo, quoteVideo } = await import(
  pathToFileURL(entry).href
);

// It has no timeout: after 300 s without an answer Node's own `fetch` fails, which it takes for a
// broken connection. Those seconds are a setting of the agent that every `fetch` goes through, to be
// found once there was one.
if (JOB_PATIENCE_SECONDS !== undefined) {
  await fetch("data:,");
  const everywhere = Symbol.for("undici.globalDispatcher.1");
  const { constructor: Agent } = globalThis[everywhere];
  globalThis[everywhere] = new Agent({ headersTimeout: JOB_PATIENCE_SECONDS * 1000 });
}

const client = new VeniceClient(VENICE_API_KEY, VENICE_URL);
const pricing = { model: JOB_MODEL, duration: "5s", resolution: "480p", aspect_ratio: "16:9" };
const order = {
  model: JOB_MODEL,
  prompt: "A gondola at sunset",
  duration: "5s",
  resolution: "480p",
  aspectRatio: "16:9",
  outputPath: JOB_OUTPUT,
  pollIntervalMs: 250,
  maxPollAttempts: 60,
};

const { quote } = await quoteVideo(client, pricing);

let refused = null;
let polls = 1;
const onProgress = () => (polls += 1);
let made;
try {
  if (!isPausing) made = await generateVideo(client, { ...order, onProgress });
} catch (error) {
  if (!(error instanceof VeniceRequestError) || error.status !== 400) throw error;
  refused = { status: error.status, message: error.message };
}
if (made === undefined) {
  const { queue_id: queueId, model } = await client.post("/api/v1/video/queue", {
    ...pricing,
    prompt: order.prompt,
  });
  const now = new Date().toISOString();
  const pending = { kind: "video", model, queueId, outputPath: JOB_OUTPUT, updatedAt: now };
  await mkdir(process.env.VENICE_VIDEO_CONFIG_DIR, { recursive: true });
  await writeFile(
    join(process.env.VENICE_VIDEO_CONFIG_DIR, "pending-jobs.json"),
    JSON.stringify({ version: 1, jobs: [{ ...pending, createdAt: now }] }),
  );
  await pause();
  made = await generateVideo(client, { ...order, onProgress });
}

print(
  JSON.stringify({
    quote,
    refused,
    queue_id: made.queueId,
    resumed: made.resumed,
    polls,
    delivered_by: "retrieve",
    bytes: made.sizeBytes,
  }),
);
