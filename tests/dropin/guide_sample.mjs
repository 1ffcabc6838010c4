// The flow of Venice's video guide in plain Node: quote, queue, poll until the answer's type is
// video/mp4, save it. Cleaning up is left to `delete_media_on_completion`.
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { pause } from "./pausing.mjs";

const { VENICE_URL, VENICE_API_KEY, JOB_MODEL, JOB_OUTPUT } = process.env;

async function post(path, body) {
  const answer = await fetch(VENICE_URL + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${VENICE_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

const pricing = { model: JOB_MODEL, duration: "5s", resolution: "480p", aspect_ratio: "16:9" };
const { quote } = await (await post("/video/quote", pricing)).json();

const queued = await (
  await post("/video/queue", { ...pricing, prompt: "A gondola at sunset" })
).json();
await pause();

let polls = 0;
let deliveredBy = "retrieve";
let content;
while (content === undefined) {
  polls += 1;
  const answer = await post("/video/retrieve", {
    model: queued.model,
    queue_id: queued.queue_id,
    delete_media_on_completion: true,
  });
  if (answer.headers.get("content-type").includes("video/mp4")) {
    content = Buffer.from(await answer.arrayBuffer());
    break;
  }
  const status = await answer.json();
  if (status.status === "FAILED") throw new Error(JSON.stringify(status));
  if (status.status === "COMPLETED") {
    deliveredBy = "download_url";
    content = Buffer.from(await (await fetch(queued.download_url)).arrayBuffer());
    break;
  }
  await sleep(250);
}
await writeFile(JOB_OUTPUT, content);

console.log(
  JSON.stringify({
    quote,
    queue_id: queued.queue_id,
    download_url: queued.download_url ?? null,
    polls,
    delivered_by: deliveredBy,
    bytes: content.length,
  }),
);
