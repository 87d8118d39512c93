// Starts `weir mock` and `weir serve` for the client specs, and ends them.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const weir = process.env.WEIR ?? "build/weir";
const running = [];
const folders = [];

/** Starts weir with these arguments and waits for a line; gives the child and the match. */
function start(args, env, stream, pattern) {
  const child = spawn(weir, args, { env: { ...process.env, ...env } });
  running.push(child);
  child.said = "";
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${pattern}: ${child.said}`)), 20000);
    for (const from of [child.stdout, child.stderr]) {
      from.on("data", (bytes) => {
        child.said += bytes;
        const match = from === child[stream] && pattern.exec(child.said);
        if (match) {
          clearTimeout(timer);
          resolve({ child, match });
        }
      });
    }
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`weir ended with ${code}: ${child.said}`)));
  });
}

/** Waits until the child has said this on either stream. */
export function saying(child, pattern) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${pattern}: ${child.said}`)), 20000);
    const look = () => {
      if (!pattern.test(child.said)) return;
      clearTimeout(timer);
      for (const from of [child.stdout, child.stderr]) from.off("data", look);
      resolve();
    };
    for (const from of [child.stdout, child.stderr]) from.on("data", look);
    look();
  });
}

/** A mock provider; gives its base URL. */
export async function startMock(...options) {
  const args = ["mock", "--listen", "127.0.0.1:0", ...options];
  const { match } = await start(args, {}, "stdout", /listening on (127\.0\.0\.1:\d+)/);
  return `http://${match[1]}/v1`;
}

/** A certificate and its key in a new folder. */
export function makeCertificate() {
  const folder = mkdtempSync(join(tmpdir(), "weir-spec-"));
  folders.push(folder);
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, key };
}

/** The gateway with this weir.lua; gives its base URL and the child, whose `said` is the log. */
export async function startGateway(config, env = {}) {
  const folder = mkdtempSync(join(tmpdir(), "weir-spec-"));
  folders.push(folder);
  const path = join(folder, "weir.lua");
  writeFileSync(path, config);
  const pattern = /event=listening[^\n]*address="?(127\.0\.0\.1:\d+)/;
  const { child, match } = await start(["serve", path], env, "stderr", pattern);
  return { url: `http://${match[1]}`, child };
}

/** Ends everything with SIGTERM; every process must end with status 0. */
export async function stopAll() {
  const ends = running.splice(0).map((child) => new Promise((resolve, reject) => {
    const judge = (code) => (code === 0 ? resolve() : reject(new Error(`${code}: ${child.said}`)));
    child.removeAllListeners("exit");
    if (child.exitCode !== null) return judge(child.exitCode);
    child.on("exit", judge);
    child.kill("SIGTERM");
  }));
  await Promise.all(ends);
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
}
