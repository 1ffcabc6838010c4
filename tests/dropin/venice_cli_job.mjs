// One job with the `venice` command as a shell script would use it. It can neither quote nor
// complete, reads every retrieve answer as JSON, and downloads from the `video_url` in it.
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pause } from "./pausing.mjs";

// Only an order is to be waited for that little.
const { JOB_PATIENCE_SECONDS, ...patient } = process.env;
const { JOB_MODEL, JOB_OUTPUT, JOB_PACKAGES } = process.env;
const around = fileURLToPath(new URL("around_venice_cli.mjs", import.meta.url));
const program = join(JOB_PACKAGES, "veniceai-cli", "dist", "index.js");

function venice(...words) {
  const env = words[0] === "generate" ? process.env : patient;
  const command = ["--import", around, program, "video", ...words];
  return execFileSync(process.execPath, command, { encoding: "utf8", env });
}

const shape = ["-m", JOB_MODEL, "-d", "5s", "-a", "16:9", "-f", "json"];
const queued = JSON.parse(venice("generate", "A gondola at sunset", ...shape));
await pause();

let status;
let polls = 0;
do {
  if (polls > 0) await sleep(250);
  polls += 1;
  status = JSON.parse(venice("status", queued.queue_id, "-m", JOB_MODEL, "-f", "json"));
} while (status.status === "PROCESSING");
if (status.status !== "COMPLETED") throw new Error(JSON.stringify(status));

const said = venice("retrieve", queued.queue_id, "-m", JOB_MODEL, "-o", JOB_OUTPUT, "-f", "pretty");
if (!said.includes("Video saved to")) throw new Error(said);

console.log(
  JSON.stringify({
    versions: [execFileSync(process.execPath, [program, "--version"], { encoding: "utf8" }).trim()],
    queue_id: queued.queue_id,
    download_url: queued.download_url ?? null,
    polls,
    status,
    delivered_by: "video_url",
    bytes: statSync(JOB_OUTPUT).size,
  }),
);
