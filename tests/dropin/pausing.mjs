// Lets a test act between a client's order and its first poll. Without JOB_PAUSE nothing waits.
import { existsSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export const isPausing = process.env.JOB_PAUSE !== undefined;

export async function pause() {
  if (!isPausing) return;
  writeFileSync(process.env.JOB_PAUSE, "");
  while (existsSync(process.env.JOB_PAUSE)) await sleep(20);
}
