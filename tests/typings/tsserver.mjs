// A client of TypeScript's language server, as editors start it.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";

const tsserver = createRequire(import.meta.url).resolve("typescript/lib/tsserver.js");

/** How long an answer may take, in milliseconds. */
const PATIENCE = 60_000;

export class LanguageServer {
  #process = spawn(process.execPath, [
    tsserver,
    "--disableAutomaticTypingAcquisition",
    "--suppressDiagnosticEvents",
  ], { stdio: ["pipe", "pipe", "inherit"] });
  #waiting = new Map();
  #unread = Buffer.alloc(0);
  #sequence = 0;

  constructor() {
    this.#process.stdout.on("data", (data) => this.#read(data));
    this.#process.on("exit", (code) => this.#fail(`tsserver exited with code ${code}`));
    this.#process.stdin.on("error", (error) => this.#fail(error.message));
  }

  /** Sends a request that has no answer. */
  notify(command, args) {
    const message = { seq: ++this.#sequence, type: "request", command, arguments: args };
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
    return message.seq;
  }

  /** Sends a request and returns the body of the answer. */
  ask(command, args) {
    return new Promise((resolve, reject) => {
      const sequence = this.notify(command, args);
      const timer = setTimeout(
        () => reject(new Error(`no answer to \`${command}\` within ${PATIENCE} ms`)),
        PATIENCE,
      );
      this.#waiting.set(sequence, { resolve, reject, timer });
    });
  }

  close() {
    this.#process.removeAllListeners("exit");
    this.#process.kill();
  }

  #read(data) {
    this.#unread = Buffer.concat([this.#unread, data]);
    for (;;) {
      const headers = this.#unread.indexOf("\r\n\r\n");
      if (headers === -1) {
        return;
      }
      const header = this.#unread.toString("latin1", 0, headers);
      const length = Number(/Content-Length: (\d+)/.exec(header)[1]);
      const start = headers + 4;
      if (this.#unread.length < start + length) {
        return;
      }
      const message = JSON.parse(this.#unread.toString("utf8", start, start + length));
      this.#unread = this.#unread.subarray(start + length);
      this.#receive(message);
    }
  }

  #receive(message) {
    const request = message.type === "response" && this.#waiting.get(message.request_seq);
    if (!request) {
      return;
    }
    this.#waiting.delete(message.request_seq);
    clearTimeout(request.timer);
    if (message.success) {
      request.resolve(message.body);
    } else {
      request.reject(new Error(`\`${message.command}\` failed: ${message.message}`));
    }
  }

  #fail(reason) {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error(reason));
    }
    this.#waiting.clear();
  }
}
